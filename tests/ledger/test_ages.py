"""Ages and durations in the log are what the clock says: of what is open, and of a grant from its approval's admission."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import pytest
import sqlalchemy as sql
from structlog.testing import capture_logs

from bench.calm import CalmCloud
from shared.ledger.ages import Open, read_open
from shared.ledger.outbox import mark_published, waiting_entries
from shared.ledger.outcomes import mark_dead, put_off
from shared.ledger.passing import let_time_pass
from shared.ledger.transactions import Ledger
from shared.log import configure
from shared.loop.converge import Converge
from shared.loop.drivers import Driver, HubDriver, SpokeDriver
from shared.loop.gate import Gate
from shared.loop.reconcile import Reconcile, Surroundings
from shared.loop.visits import Outcome
from shared.messages.completion import Reason
from shared.rules.facts import Mode, Side
from tests.ledger.gated import Gated, apply
from tests.ledger.kit import HOUR, NOW, WAITING, Database, closing, grant_id, opening, read
from tests.ledger.lives import come_up

SECOND = 1000


@pytest.fixture
def gated(ledger: Ledger) -> Gated:
    """The ledger behind its gate."""
    apply(ledger)
    return Gated(ledger)


@pytest.fixture
def admitted(gated: Gated) -> Gated:
    """With one lease that was sealed."""
    gated.enter(opening())
    return gated


def visit(gated: Gated, cloud: CalmCloud, side: Side, now: int) -> Any:
    """One visit at a moment. Returns the line that says that the side has settled, or None."""
    gated.now = now
    configure()  # commands, which show less, may have run in this process
    driver: Driver = SpokeDriver(cloud) if side is Side.GRANT else HubDriver(cloud)
    converge = Converge(
        gated.ledger,
        driver,
        gated.gate,
        worker="a test",
        mode=Mode.FULL,
        clock=lambda: now,
        settle_ms=0,
        claim_ms=60 * SECOND,
    )
    with capture_logs() as lines:
        assert converge.visit(grant_id()).outcome in (Outcome.SETTLED, Outcome.WAITING)
    return next((line for line in lines if line["event"] == "side.settled"), None)


# -- how long a grant took ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0.25, 7, 86_400])
def test_a_grant_that_took_so_long_says_so(admitted: Gated, seconds: float) -> None:
    """Each side counts from the admission of its approval, however its date and the visits before lay."""
    cloud, granted_at = CalmCloud(), NOW + int(seconds * SECOND)
    assert visit(admitted, cloud, Side.ASSOCIATE, NOW + 100) is None

    granted = visit(admitted, cloud, Side.GRANT, granted_at)
    active = visit(admitted, cloud, Side.ASSOCIATE, granted_at + 3 * SECOND)

    assert (granted["event_kind"], granted["admitted_seconds"]) == ("granted", seconds)
    assert (active["event_kind"], active["admitted_seconds"]) == ("associated", seconds + 3)


def test_of_two_that_wait_the_older_one_counts(admitted: Gated) -> None:
    """Who has waited longest is who would complain."""
    admitted.now = NOW + 50 * SECOND
    admitted.enter(opening("REQ-2"))
    assert visit(admitted, CalmCloud(), Side.GRANT, NOW + 60 * SECOND)["admitted_seconds"] == 60


def test_what_was_dated_ahead_counts_from_when_it_takes_effect(gated: Gated) -> None:
    """A week in which nothing was to be done is no week of waiting."""
    approved_at = NOW + 168 * HOUR
    gated.enter(opening(approved_at=approved_at))
    believed_at = approved_at - gated.ledger.timing.skew
    gated.now = believed_at + SECOND
    let_time_pass(gated.ledger, gated.now, gated.judge)
    assert visit(gated, CalmCloud(), Side.GRANT, believed_at + 9 * SECOND)["admitted_seconds"] == 9


def test_what_was_up_before_took_no_time(admitted: Gated) -> None:
    """A second lease on a grant that stands, and taking it down, say no time: nothing was waited for."""
    cloud = CalmCloud()
    for side in Side:
        assert visit(admitted, cloud, side, NOW + SECOND)["admitted_seconds"] == 1
    admitted.now = NOW + HOUR
    admitted.enter(opening("REQ-2"))
    for side in Side:
        assert visit(admitted, cloud, side, NOW + HOUR + SECOND)["admitted_seconds"] is None
    admitted.enter(closing("all"))
    assert visit(admitted, cloud, Side.ASSOCIATE, NOW + 2 * HOUR)["admitted_seconds"] is None


# -- how old what is open is -------------------------------------------------------------------------------------------


def test_nothing_is_open_in_an_empty_ledger(ledger: Ledger) -> None:
    """Then there is no age either."""
    assert ledger.read(read_open) == Open(0, None, 0, 0, None)


def test_what_nobody_has_visited_is_as_old_as_what_made_it_so(ledger: Ledger, admitted: Gated) -> None:
    """Both sides since the admission; and so its completion, which is not out."""
    ledger.write(mark_published, [1])  # of the configuration
    assert ledger.read(read_open) == Open(2, NOW, 0, 1, NOW)
    ledger.write(mark_published, [entry.seq for entry in ledger.read(waiting_entries, 10)])
    assert ledger.read(read_open) == Open(2, NOW, 0, 0, None)


def test_what_was_visited_is_as_old_as_its_waiting(ledger: Ledger, admitted: Gated) -> None:
    """The oldest counts, whichever side it is on; what is dead is counted for itself."""
    for number, side in enumerate(Side, 1):
        at = NOW + number * SECOND
        ledger.write(put_off, read(ledger, side), at + HOUR, WAITING, at, ledger.timing, attempt=False)
    assert ledger.read(read_open).unsettled_since == NOW + SECOND
    ledger.write(mark_dead, read(ledger), Reason(code="NoPermission", text="…"), NOW + HOUR)
    found = ledger.read(read_open)
    assert (found.unsettled, found.unsettled_since, found.dead) == (1, NOW + 2 * SECOND, 1)


def test_what_stands_is_not_open(ledger: Ledger, admitted: Gated) -> None:
    """However long ago it came up."""
    come_up(ledger, "vpc-1")
    assert ledger.read(read_open).unsettled == 0


# -- in a pass ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Settings:
    """What a pass asks of them."""

    settle_seconds: float = 1
    drift_repair: Sequence[str] = ()


@dataclass
class Around:
    """What a pass runs in: a frame whose topic and queues take nothing."""

    ledger: Ledger
    gate: Gate
    settings: Settings = Settings()

    def publish(self) -> None:
        """Nothing goes out."""

    def wake(self, grant: str | None, side: Side, next_at: int) -> None:
        """Nobody comes."""


def test_a_pass_says_how_old_what_it_leaves_is(ledger: Ledger, admitted: Gated, database: Database) -> None:
    """In its report and in its line, from one statement more than it needs to do its work."""
    asked: list[str] = []
    ledger.write(mark_published, [1])  # of the configuration
    sql.event.listen(ledger.engine, "before_cursor_execute", lambda *call: asked.append(str(call[2])))
    reconcile = Reconcile(
        cast("Surroundings", Around(ledger, admitted.gate)), CalmCloud(), clock=lambda: NOW + 90 * SECOND
    )
    configure()
    with capture_logs() as lines:
        report = reconcile.run()
    (done,) = [line for line in lines if line["event"] == "reconcile.done"]
    for said in (vars(report), done):
        assert (said["unsettled"], said["unsettled_seconds"]) == (2, 90)
        assert (said["outbox"], said["outbox_seconds"]) == (1, 90)
    assert done["dead_sides"] == report.dead == 0
    assert len([one for one in asked if "outbox_since" in one]) == 1
    assert database.kinds() == ["configured", "admitted"]
