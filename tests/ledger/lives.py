"""One ledger in which everything that can be on record is on record: what the proof and the plans of its questions stand on."""

from __future__ import annotations

from shared.ledger.admission import admit
from shared.ledger.drift import note_drift
from shared.ledger.intents import carried_out, intend, saw
from shared.ledger.operating import adopt, redrive, set_hold, set_mode
from shared.ledger.outcomes import mark_dead
from shared.ledger.passing import let_time_pass
from shared.ledger.transactions import Ledger
from shared.messages.completion import EventKind, Reason
from shared.rules.facts import Drift, DriftKind, Hold, HoldKind, Mode, Operation, Seen, Side
from tests.ledger.kit import HOUR, NOW, closing, grant_id, key, opening, read, settle_side

DAY = 24 * HOUR
ROUTES = ("10.20.0.0/16",)
SEEN = {Side.GRANT: Seen("present", ours=True), Side.ASSOCIATE: Seen("ACTIVE", True, "assoc-1", ROUTES)}
MADE = {Side.GRANT: Operation.GRANT, Side.ASSOCIATE: Operation.ASSOCIATE}
KIND = {Side.GRANT: EventKind.GRANTED, Side.ASSOCIATE: EventKind.ASSOCIATED}


def come_up(ledger: Ledger, vpc: str, now: int = NOW, *, ours: bool = True) -> None:
    """Bring both sides to rest with something up. ``ours``: by a write of ours, else it was there before us."""
    for side in Side:
        work = read(ledger, side, now, vpc)
        seen, landed = SEEN[side], []
        if ours and work.mine.nothing_up:
            intent = ledger.write(intend, work, MADE[side], now, ledger.timing)
            assert intent is not None
            ledger.write(carried_out, intent, [], now, refused=False)
            landed = [intent]
        elif not ours:
            seen = Seen(seen.state, False, seen.association_id, seen.prefixes)
        ledger.write(saw, work, seen, now, landed=landed)
        assert settle_side(ledger, side, KIND[side], now=now, vpc=vpc)


def open_one(ledger: Ledger, name: str, vpc: str, now: int = NOW, **more: object) -> None:
    """Admit an approval that opens a lease."""
    ledger.write(admit, opening(name, vpc, **more), f"message-{name}-{vpc}", now, ledger.timing)  # type: ignore[arg-type]


def close(ledger: Ledger, closes: str | list[str], name: str, vpc: str, now: int = NOW, **more: object) -> None:
    """Admit an approval that closes leases."""
    approval = closing(closes, name, vpc, **more)  # type: ignore[arg-type]
    ledger.write(admit, approval, f"message-{name}-{vpc}", now, ledger.timing)


def live_everything(ledger: Ledger) -> int:
    """Every kind of row and every kind of event. Returns when it ends."""
    # Up, with one lease done, one closed by name, one early, one that waits.
    open_one(ledger, "REQ-1", "vpc-1")
    come_up(ledger, "vpc-1")
    open_one(ledger, "REQ-2", "vpc-1", prefixes=("10.21.0.0/16",))
    close(ledger, ["REQ-2", "REQ-NOT-YET"], "END-2", "vpc-1")
    open_one(ledger, "REQ-3", "vpc-1", approved_at=NOW + 10 * DAY)
    open_one(ledger, "REQ-4", "vpc-1", prefixes=("10.22.0.0/16",))
    # Closed by one issuer, then by one for everybody; one comes too late, one under a name that was used.
    open_one(ledger, "REQ-1", "vpc-2")
    open_one(ledger, "REQ-5", "vpc-2", issuer="another")
    close(ledger, "all", "END-5", "vpc-2")
    close(ledger, "everyone", "END-6", "vpc-2", issuer="another")
    open_one(ledger, "REQ-6", "vpc-2", issuer="another")
    # Ends: one that is only reported, one that is taken down, one before it was done, one announced.
    for name, vpc, on_end in (("REQ-7", "vpc-3", "report"), ("REQ-8", "vpc-4", "teardown")):
        open_one(ledger, name, vpc, ends_at=NOW + HOUR, on_end=on_end)
        come_up(ledger, vpc)
    open_one(ledger, "REQ-9", "vpc-5", ends_at=NOW + HOUR)
    open_one(ledger, "REQ-10", "vpc-5", ends_at=NOW + 2 * DAY)
    open_one(ledger, "REQ-11", "vpc-5", ends_at=NOW - 1, approved_at=NOW - HOUR)
    open_one(ledger, "REQ-12", "vpc-5", approved_at=NOW + HOUR)
    let_time_pass(ledger, NOW + DAY + HOUR)
    now = NOW + DAY + 2 * HOUR
    # Dead and redriven; foreign and adopted; a stranger; asked again.
    ledger.write(mark_dead, read(ledger, Side.GRANT, now, "vpc-5"), Reason(code="CloudTrouble", text="…"), now)
    ledger.write(redrive, grant_id("vpc-5"), Side.GRANT, "operator", now)
    open_one(ledger, "REQ-13", "vpc-6", now)
    come_up(ledger, "vpc-6", now, ours=False)
    ledger.write(adopt, grant_id("vpc-6"), Side.ASSOCIATE, "operator", now)
    stranger = Drift(key("vpc-7"), Side.GRANT, DriftKind.FOREIGN_GRANT, "nobody asked us for it")
    ledger.write(note_drift, [stranger], now, generation=0, quiet_since=now, repair=frozenset())
    ledger.write(admit, opening("REQ-1", "vpc-2"), "another-message", now, ledger.timing)
    # What people said.
    ledger.write(set_mode, Mode.PAUSE_ALL, "operator", now)
    ledger.write(set_mode, Mode.FULL, "operator", now)
    for kind, name in ((HoldKind.ECR, key().ecr_id), (HoldKind.GRANT, grant_id("vpc-1"))):
        hold = Hold(kind, name, everything=kind is HoldKind.GRANT, who="operator", reason="a change", at=now)
        ledger.write(set_hold, hold, now)
    return now
