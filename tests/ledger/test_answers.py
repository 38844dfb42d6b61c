"""Answers state what was read: of what is sent again, of what was there before us, of what cannot be had."""

from __future__ import annotations

import json
from typing import Any

import pytest
import sqlalchemy as sql

from shared.ledger.admission import admit
from shared.ledger.drift import note_drift
from shared.ledger.intents import give_up_others, intend, saw
from shared.ledger.operating import redrive
from shared.ledger.outbox import mark_published, waiting_entries
from shared.ledger.outcomes import mark_dead, refuse, settle
from shared.ledger.passing import let_time_pass
from shared.ledger.tables import approvals, events
from shared.ledger.transactions import Ledger
from shared.messages.completion import EventKind, Reason
from shared.rules.facts import Drift, DriftKind, Operation, Seen, Side
from tests.ledger.kit import (
    HOUR,
    NOW,
    Database,
    check_order,
    closing,
    grant_id,
    moment,
    opening,
    outcomes,
    read,
    settle_side,
)
from tests.ledger.lives import ROUTES, come_up, open_one

TROUBLE = Reason(code="CloudTrouble", text="the platform failed")
LATER = NOW + HOUR
ANSWERED = f"this very request was answered at {moment(NOW).replace('+00:00', 'Z')}"
"""What an answer that is given again says at its end."""


def answers(database: Database) -> list[tuple[str, str, str]]:
    """(request, message that is answered, answer with its text), in order."""
    query = sql.select(events.c.body).where(events.c.kind.in_(["done", "rejected", "dead"])).order_by(events.c.seq)
    told = [json.loads(row.body) for row in database.rows(query)]
    return [
        (one["request"]["request_id"], one["message_id"], f"{one['event']}: {one['reason']['text']}") for one in told
    ]


def ask_again(ledger: Ledger, message_id: str = "again-1", **lease: Any) -> None:
    """Send the first request once more, in a message of its own."""
    ledger.write(admit, opening(**lease), message_id, LATER, ledger.timing)


def revoked(ledger: Ledger) -> None:
    """Close everything and bring both sides to rest."""
    ledger.write(admit, closing("all"), "message-end", NOW + 1, ledger.timing)
    for side, kind in ((Side.ASSOCIATE, EventKind.DISSOCIATED), (Side.GRANT, EventKind.REVOKED)):
        ledger.write(saw, read(ledger, side), Seen("absent"), NOW + 1)
        assert settle_side(ledger, side, kind, now=NOW + 1)


# -- sent again --------------------------------------------------------------------------------------------------------


def test_sent_again_while_it_is_up_it_is_already_done(ledger: Ledger, database: Database) -> None:
    """A message of its own is answered from what holds now; it says so, and when the request had its answer."""
    open_one(ledger, "REQ-1", "vpc-1")
    come_up(ledger, "vpc-1")
    before = database.rows(sql.select(approvals.c.outcome, approvals.c.outcome_at))
    ask_again(ledger)

    assert answers(database)[-1] == (
        "REQ-1",
        "again-1",
        f"done: already granted and associated; {ANSWERED}",
    )
    assert database.rows(sql.select(approvals.c.outcome, approvals.c.outcome_at)) == before, "its outcome stays"
    check_order(ledger, database)


def test_a_redelivery_is_nobody_asking_again(ledger: Ledger, database: Database) -> None:
    """The platform delivers at least once: the same message, of the first request or of its repetition, changes nothing."""
    ledger.write(admit, opening(), "message-1", NOW, ledger.timing)
    come_up(ledger, "vpc-1")
    ask_again(ledger)
    record = database.everything()

    ledger.write(admit, opening(), "message-1", LATER + 1, ledger.timing)
    ask_again(ledger)
    assert database.everything() == record

    ask_again(ledger, "again-2")
    assert [message for _, message, _ in answers(database)] == ["message-1", "again-1", "again-2"]


def test_sent_again_after_it_was_revoked_it_is_rejected_and_names_the_revoke(
    ledger: Ledger, database: Database
) -> None:
    """Nothing is granted, and nothing will be: never "done: already granted"."""
    open_one(ledger, "REQ-1", "vpc-1")
    come_up(ledger, "vpc-1")
    revoked(ledger)
    ask_again(ledger)

    request, message, text = answers(database)[-1]
    assert (request, message) == ("REQ-1", "again-1")
    assert text.startswith("rejected: closed by the revoke REQ-END of tests; it closes what was approved until")
    assert "before it took effect" not in text, "it had been up"
    assert read(ledger).wanted.down
    check_order(ledger, database)


