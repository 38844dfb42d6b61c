"""Claims: one side of a grant is one worker's at a time, not for ever, and nobody's news is lost on the way."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sql

from shared.ledger.admission import admit
from shared.ledger.intents import intend
from shared.ledger.outcomes import settle
from shared.ledger.tables import sides
from shared.ledger.transactions import Ledger
from shared.ledger.work import claim, give_up, read_work, release, unsettled
from shared.rules.facts import Operation, Side
from tests.ledger.crowd import Crowd
from tests.ledger.kit import NOW, Database, check_order, grant_id, opening

ID = grant_id()
SOON = NOW + 60_000


def knocks(ledger: Ledger, side: Side = Side.GRANT) -> int:
    """How often somebody came in vain."""
    work = ledger.write(read_work, ID, side, NOW, ledger.timing)
    assert work is not None
    return work.mine.knocks


def test_a_claimed_side_is_nobody_elses(admitted: Ledger) -> None:
    """While one worker has a side, another gets a no; the other side and other grants are free."""
    assert admitted.write(claim, ID, Side.GRANT, "one", NOW, SOON)

    assert not admitted.write(claim, ID, Side.GRANT, "two", NOW, SOON)
    assert not admitted.write(claim, ID, Side.GRANT, "one", NOW, SOON), "not even the same worker gets it twice"
    assert admitted.write(claim, ID, Side.ASSOCIATE, "two", NOW, SOON)


def test_nobody_claims_what_does_not_exist(ledger: Ledger) -> None:
    """A wake for a grant that nobody ever asked for finds nothing to take."""
    assert not ledger.write(claim, "g-nobody", Side.GRANT, "one", NOW, SOON)
    assert ledger.write(read_work, "g-nobody", Side.GRANT, NOW, ledger.timing) is None


def test_a_released_side_is_free(admitted: Ledger) -> None:
    """Whoever gives a side back lets the next one in."""
    assert admitted.write(claim, ID, Side.GRANT, "one", NOW, SOON)
    assert admitted.write(release, ID, Side.GRANT, "one", 0)

    assert admitted.write(claim, ID, Side.GRANT, "two", NOW, SOON)


def test_a_claim_expires(admitted: Ledger) -> None:
    """A worker that never comes back keeps a side until its time and not longer."""
    assert admitted.write(claim, ID, Side.GRANT, "one", NOW, SOON)

    assert not admitted.write(claim, ID, Side.GRANT, "two", SOON - 1, SOON + 60_000)
    assert admitted.write(claim, ID, Side.GRANT, "two", SOON, SOON + 60_000)


def test_who_comes_back_too_late_takes_nothing_from_the_next(admitted: Ledger) -> None:
    """Releasing a claim that ran out and became somebody else's leaves that one's claim as it is."""
    assert admitted.write(claim, ID, Side.GRANT, "one", NOW, SOON)
    assert admitted.write(claim, ID, Side.GRANT, "two", SOON, SOON + 60_000)

    assert admitted.write(release, ID, Side.GRANT, "one", knocks(admitted)), (
        "there is nothing left to look at for the late one"
    )
    assert not admitted.write(claim, ID, Side.GRANT, "three", SOON, SOON + 60_000)


def test_whoever_knocks_is_heard(admitted: Ledger) -> None:
    """A no is a knock: the holder cannot leave without having looked once more."""
    assert admitted.write(claim, ID, Side.GRANT, "one", NOW, SOON)
    before = knocks(admitted)
    assert not admitted.write(claim, ID, Side.GRANT, "two", NOW, SOON)

    assert not admitted.write(release, ID, Side.GRANT, "one", before), "it is kept: somebody came with news"
    assert not admitted.write(claim, ID, Side.GRANT, "two", NOW, SOON)
    assert admitted.write(release, ID, Side.GRANT, "one", before + 2)


def test_a_claim_that_is_given_up_is_free_and_its_calls_are_over(admitted: Ledger) -> None:
    """Its intents can have been made now at the latest, no more when the claim would have run out."""
    assert admitted.write(claim, ID, Side.GRANT, "one", NOW, SOON)
    work = admitted.write(read_work, ID, Side.GRANT, NOW, admitted.timing)
    assert work is not None
    intent = admitted.write(intend, work, Operation.GRANT, NOW, admitted.timing)
    assert intent is not None
    assert intent.made_at == SOON

    admitted.write(give_up, ID, Side.GRANT, "one", NOW + 1)

    again = admitted.write(read_work, ID, Side.GRANT, NOW + 1, admitted.timing)
    assert again is not None
    assert [one.made_at for one in again.my_intents] == [NOW + 1]
    assert admitted.write(claim, ID, Side.GRANT, "two", NOW + 1, SOON)


def test_who_gives_up_too_late_takes_nothing_from_the_next(admitted: Ledger) -> None:
    """Neither the claim of whoever came next, nor the time of its intents."""
    assert admitted.write(claim, ID, Side.GRANT, "one", NOW, SOON)
    assert admitted.write(claim, ID, Side.GRANT, "two", SOON, SOON + 60_000)
    work = admitted.write(read_work, ID, Side.GRANT, SOON, admitted.timing)
    assert work is not None
    assert admitted.write(intend, work, Operation.GRANT, SOON, admitted.timing) is not None

    admitted.write(give_up, ID, Side.GRANT, "one", SOON + 1)

    again = admitted.write(read_work, ID, Side.GRANT, SOON + 1, admitted.timing)
    assert again is not None
    assert [one.made_at for one in again.my_intents] == [SOON + 60_000]
    assert not admitted.write(claim, ID, Side.GRANT, "three", SOON + 1, SOON + 60_000)


def test_a_claimed_side_is_left_out_by_the_timer(admitted: Ledger) -> None:
    """What a worker is at needs no wake, until the claim runs out."""
    assert admitted.write(claim, ID, Side.GRANT, "one", NOW, SOON)

    assert admitted.read(unsettled, NOW, 10) == [(ID, Side.ASSOCIATE)]
    assert (ID, Side.GRANT) in admitted.read(unsettled, SOON, 10)


# -- many at once ------------------------------------------------------------------------------------------------------


def claim_each(ledger: Ledger, number: int, rounds: int) -> list[int]:
    """Try to claim the same sides as everybody else, in the same order; which ones were taken."""
    return [
        each
        for each in range(rounds)
        if ledger.write(claim, grant_id(f"vpc-{each}"), Side.GRANT, f"worker-{number}", NOW, SOON)
    ]


def test_of_all_who_claim_a_side_one_gets_it(crowd: Crowd, ledger: Ledger, database: Database) -> None:
    """Eight processes want the same sides at the same moment: each side is one's, and all others have knocked."""
    rounds = 8
    for each in range(rounds):
        ledger.write(admit, opening(f"REQ-{each}", f"vpc-{each}"), "m", NOW, ledger.timing)

    taken = crowd.at_once(database.url, claim_each, rounds)

    assert sorted(each for part in taken for each in part) == list(range(rounds))
    counted = database.rows(sql.select(sides.c.knocks).where(sides.c.side == Side.GRANT))
    assert [row.knocks for row in counted] == [crowd.size - 1] * rounds


