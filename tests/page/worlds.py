"""Seeded worlds to look at: a router of its own for each, with grants and leases in all states, trouble, drift, and requests.

What a person or the cloud would have said is said through the same functions; how both sides were last read is written as the
outcome of a look would be.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sql

from shared.errors import NotAllowed
from shared.ledger.admission import Judged, admit
from shared.ledger.configuration import newest_number
from shared.ledger.tables import grants, sides
from shared.loop.asking import Desk
from shared.loop.gate import Gate
from shared.messages.completion import Reason
from shared.messages.consent import Strength, Voice, Wish
from shared.messages.seal import approval_from
from shared.rules.facts import DriftKind, Side
from tests.configured import CONFIG_KEYS
from tests.functional.approvals import approval
from tests.functional.desked import Desked, decided, subject, wish
from tests.functional.world import HUB, SPOKE

Json = dict[str, Any]
WORDS = ("A line to the data centre", "测试：订单系统", "لأن الخط معطل", "<b>not bold</b> & \"so\" 'on'", "x" * 200)
STATES = {Side.GRANT: ("unknown", "absent", "present"), Side.ASSOCIATE: ("unknown", "absent", "ACTIVE", "INACTIVE")}


@dataclass
class World:
    """What was made: its router, and the requests that were asked."""

    ecr: str
    requests: list[str] = field(default_factory=list)


def listed(desk: Desked, seeds: Iterable[int], groups: Mapping[str, list[str]] | None = None) -> None:
    """Have the configuration list the routers of these worlds. ``groups``: beside the usual ones, or instead of them."""
    ecrs = desk.stage.listed[HUB]["ecrs"]
    ecrs |= {_router(seed): {} for seed in seeds}
    decided(desk.ledger, desk.stage, groups=groups)


def _router(seed: int) -> str:
    return f"ecr-world{seed:06d}"


def world(desk: Desked, seed: int) -> World:
    """The world of a seed, in the ledger of a desk."""
    chance = random.Random(seed)  # noqa: S311  # no secret
    made = World(_router(seed))
    for number in range(chance.randint(1, 4)):
        vpc = f"vpc-w{seed}x{number}"
        for lease in range(chance.randint(1, 3)):
            _sealed(desk, chance, made.ecr, vpc, f"W{seed}-{number}-{lease}")
        _as_read(desk, chance, made.ecr, vpc)
    for number in range(chance.randint(1, 2)):
        made.requests.append(_asked(desk, chance, made.ecr, f"vpc-a{seed}x{number}"))
    desk.hear()
    return made


def _prefixes(chance: random.Random) -> list[str]:
    return [f"10.{20 + chance.randint(0, 9)}.{16 * number}.0/20" for number in range(chance.randint(1, 3))]


def _end(chance: random.Random) -> str | None:
    days = chance.choice([None, 1, 5, 20, 80])
    at = None if days is None else datetime.now(UTC) + timedelta(days=days, minutes=chance.randint(0, 900))
    return None if at is None else at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _sealed(desk: Desked, chance: random.Random, ecr: str, vpc: str, name: str) -> None:
    document = approval(
        SPOKE,
        vpc,
        ecr={"id": ecr, "owner_uid": HUB},
        request_id=name,
        allowed_prefixes=_prefixes(chance),
        reason=chance.choice(WORDS),
        on_end=chance.choice(["teardown", "report"]),
        **({} if (end := _end(chance)) is None else {"ends_at": end}),
    )
    judged = Judged(configuration=desk.ledger.read(newest_number))
    desk.ledger.write(
        admit, approval_from(document), f"message-{name}", int(time.time() * 1000), desk.ledger.timing, judged
    )


def _as_read(desk: Desked, chance: random.Random, ecr: str, vpc: str) -> None:
    """Both sides of a grant, as looks may have found them."""
    now = int(time.time() * 1000)

    def write(connection: sql.Connection) -> None:
        named = sql.select(grants.c.grant_id).where(grants.c.ecr_id == ecr, grants.c.instance_id == vpc)
        grant_id = connection.execute(named).scalar_one()
        for side in Side:
            unsettled, dead = chance.random() < 0.6, chance.random() < 0.2
            drift = None
            if chance.random() < 0.3:
                drift = json.dumps({"class": chance.choice(list(DriftKind)), "text": chance.choice(WORDS), "at": now})
            trouble = Reason(code=chance.choice(["Throttled", "PermissionMissing"]), text=chance.choice(WORDS))
            values = {
                "state": chance.choice(STATES[side]),
                "unsettled": unsettled or dead,
                "trouble": trouble.model_dump_json() if unsettled or dead else None,
                "dead_at": now if dead else None,
                "waiting_since": now - 3_600_000 * chance.randint(1, 50) if unsettled or dead else None,
                "next_at": now + 60_000 * chance.randint(1, 50) if unsettled and not dead else None,
                "seen_at": now - 60_000 * chance.randint(1, 500),
                "drift": drift,
                "prefixes": json.dumps(_prefixes(chance)) if side is Side.ASSOCIATE else None,
            }
            here = sides.c.grant_id == grant_id, sides.c.side == side
            connection.execute(sides.update().where(*here).values(values))

    with desk.ledger.engine.begin() as connection:
        write(connection)


def _asked(desk: Desked, chance: random.Random, ecr: str, vpc: str) -> str:
    """A request that has come as far as chance has it."""
    use = Desk(
        desk.ledger,
        Gate(desk.ledger, CONFIG_KEYS, 1, lambda: int(time.time() * 1000)),
        lambda: int(time.time() * 1000),
        lapse=timedelta(days=7),
    )
    asked = Wish.model_validate(
        wish(
            0,
            ecr={"id": ecr, "owner_uid": HUB},
            instance={"type": "VPC", "id": vpc, "region": "cn-hangzhou", "owner_uid": SPOKE},
            allowed_prefixes=_prefixes(chance),
            ends_at=_end(chance),
            reason=chance.choice(WORDS),
        )
    )
    (answer,) = use.ask(_voice("requester"), [asked])
    request_id = answer.standing.request_id
    if chance.random() < 0.8:
        snapshot = desk.look(request_id, failed=0, unknown=0)
        for person, side in (("owner", Side.GRANT), ("router-owner", Side.ASSOCIATE)):
            if chance.random() < 0.7:
                try:
                    agrees = chance.random() < 0.8
                    use.decide(_voice(person), request_id, side, snapshot, agrees=agrees, reason=chance.choice(WORDS))
                except NotAllowed:  # it was refused before
                    break
    elif chance.random() < 0.5:
        use.withdraw(_voice("requester"), request_id, chance.choice(WORDS))
    return request_id


def _voice(person: str) -> Voice:
    return Voice(person=person, subject=f"ram:{subject(person)}", strength=Strength.FRESH)