def test_sent_again_while_it_still_comes_down_it_is_rejected_at_once(ledger: Ledger, database: Database) -> None:
    """A closed lease never counts again, whatever is under way."""
    open_one(ledger, "REQ-1", "vpc-1")
    come_up(ledger, "vpc-1")
    ledger.write(admit, closing(["REQ-1"]), "message-end", NOW + 1, ledger.timing)
    ask_again(ledger)

    assert answers(database)[-1][1:] == ("again-1", f"rejected: closed by the revoke REQ-END of tests; {ANSWERED}")


@pytest.mark.parametrize(
    ("on_end", "says"),
    [
        pytest.param("teardown", "rejected: its approved end came", id="torn down: its end came"),
        pytest.param("report", "done: ", id="only reported, and it stands: still done"),
    ],
)
def test_sent_again_past_its_end(ledger: Ledger, database: Database, on_end: str, says: str) -> None:
    """What holds then decides."""
    lease: dict[str, Any] = {"ends_at": NOW + HOUR, "on_end": on_end}
    open_one(ledger, "REQ-1", "vpc-1", **lease)
    come_up(ledger, "vpc-1")
    let_time_pass(ledger, LATER)
    for side in Side if on_end == "report" else ():
        assert settle_side(ledger, side, None, now=LATER)
    ask_again(ledger, **lease)

    assert answers(database)[-1][2].startswith(says)
    check_order(ledger, database)


def test_sent_again_after_it_was_rejected_it_is_told_why_once_more(ledger: Ledger, database: Database) -> None:
    """With the reason of then, though nobody works on the grant any more."""
    open_one(ledger, "REQ-1", "vpc-1")
    assert ledger.write(refuse, read(ledger), Reason(code="InstanceNotFound", text="vpc-1 is not there"), NOW)
    ask_again(ledger)

    assert answers(database)[-1] == ("REQ-1", "again-1", f"rejected: vpc-1 is not there; {ANSWERED}")
    check_order(ledger, database)


def test_sent_again_while_its_grant_is_dead_it_is_told_so(ledger: Ledger, database: Database) -> None:
    """Nothing will happen before somebody redrives it: whoever asks hears that now, and the outcome when it comes."""
    open_one(ledger, "REQ-1", "vpc-1")
    ledger.write(mark_dead, read(ledger), TROUBLE, NOW)
    ask_again(ledger)
    assert answers(database)[-1][1:] == ("again-1", f"dead: the platform failed; {ANSWERED}")

    ledger.write(redrive, grant_id(), Side.GRANT, "operator", LATER)
    come_up(ledger, "vpc-1", LATER)
    assert outcomes(database)[-1] == ("REQ-1", "done")
    check_order(ledger, database)


def test_whoever_waits_is_told_each_death(ledger: Ledger, database: Database) -> None:
    """After a redrive, too: it was tried in vain once more, perhaps for another reason. Asked again, that message is answered."""
    open_one(ledger, "REQ-1", "vpc-1")
    for trouble in ("the platform failed", "it failed once more"):
        reason = Reason(code="CloudTrouble", text=trouble)
        assert ledger.write(mark_dead, read(ledger, now=LATER), reason, LATER)
        assert ledger.write(redrive, grant_id(), Side.GRANT, "operator", LATER)
    ask_again(ledger)
    assert ledger.write(mark_dead, read(ledger, now=LATER), TROUBLE, LATER)

    told = answers(database)
    assert [text for _, _, text in told[:2]] == ["dead: the platform failed", "dead: it failed once more"]
    assert [(message, text.partition(";")[0]) for _, message, text in told[2:]] == [
        ("again-1", "dead: the platform failed")
    ]
    check_order(ledger, database)


def test_what_failed_for_the_leases_of_before_does_not_answer_a_new_one(ledger: Ledger, database: Database) -> None:
    """A worker may learn that it cannot go on after another lease came, which nobody has tried yet."""
    open_one(ledger, "REQ-1", "vpc-1")
    before = read(ledger)
    open_one(ledger, "REQ-2", "vpc-1", LATER)

    assert not ledger.write(mark_dead, before, TROUBLE, LATER)
    assert (answers(database), read(ledger, now=LATER).mine.dead) == ([], False)
    assert ledger.write(mark_dead, read(ledger, now=LATER), TROUBLE, LATER)
    assert read(ledger, now=LATER).mine.dead


