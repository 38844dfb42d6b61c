"""What reconcile found: recorded once, never against newer work, and mended only where policy says so."""

from __future__ import annotations

from typing import Any

import pytest

from shared.ledger.admission import admit
from shared.ledger.drift import note_drift, note_drift_gone, read_standing
from shared.ledger.intents import intend, resolve, saw
from shared.ledger.operating import adopt
from shared.ledger.outcomes import settle
from shared.ledger.transactions import Ledger
from shared.ledger.work import claim, unsettled
from shared.messages.completion import EventKind
from shared.rules.facts import Drift, DriftKind, Operation, Seen, Side, State
from tests.ledger.kit import HOUR, NOW, Database, check_order, grant_id, key, opening, read

ID = grant_id()
MISSING = Drift(key(), Side.GRANT, DriftKind.GRANT_MISSING, "the grant is gone")
FOREIGN = Drift(key("vpc-9"), Side.GRANT, DriftKind.FOREIGN_GRANT, "nobody asked us for it")


@pytest.fixture
def standing(ledger: Ledger) -> Ledger:
    """A ledger with one grant that settled."""
    ledger.write(admit, opening(), "message-1", NOW, ledger.timing)
    for side, kind in ((Side.GRANT, EventKind.GRANTED), (Side.ASSOCIATE, EventKind.ASSOCIATED)):
        assert ledger.write(settle, read(ledger, side), kind, NOW, association_id=None, served=[], both_sides=True)
    return ledger


def drifted(ledger: Ledger, drift: Drift, *, generation: int = 1, now: int = NOW + HOUR, repair: bool = False) -> bool:
    """Record a finding of a look that was taken just now. ``repair``: policy wants its kind mended. True when it is news."""
    mended = {drift.kind} if repair else frozenset[DriftKind]()
    news = ledger.write(note_drift, [drift], now, generation=generation, quiet_since=now - 60_000, repair=mended)
    return news == [drift]


def test_a_finding_is_news_once(standing: Ledger, database: Database) -> None:
    """The same class on the same side again is no news; another class is."""
    assert drifted(standing, MISSING)
    assert not drifted(standing, MISSING, now=NOW + 2 * HOUR)
    assert drifted(standing, Drift(key(), Side.GRANT, DriftKind.INSTANCE_DELETED, "gone"), now=NOW + 3 * HOUR)

    assert database.kinds().count("drift-found") == 2
    check_order(standing, database)


@pytest.mark.parametrize(
    "repair",
    [
        pytest.param(False, id="only reported: it stays at rest"),
        pytest.param(True, id="to be repaired: it is work"),
    ],
)
def test_policy_says_whether_a_finding_is_work(standing: Ledger, *, repair: bool) -> None:
    """Reported drift leaves the grant at rest; drift to be repaired raises the generation, so that both sides look again."""
    assert drifted(standing, MISSING, repair=repair)

    found = set(standing.read(unsettled, NOW + HOUR, 10))
    assert found == ({(ID, Side.GRANT), (ID, Side.ASSOCIATE)} if repair else set())
    assert read(standing).generation == (2 if repair else 1)


def test_what_was_only_reported_is_mended_once_policy_wants_it(standing: Ledger, database: Database) -> None:
    """DRIFT_REPAIR may be turned on after the finding: it is no news then, but work, until the sides have come to rest again."""
    assert drifted(standing, MISSING)
    for later in (2 * HOUR, 3 * HOUR):
        assert not drifted(standing, MISSING, now=NOW + later, generation=read(standing).generation, repair=True)
        assert set(standing.read(unsettled, NOW + later, 10)) == {(ID, Side.GRANT), (ID, Side.ASSOCIATE)}

    assert read(standing).generation == 2
    assert database.kinds().count("drift-found") == 1


def test_a_repair_is_an_event_of_its_own(standing: Ledger, database: Database) -> None:
    """When the side settles again, it is told again what it came to, so that account A hears of it; what was found is recorded
    as repaired, and its finding is over."""
    assert drifted(standing, MISSING, repair=True)
    work = read(standing)
    assert standing.write(settle, work, EventKind.GRANTED, NOW + HOUR, association_id=None, served=[], both_sides=True)

    assert database.kinds()[-3:] == ["drift-found", "granted", "drift-repaired"]
    assert read(standing).mine.drift is None
    assert drifted(standing, MISSING, generation=2, now=NOW + 2 * HOUR), "and it can be found again"


def test_what_is_not_ours_to_change_is_not_told_as_repaired(standing: Ledger, database: Database) -> None:
    """Leases that rest on somebody else's association may settle beside its prefixes: that they differ stays reported."""
    assert drifted(standing, Drift(key(), Side.ASSOCIATE, DriftKind.PREFIXES_DIFFER, "they differ"))
    work = read(standing, Side.ASSOCIATE)
    told: dict[str, Any] = {"association_id": None, "served": [], "both_sides": True}
    assert standing.write(settle, work, EventKind.ASSOCIATED, NOW + HOUR, **told, prefixes_differ=True)
    assert "drift-repaired" not in database.kinds()
    assert not drifted(
        standing, Drift(key(), Side.ASSOCIATE, DriftKind.PREFIXES_DIFFER, "they differ"), now=NOW + 2 * HOUR
    )

    assert standing.write(settle, read(standing, Side.ASSOCIATE), EventKind.ASSOCIATED, NOW + 3 * HOUR, **told)
    assert "drift-repaired" in database.kinds()


