"""Somebody who asks for a grant at the desk, for tests."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import timedelta

from shared.ledger.transactions import Ledger, now_ms
from shared.loop.asking import Desk
from shared.loop.gate import Gate
from shared.messages.approval import Ecr, Instance
from shared.messages.consent import RequestKind, Strength, Voice, Wish
from shared.messages.forms import InstanceType
from tests.configured import CONFIG_KEYS
from tests.functional.world import HUB, HUB_ECR, REGION

REQUESTER = Voice(person="requester", subject="login:requester", strength=Strength.SIGNED_IN)
LAPSE = timedelta(days=7)


def ask(desk: Desk, instance: str, uid: str, ecr_id: str = HUB_ECR, hub: str = HUB) -> str:
    """Ask for a grant of one of an account's instances. Returns the request."""
    kind = InstanceType(instance.partition("-")[0].upper())
    wish = Wish(
        kind=RequestKind.GRANT,
        ecr=Ecr(id=ecr_id, owner_uid=hub),
        instance=Instance(type=kind, id=instance, region=REGION, owner_uid=uid),
        allowed_prefixes=["10.0.0.0/16"] if kind is InstanceType.VPC else [],
        reason="A test needs it",
    )
    (answer,) = desk.ask(REQUESTER, [wish])
    return answer.standing.request_id


@contextlib.contextmanager
def desk_at(url: str) -> Iterator[Desk]:
    """The use cases over a ledger at an address."""
    with contextlib.closing(Ledger(url)) as ledger:
        yield Desk(ledger, Gate(ledger, CONFIG_KEYS, 1, now_ms), now_ms, lapse=LAPSE)


def seen(desk: Desk, request_id: str) -> str:
    """What preflight found, as people read it; nothing as long as it has not looked."""
    looked = desk.show(request_id).standing.looked
    return "" if looked is None else "\n".join(str(one) for one in looked.checks)