def test_sent_again_while_another_lease_is_on_its_way_it_waits_for_rest(ledger: Ledger, database: Database) -> None:
    """The answer states what was read, so it comes when both sides have come to rest; or when they never will."""
    open_one(ledger, "REQ-1", "vpc-1")
    come_up(ledger, "vpc-1")
    open_one(ledger, "REQ-2", "vpc-1", LATER)
    ask_again(ledger)
    assert [message for _, message, _ in answers(database)] == ["message-REQ-1-vpc-1"]

    ledger.write(mark_dead, read(ledger, now=LATER), TROUBLE, LATER)
    assert sorted(answers(database)[1:]) == [
        ("REQ-1", "again-1", f"dead: the platform failed; {ANSWERED}"),
        ("REQ-2", "message-REQ-2-vpc-1", "dead: the platform failed"),
    ]
    ledger.write(redrive, grant_id(), Side.GRANT, "operator", LATER)
    ask_again(ledger, "again-2")
    come_up(ledger, "vpc-1", LATER)
    assert sorted(message for _, message, _ in answers(database)[3:]) == ["again-2", "message-REQ-2-vpc-1"]
    check_order(ledger, database)


def test_an_answer_given_again_is_published(ledger: Ledger) -> None:
    """It is an event of its own, with an id of its own."""
    ledger.write(admit, opening(), "message-1", NOW, ledger.timing)
    come_up(ledger, "vpc-1")
    ledger.write(mark_published, [entry.seq for entry in ledger.read(waiting_entries, 100)])
    assert ledger.read(waiting_entries, 100) == []
    ask_again(ledger)

    assert [entry.tag for entry in ledger.read(waiting_entries, 100)] == ["done"]


# -- what was there before us ------------------------------------------------------------------------------------------


def test_what_was_there_before_us_is_named_with_its_prefixes(ledger: Ledger, database: Database) -> None:
    """Done, and it says what stays when the leases end, and that what is allowed is not what was approved."""
    open_one(ledger, "REQ-1", "vpc-1")
    ledger.write(saw, read(ledger), Seen("present", ours=False), NOW)
    assert settle_side(ledger, Side.GRANT, EventKind.GRANTED)
    wide = Seen("ACTIVE", ours=False, association_id="assoc-1", prefixes=("10.0.0.0/8",))
    ledger.write(saw, read(ledger, Side.ASSOCIATE), wide, NOW)
    assert settle_side(ledger, Side.ASSOCIATE, EventKind.ASSOCIATED)

    (text,) = [text for _, _, text in answers(database)]
    assert text == (
        "done: already granted and associated; this was there before us and stays when the leases end: "
        "the grant and the association with the prefixes 10.0.0.0/8 (approved are 10.20.0.0/16)"
    )


def test_a_revoke_of_what_was_made_by_hand_says_that_it_stays(ledger: Ledger, database: Database) -> None:
    """Never "dissociated and revoked": it is up."""
    open_one(ledger, "REQ-1", "vpc-1")
    come_up(ledger, "vpc-1", ours=False)
    ledger.write(admit, closing("all"), "message-end", NOW + 1, ledger.timing)
    for side in (Side.ASSOCIATE, Side.GRANT):
        assert settle_side(ledger, side, None, now=NOW + 1)

    assert answers(database)[-1][2].startswith(
        "done: closed; what was there before us stays: the grant and the association with the prefixes 10.20.0.0/16"
    )


def test_a_revoke_of_what_was_ours_says_that_it_is_gone(ledger: Ledger, database: Database) -> None:
    """By writes of ours, on both sides."""
    open_one(ledger, "REQ-1", "vpc-1")
    come_up(ledger, "vpc-1")
    ledger.write(admit, closing(["REQ-1"]), "message-end", NOW + 1, ledger.timing)
    for side, operation, kind in (
        (Side.ASSOCIATE, Operation.DISSOCIATE, EventKind.DISSOCIATED),
        (Side.GRANT, Operation.REVOKE, EventKind.REVOKED),
    ):
        intent = ledger.write(intend, read(ledger, side), operation, NOW + 1, ledger.timing)
        assert intent is not None
        ledger.write(saw, read(ledger, side), Seen("absent"), NOW + 2, landed=[intent])
        assert settle_side(ledger, side, kind, now=NOW + 2)

    assert answers(database)[-1][2] == "done: dissociated and revoked"