def test_what_a_lease_past_its_end_does_not_make_again_stays_found(ledger: Ledger, database: Database) -> None:
    """It keeps what stands, and makes nothing: that something is missing is neither over nor told as repaired."""
    end = NOW + HOUR
    ledger.write(admit, opening(ends_at=end), "message-1", NOW, ledger.timing)
    for now in (NOW, end):
        for side in Side:
            work = ledger.write(saw, read(ledger, side, now), Seen(State.PRESENT, ours=False), now)
            assert ledger.write(settle, work, None, now, association_id=None, served=[], both_sides=True)
    missing = Drift(key(), Side.ASSOCIATE, DriftKind.ASSOCIATION_MISSING, "it is gone")
    later = end + HOUR
    assert drifted(ledger, missing, generation=read(ledger, now=later).generation, now=later)

    ledger.write(adopt, ID, Side.GRANT, "operator@example.com", later)
    work = read(ledger, Side.ASSOCIATE, later)
    work = ledger.write(saw, work, Seen(State.ABSENT), later)
    assert ledger.write(settle, work, None, later, association_id=None, served=[], both_sides=True)
    assert "drift-repaired" not in database.kinds()
    assert not drifted(ledger, missing, generation=work.generation, now=later + HOUR), "it is no news"
    check_order(ledger, database)


def test_what_was_found_missing_is_no_longer_ours(standing: Ledger, database: Database) -> None:
    """What is there again later, without a write of ours, is somebody else's."""
    assert standing.write(saw, read(standing), Seen(State.PRESENT, ours=True), NOW).mine.ours
    assert drifted(standing, MISSING)
    found = read(standing).mine
    assert (found.nothing_up, found.ours) == (True, None)

    again = standing.write(saw, read(standing), Seen(State.PRESENT, ours=False), NOW + 2 * HOUR)
    assert again.mine.ours is False
    check_order(standing, database)


def test_what_went_away_by_itself_is_told_once(standing: Ledger, database: Database) -> None:
    """Somebody else may mend it."""
    assert drifted(standing, MISSING)
    assert standing.write(note_drift_gone, ID, Side.GRANT, NOW + 2 * HOUR)
    assert not standing.write(note_drift_gone, ID, Side.GRANT, NOW + 2 * HOUR)

    assert database.kinds()[-2:] == ["drift-found", "drift-repaired"]


@pytest.mark.parametrize(
    "newer",
    [
        pytest.param("leases", id="the leases changed since the look"),
        pytest.param("claim", id="a worker is at it"),
        pytest.param("write", id="we wrote after the look"),
    ],
)
def test_a_look_older_than_the_work_proves_nothing(standing: Ledger, newer: str) -> None:
    """Nothing is recorded where the leases changed since, where a worker is at it, or where we wrote after the look."""
    now = NOW + HOUR
    if newer == "leases":
        standing.write(admit, opening("REQ-2"), "message-2", now, standing.timing)
    elif newer == "claim":
        assert standing.write(claim, ID, Side.GRANT, "one", now, now + 1)
    else:
        assert standing.write(intend, read(standing), Operation.GRANT, now - 1, standing.timing) is not None

    assert not drifted(standing, MISSING, repair=True)
    assert read(standing).mine.drift is None


def test_a_stranger_gets_a_row(ledger: Ledger, database: Database) -> None:
    """What exists on the cloud without our ever having heard of it is on record as foreign, and is nobody's work."""
    assert drifted(ledger, FOREIGN, generation=0)
    assert not drifted(ledger, FOREIGN, generation=0, now=NOW + 2 * HOUR)

    (one,) = list(read_standing(ledger))
    assert (one.key, one.generation, one.grant.state, one.grant.ours) == (FOREIGN.key, 0, "present", False)
    assert one.grant.drift is not None
    assert one.grant.drift.kind is DriftKind.FOREIGN_GRANT
    assert ledger.read(unsettled, NOW + HOUR, 10) == []
    assert ledger.write(adopt, FOREIGN.key.grant_id, Side.GRANT, "operator", NOW + 2 * HOUR)
    check_order(ledger, database)


def test_a_stranger_stays_a_stranger_where_we_had_given_up_a_write_as_lost(ledger: Ledger) -> None:
    """A write that was given up as lost proves nothing about what turns up later: it is reported, not taken down."""
    ledger.write(admit, opening(vpc="vpc-9"), "message-1", NOW, ledger.timing)
    intent = ledger.write(intend, read(ledger, vpc="vpc-9"), Operation.GRANT, NOW, ledger.timing)
    assert intent is not None
    ledger.write(resolve, [], [intent], NOW + 1)

    assert drifted(ledger, FOREIGN)
    assert read(ledger, vpc="vpc-9").mine.ours is False