def work_until_released(ledger: Ledger, number: int, rounds: int, folder: str) -> tuple[int, int]:
    """Bring news, then do what converge does: claim, and while somebody knocks, look again. Returns (visits, intrusions).

    While a side is held, a file says so; that the file is there already means that two hold it.
    """
    worker, visits, intrusions = f"worker-{number}", 0, 0
    for each in range(rounds):
        vpc = f"vpc-{each % 2}"
        mine = grant_id(vpc)
        ledger.write(admit, opening(f"REQ-{number}-{each}", vpc), "m", NOW, ledger.timing)
        if not ledger.write(claim, mine, Side.GRANT, worker, NOW, SOON):
            continue
        mark = Path(folder) / mine
        while True:
            visits += 1
            try:
                mark.touch(exist_ok=False)
            except FileExistsError:
                intrusions += 1
            work = ledger.write(read_work, mine, Side.GRANT, NOW, ledger.timing)
            assert work is not None
            ledger.write(settle, work, None, NOW, association_id=None, served=[], both_sides=True)
            mark.unlink(missing_ok=True)
            if ledger.write(release, mine, Side.GRANT, worker, work.mine.knocks):
                break
    return visits, intrusions


def test_no_news_is_lost_between_claim_and_release(
    crowd: Crowd, ledger: Ledger, database: Database, tmp_path: Path
) -> None:
    """Everybody brings news and looks if nobody else does. Never do two look at once, and when all have gone home, nothing
    that was brought has been left unseen, without a timer's help."""
    found = crowd.at_once(database.url, work_until_released, 4, str(tmp_path))

    assert sum(intrusions for _, intrusions in found) == 0
    assert sum(visits for visits, _ in found) >= 2
    assert [side for _, side in ledger.read(unsettled, NOW, 100) if side == Side.GRANT] == []
    assert database.count(sides, sides.c.claimed_by.is_not(None)) == 0
    check_order(ledger, database)