def test_a_revoke_that_matched_nothing_says_so(ledger: Ledger, database: Database) -> None:
    """C19: a misspelt request id is no silent success; what it named is closed when it comes."""
    open_one(ledger, "REQ-1", "vpc-1")
    come_up(ledger, "vpc-1")
    ledger.write(admit, closing(["REQ-I"]), "message-end", NOW + 1, ledger.timing)
    for side, kind in ((Side.GRANT, EventKind.GRANTED), (Side.ASSOCIATE, EventKind.ASSOCIATED)):
        assert settle_side(ledger, side, kind, now=NOW + 1)

    assert answers(database)[-1][2] == (
        "done: nothing by that name was open on this grant, and the close stands for when it comes; "
        "other leases keep the grant up"
    )


@pytest.mark.parametrize(
    ("closes", "says"),
    [
        pytest.param(
            ["REQ-2"],
            f"another grant, which this does not touch: REQ-2 is a lease of vpc-2 ({grant_id('vpc-2')}); "
            "other leases keep the grant up",
            id="of another grant",
        ),
        pytest.param(
            ["REQ-0"], "what was over already: REQ-0; other leases keep the grant up", id="of a lease that was over"
        ),
        pytest.param(
            ["REQ-1", "REQ-2", "REQ-I"],
            f"another grant, which this does not touch: REQ-2 is a lease of vpc-2 ({grant_id('vpc-2')}); "
            "nothing by the name REQ-I was open on this grant, and the close stands for when it comes; closed; "
            "nothing of ours was up any more",
            id="beside one that it closed",
        ),
        pytest.param(
            [f"REQ-X{number}" for number in range(8)],
            "nothing by that name was open on this grant, and the close stands for when it comes; "
            "other leases keep the grant up",
            id="many misspelt ones",
        ),
        pytest.param(
            ["REQ-1", *(f"REQ-X{number}" for number in range(8))],
            "nothing by the name REQ-X0, REQ-X1, REQ-X2, REQ-X3, REQ-X4 and 3 more was open on this grant, "
            "and the close stands for when it comes; closed; nothing of ours was up any more",
            id="many misspelt ones beside one that it closed",
        ),
    ],
)
def test_a_revoke_says_what_goes_by_the_names_that_closed_nothing(
    ledger: Ledger, database: Database, closes: list[str], says: str
) -> None:
    """A misspelt name, one of another grant and one that is over are different mistakes. Another issuer's tell nothing."""
    open_one(ledger, "REQ-I", "vpc-1", issuer="somebody-else", approved_at=NOW - 30 * HOUR, ends_at=NOW - HOUR)
    open_one(ledger, "REQ-0", "vpc-1", approved_at=NOW - 2 * HOUR, ends_at=NOW - HOUR)
    open_one(ledger, "REQ-1", "vpc-1")
    open_one(ledger, "REQ-2", "vpc-2")
    come_up(ledger, "vpc-1")
    ledger.write(admit, closing(closes), "message-end", NOW + 1, ledger.timing)
    for side in (Side.ASSOCIATE, Side.GRANT):
        if "REQ-1" in closes:
            ledger.write(saw, read(ledger, side), Seen("absent"), NOW + 1)
        assert settle_side(ledger, side, None, now=NOW + 1)

    assert answers(database)[-1] == ("REQ-END", "message-end", f"done: {says}")


def test_where_the_association_is_theirs_the_answer_is_bs_view(ledger: Ledger, database: Database) -> None:
    """Granted: the rest is account A's to make."""
    open_one(ledger, "REQ-1", "vpc-1")
    ledger.write(saw, read(ledger), Seen("present", ours=True), NOW)
    assert settle_side(ledger, Side.GRANT, EventKind.GRANTED, both_sides=False)

    assert answers(database)[-1][2] == "done: already granted; the association is account A's to make"


