"""The faults in hearing people that the model test must find: each is the real thing with one rule taken out."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy.engine import Connection

from shared.errors import PermanentError
from shared.ledger.admission import Admission, Asked
from shared.ledger.consent import facts_of
from shared.ledger.hearing import Heard, Told, amount, hear, say_lapsed
from shared.loop.gate import Gate
from shared.messages.consent import Amounted, Lapsed
from shared.rules.consent import Stage, fold
from shared.rules.leases import Timing
from tests.chaos.parts import Parts


def void_words_count(connection: Connection, request_id: str, whom: Told, now: int) -> Heard | None:
    """What was said of what is not shown any more counts."""
    heard = hear(connection, request_id, whom, now)
    if heard is None:
        return None
    return replace(heard, standing=replace(heard.standing, yes=(*heard.standing.void, *heard.standing.yes)))


def whatever_was_said_meanwhile(
    connection: Connection, heard: Heard, asked: Asked | None, fact: Amounted, now: int, timing: Timing
) -> Admission | PermanentError | None:
    """What was weighed is admitted, whatever was said since."""
    standing = fold(one.fact for one in facts_of(connection, heard.standing.request_id))
    return amount(connection, replace(heard, standing=standing), asked, fact, now, timing)


def ended_is_open(connection: Connection, request_id: str, whom: Told, now: int) -> Heard | None:
    """What has ended is weighed like what is open."""
    heard = hear(connection, request_id, whom, now)
    if heard is None:
        return None
    return replace(heard, standing=replace(heard.standing, stage=Stage.OPEN))


def nothing_lapses(connection: Connection, request_id: str, fact: Lapsed) -> None:
    """Nobody decided in time, and nobody says so."""


class StaysAsItWas(Gate):
    """A process goes by the configuration that it has met first, wherever nothing that it reads names a newer one."""

    def overtaken(self) -> bool:
        return False


AMONG_PEOPLE: dict[str, Parts] = {
    "void words count": Parts(instead={hear: void_words_count, amount: whatever_was_said_meanwhile}),
    "what has ended is admitted": Parts(instead={hear: ended_is_open, amount: whatever_was_said_meanwhile}),
    "nothing lapses": Parts(instead={say_lapsed: nothing_lapses}),
    "a desk goes by an older configuration": Parts(gate=StaysAsItWas),
}
"""Found in the schedules in which people come to the desk."""
