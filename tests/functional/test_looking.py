"""Preflight as the function runs it: told by the topic's words, it looks at both accounts and adds what it saw."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
import sqlalchemy as sql

from shared.cloud.survey import Survey
from shared.ledger.tables import consent, events
from shared.ledger.transactions import now_ms
from shared.loop.asking import Desk
from shared.loop.consent import Consent
from shared.loop.looking import Looking
from shared.loop.preflight import Preflight
from shared.rules.consent import Stage
from tests.functional.asked import LAPSE, REQUESTER, ask
from tests.functional.inprocess import InProcess, in_process
from tests.functional.inprocess import events as batch
from tests.functional.world import Spoke
from tests.functional.world import Stage as World

ASKED_QUEUE = "ecr-asked"


@dataclass
class Room:
    """The functions in this process, a desk, and an account B with VPCs."""

    here: InProcess
    spoke: Spoke
    woken: list[int] = field(default_factory=list)

    @property
    def desk(self) -> Desk:
        """Where people ask."""
        frame = self.here.frame
        return Desk(frame.ledger, frame.gate, now_ms, lapse=LAPSE)

    def ask(self, vpc: str) -> str:
        """Somebody asks for a grant. Returns the request."""
        return ask(self.desk, vpc, self.spoke.uid)

    def told(self) -> bytes:
        """What the topic has told of it, as the queue of preflight delivers it."""
        frame = self.here.frame
        Consent(frame.ledger, frame.gate, now_ms).hear()
        rows = frame.ledger.read(
            lambda connection: connection.execute(sql.select(events.c.body).where(events.c.kind == "asked")).all()
        )
        return batch([(f"M{number}", row.body) for number, row in enumerate(rows)], queue=ASKED_QUEUE)

    def look(self, event: bytes) -> dict[str, int]:
        """What ``functions/preflight.py`` does with an event."""
        frame = self.here.frame
        looks = Preflight(Survey(frame.calls), frame.gate.inventory)
        return Looking(frame.ledger, looks, lambda: self.woken.append(1), now_ms).run(event)


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    """One for all of them."""
    stage = World()
    spoke = stage.new_spoke()
    with in_process(stage, tmp_path_factory.mktemp("looking")) as here:
        yield Room(here, spoke)


def test_what_is_asked_is_looked_at(room: Room) -> None:
    """The instance is found, what is not let in is named, and deciders have something to bind; and once more."""
    request_id = room.ask(next(room.spoke.vpcs))
    before = len(room.woken)
    assert room.look(room.told())["looked"] >= 1
    assert len(room.woken) == before + 1
    standing = room.desk.show(request_id).standing
    assert standing.looked is not None
    checks = {one["check"]: one["result"] for one in standing.looked.checks if isinstance(one, dict)}
    assert checks["instance-exists"] == checks["instance-owner"] == "pass"
    assert standing.looked.content["asked"]["instance_id"] == standing.asked.wish.instance.id  # type: ignore[index,call-overload]  # as JSON has it
    assert standing.round == 1
    room.look(room.told())
    assert room.desk.show(request_id).standing.round == 1


def test_what_is_not_there_is_a_fault(room: Room) -> None:
    """And nobody can agree to it by the shipped policy."""
    request_id = room.ask("vpc-nowhere")
    room.look(room.told())
    looked = room.desk.show(request_id).standing.looked
    assert looked is not None
    assert looked.failed >= 1
    assert "fail" in {
        one["result"] for one in looked.checks if isinstance(one, dict) and one["check"] == "instance-exists"
    }


def test_what_ended_and_what_is_none_is_left(room: Room) -> None:
    """A withdrawn request, one that nobody asked, other completions, and things that are none."""
    request_id = room.ask(next(room.spoke.vpcs))
    event = room.told()
    room.desk.withdraw(REQUESTER, request_id)
    assert room.desk.show(request_id).standing.stage is Stage.WITHDRAWN
    (mine,) = [one for one in json.loads(event) if request_id in one["data"]["messageBody"]]
    unknown = json.loads(json.dumps(mine).replace(request_id, "r-nobody"))
    other = json.loads(json.dumps(mine).replace('\\"asked\\"', '\\"decided\\"'))
    facts = room.here.frame.ledger.read(lambda connection: connection.execute(sql.select(consent)).all())
    found = room.look(
        json.dumps([mine, unknown, other, {"data": {"messageId": "x", "messageBody": "no JSON"}}]).encode()
    )
    assert found == {"looked": 0, "left": 2}
    assert room.here.frame.ledger.read(lambda connection: connection.execute(sql.select(consent)).all()) == facts