@pytest.mark.parametrize(
    ("at", "given_up"),
    [
        pytest.param(NOW + 59_999, False, id="it may still land: wait"),
        pytest.param(NOW + 60_000, True, id="it can land no more: nobody looks after it, so it is given up (r22)"),
    ],
)
def test_a_write_that_theirs_took_over_from_us_resolves(ledger: Ledger, at: int, *, given_up: bool) -> None:
    """``ours`` turned to ``theirs`` with an open write: account B's side does not wait for it for ever."""
    open_one(ledger, "REQ-1", "vpc-1")
    assert settle_side(ledger, Side.GRANT, EventKind.GRANTED)
    work = read(ledger, Side.ASSOCIATE)
    assert ledger.write(intend, work, Operation.ASSOCIATE, NOW, ledger.timing) is not None

    assert ledger.write(give_up_others, read(ledger), at, ledger.timing) is given_up
    assert (read(ledger).other_pending is None) is given_up


def test_theirs_is_told_again_after_a_repair(ledger: Ledger, database: Database) -> None:
    """R16: a grant that was made again is news to account A's own automation."""
    open_one(ledger, "REQ-1", "vpc-1")
    told: dict[str, Any] = {"association_id": None, "served": [], "both_sides": False}
    assert ledger.write(settle, read(ledger), EventKind.GRANTED, NOW, **told)
    gone = Drift(read(ledger).key, Side.GRANT, DriftKind.GRANT_MISSING, "it is gone")
    assert ledger.write(note_drift, [gone], LATER, generation=1, quiet_since=LATER, repair={gone.kind})
    assert ledger.write(settle, read(ledger), EventKind.GRANTED, LATER, **told)

    assert database.kinds().count("granted") == 2
    assert outcomes(database) == [("REQ-1", "done")], "and nobody is answered twice"


# -- what cannot be had ------------------------------------------------------------------------------------------------


def test_of_two_that_exceed_a_limit_together_the_newest_goes(ledger: Ledger, database: Database) -> None:
    """R17: by its approval, not by its arrival; the harmless one is not rejected with it."""
    open_one(ledger, "REQ-NEW", "vpc-1", approved_at=NOW - 1)
    open_one(ledger, "REQ-OLD", "vpc-1", approved_at=NOW - 2, prefixes=("10.1.0.0/16",))
    too_many = Reason(code="IllegalParamSize.AllowedPrefixes", text="too many")

    assert ledger.write(refuse, read(ledger), too_many, NOW, newest=True)
    assert outcomes(database) == [("REQ-NEW", "rejected")]
    assert read(ledger).wanted.prefixes == ("10.1.0.0/16",)
    assert ledger.write(refuse, read(ledger), too_many, NOW, newest=True)
    assert not ledger.write(refuse, read(ledger), too_many, NOW, newest=True)
    check_order(ledger, database)


def test_what_was_done_is_not_refused_for_what_comes_after_it(ledger: Ledger, database: Database) -> None:
    """A lease that stands is not cut off by one that exceeds the limit, however young it is itself."""
    open_one(ledger, "REQ-1", "vpc-1", approved_at=NOW)
    come_up(ledger, "vpc-1")
    open_one(ledger, "REQ-2", "vpc-1", approved_at=NOW - HOUR, prefixes=("10.1.0.0/16",))

    assert ledger.write(refuse, read(ledger), TROUBLE, NOW, newest=True)
    assert outcomes(database) == [("REQ-1", "done"), ("REQ-2", "rejected")]
    assert read(ledger).wanted.prefixes == ROUTES


def test_after_a_refusal_the_other_account_has_nothing_to_do_for_what_is_left(ledger: Ledger) -> None:
    """Account B granted for both; what account A refuses of them costs the other request no look by account B."""
    ledger.write(admit, opening("REQ-1"), "message-1", NOW, ledger.timing)
    ledger.write(admit, opening("REQ-2", prefixes=("172.16.0.0/12",)), "message-2", NOW + 1, ledger.timing)
    ledger.write(saw, read(ledger), Seen("present", ours=True), NOW + 2)
    assert settle_side(ledger, Side.GRANT, EventKind.GRANTED)
    work = read(ledger, Side.ASSOCIATE)
    assert ledger.write(refuse, work, TROUBLE, NOW + 3, newest=True)
    left = read(ledger, Side.ASSOCIATE)
    assert (left.generation, left.wanted.prefixes) == (work.generation + 1, ("10.20.0.0/16",))
    assert left.other_settled
    assert read(ledger).settled
    assert not left.settled
