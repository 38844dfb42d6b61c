"""Preflight as a function: whoever asks is told about by the topic, both accounts are looked at, and what was seen is said.

A look adds a fact to the request and nothing else. What cannot be read is part of it; what ended meanwhile is not looked at.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime

from shared import words
from shared.errors import BadInput, LedgerError
from shared.ledger.consent import standings
from shared.ledger.transactions import Ledger
from shared.loop.asking import looked
from shared.loop.preflight import Preflight
from shared.messages import consent
from shared.messages.approval import DESK
from shared.messages.completion import Completion, EventKind
from shared.messages.envelope import items, parse, unwrapped
from shared.rules.checked import CheckResult
from shared.rules.consent import Stage
from shared.rules.looked import Asked, Own
from shared.rules.preflight import preflight
from shared.rules.shown import content, digest

_OWN_FIELDS = frozenset({"kind", "ecr", "instance", "allowed_prefixes", "ends_at"})
"""What a wish says that is a fact of its own in what is shown."""


class Looking:
    """Looks at what is asked for, one request after another."""

    def __init__(
        self, ledger: Ledger, preflight_: Preflight, wake: Callable[[], None], clock: Callable[[], int]
    ) -> None:
        """``wake``: have the grant function hear what was seen. ``clock``: epoch milliseconds."""
        self._ledger, self._preflight, self._wake, self._clock = ledger, preflight_, wake, clock

    def run(self, event: bytes) -> dict[str, int]:
        """Look at what an event tells of. Returns how many requests were looked at, and how many were not. Raises LedgerError."""
        found = dict.fromkeys(
            name for item in map(unwrapped, items(event)) if (name := _asked_in(item.body)) is not None
        )
        counted = {"looked": 0, "left": 0}
        for request_id in found:
            try:
                done = self._look(request_id)
            except LedgerError:
                raise
            except Exception as error:  # noqa: BLE001  # whatever is wrong with one request stops nothing but itself
                words.consent_failed(request_id=request_id, reason=f"{type(error).__name__}: {error}")
                done = False
            counted["looked" if done else "left"] += 1
        if counted["looked"]:
            self._wake()
        return counted

    def _look(self, request_id: str) -> bool:
        request = self._ledger.read(standings, [request_id]).get(request_id)
        now = self._clock()
        at = datetime.fromtimestamp(now / 1000, UTC)
        if request is None or request.stage is not Stage.OPEN or request.lapsed(at):
            return False
        asked = asked_of(request.asked.wish)
        seen = self._preflight.look(asked, Own(now))
        report, shown = preflight(asked, seen), content(asked, seen)
        fact = consent.Looked(
            request_id=request_id,
            at=at,
            snapshot=digest(shown),
            content=json.loads(shown),
            checks=[one.model_dump(mode="json") for one in report.checks],
            failed=len(report.of(CheckResult.FAIL)),
            unknown=len(report.of(CheckResult.UNKNOWN)),
        )
        return looked(self._ledger, fact).said


def asked_of(wish: consent.Wish) -> Asked:
    """A request as preflight reads it: all that it says is part of what people are shown."""
    also = tuple(
        (name, value if isinstance(value, str) else json.dumps(value, sort_keys=True))
        for name, value in sorted(wish.content.items())
        if name not in _OWN_FIELDS
    )
    ends_at = None if wish.ends_at is None else round(wish.ends_at.timestamp() * 1000)
    return Asked(wish.kind, wish.grant, tuple(wish.allowed_prefixes), ends_at, also)


def _asked_in(body: object) -> str | None:
    """The request that a completion says was asked; None for anything else, which is nothing to look at."""
    try:
        told = parse(body)
    except BadInput:
        return None
    if not isinstance(told, Completion) or told.event != EventKind.ASKED or told.request is None:
        return None
    return told.request.request_id if told.request.issuer == DESK else None
