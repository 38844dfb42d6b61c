"""What people's words amount to: from the facts of one request alone, in the order in which they were said."""

from __future__ import annotations

from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from pydantic import ValidationError

from shared.errors import BadInput, NotAllowed
from shared.messages.approval import Ecr, Every, GrantApproval, OnEnd, RevokeApproval
from shared.messages.consent import (
    FACTS,
    AnyFact,
    Asked,
    Looked,
    RequestKind,
    Reviewed,
    Strength,
    snapshot_of,
)
from shared.rules.consent import (
    Needed,
    Speaker,
    Stage,
    approval_of,
    due,
    ensure_decidable,
    ensure_open,
    fold,
    how_it_ended,
    needed,
    owns,
    speakers,
    speaks,
    told,
)
from shared.rules.facts import Side
from shared.rules.vouching import UNSEEN, ask, decide
from tests.unit.consenting import (
    APPROVED,
    CLOSING,
    HOUR,
    LAPSED,
    PEOPLE,
    REFUSED,
    ROUND_1,
    ROUND_2,
    SHIPPED,
    START,
    asked,
    looked,
    said,
    voice,
    wish,
    withdrawn,
)
from tests.unit.issuing import B, inventory

# -- the fold --------------------------------------------------------------------------------------------------------


def test_a_request_begins_with_being_asked() -> None:
    """Nothing and anything else is no request."""
    with pytest.raises(BadInput, match=r"^there are no facts$"):
        fold([])
    with pytest.raises(BadInput, match=r"^the facts of r-1 begin with looked, not with its being asked$"):
        fold([looked()])


def test_words_count_once_for_each_person_and_side() -> None:
    """In the order they were said; the last one of each."""
    one, other = said("own-b"), said("own-b2")
    again = said("own-b", reason="once more")
    standing = fold([asked(), looked(), one, other, said("own-a", Side.ASSOCIATE), again])
    assert [(word.by.person, word.reason) for word in standing.yes] == [
        ("own-b2", ""),
        ("own-a", ""),
        ("own-b", "once more"),
    ]
    assert (standing.stage, standing.round, standing.sides) == (Stage.OPEN, 1, frozenset(Side))


def test_what_changed_voids_what_was_said() -> None:
    """Seen once more as it was, it stands; seen otherwise, there is a new round."""
    before: list[AnyFact] = [asked(), looked(), said("own-b"), looked(failed=1)]
    assert [word.by.person for word in fold(before).yes] == ["own-b"]
    after = fold([*before, looked(ROUND_2), said("own-b2"), said("own-a", content=ROUND_2)])
    assert (after.round, [word.by.person for word in after.void]) == (2, ["own-b"])
    assert [word.by.person for word in after.yes] == ["own-a"]
    assert (after.before, after.looked) == (looked(failed=1), looked(ROUND_2))


def test_one_person_may_speak_for_both_sides_and_every_round_voids_what_was_said() -> None:
    """Who owns both accounts has a word for each; of three rounds the words of the first two are void."""
    begun: list[AnyFact] = [asked(), looked(), said("own-b"), said("own-b", Side.ASSOCIATE)]
    assert [word.side for word in fold(begun).yes] == ["grant", "associate"]
    again: list[AnyFact] = [*begun, looked(ROUND_2), said("own-a", Side.ASSOCIATE, content=ROUND_2), looked()]
    assert [(word.by.person, word.side) for word in fold(again).void] == [
        ("own-b", "grant"),
        ("own-b", "associate"),
        ("own-a", "associate"),
    ]
    assert fold(again).round == 3


def test_whoever_took_part_reviews_nothing() -> None:
    """Neither whoever asked for an emergency, nor who agreed to it, nor instead of whom; somebody else's first word does."""
    agreed = said("deputy", instead_of="own-b")
    urgent: list[AnyFact] = [asked(emergency=True), looked(), agreed, APPROVED]

    def review(person: str) -> Reviewed:
        return Reviewed(request_id="r-1", at=START + 3 * HOUR, in_order=True, by=voice(person), reason="all was well")

    for person in ("req", "deputy", "own-b"):
        assert fold([*urgent, review(person)]) == fold(urgent)
    assert fold([*urgent, review("own-a"), review("own-b2")]).reviewed == review("own-a")
    assert fold([asked(), looked(), agreed, APPROVED, review("own-a")]).reviewed is None


def test_a_fallback_group_speaks_where_no_owner_can() -> None:
    """Where the only owner asks; and not beside an owner who can."""
    listed = inventory()
    account = listed.accounts[B].model_copy(update={"fallback": "network"})
    fallen = listed.model_copy(update={"accounts": {**listed.accounts, B: account}})
    alone = PEOPLE.model_copy(update={"groups": {**PEOPLE.groups, "orders": ["own-b"]}, "delegations": []})
    assert speakers(Side.GRANT, wish().grant, "own-b", START, fallen, alone) == [Speaker("own-a")]
    assert speakers(Side.GRANT, wish().grant, "req", START, fallen, alone) == [Speaker("own-b")]
    assert speakers(Side.GRANT, wish().grant, "own-b", START, listed, alone) == []


def test_a_word_before_preflight_is_none() -> None:
    """Nobody can have been shown anything."""
    assert fold([asked(), said("own-b"), said("own-b2", agrees=False)]).stage is Stage.OPEN


ENDS: dict[str, tuple[AnyFact, Stage, str]] = {
    "a no": (said("own-b", agrees=False, reason="Not ours"), Stage.REFUSED, "by own-b for the grant side: Not ours"),
    "a no without a reason": (said("own-b", agrees=False), Stage.REFUSED, "by own-b for the grant side"),
    "a withdrawal": (withdrawn(), Stage.WITHDRAWN, "was withdrawn at 2026-03-01T09:00:00Z by req"),
    "its lapse": (LAPSED, Stage.LAPSED, "lapsed at 2026-03-08T08:00:00Z: nobody decided in time"),
    "its approval": (
        APPROVED,
        Stage.APPROVED,
        "was approved at 2026-03-01T10:00:00Z: what it opened is ended by a revoke",
    ),
    "a refusal": (REFUSED, Stage.REFUSED, "was refused at 2026-03-01T10:00:00Z: it is not listed any more"),
}


@pytest.mark.parametrize("how", ENDS)
def test_what_ended_stays_as_it_ended(how: str) -> None:
    """Whatever comes after it changes nothing, and whoever comes is told how it ended."""
    end, stage, text = ENDS[how]
    begun: list[AnyFact] = [asked(), looked(), said("own-b2"), end]
    standing = fold(begun)
    assert standing.stage is stage
    assert how_it_ended(standing).endswith(text)
    for later in (
        said("own-b", at=START + 3 * HOUR),
        withdrawn(START + 3 * HOUR),
        looked(ROUND_2),
        LAPSED,
        APPROVED,
        REFUSED,
        asked(),
    ):
        assert fold([*begun, later]) == standing
    with pytest.raises(NotAllowed, match=r"^r-1 ") as refused:
        ensure_open(standing, START)
    assert refused.value.code == "RequestEnded"
    assert told(end, standing)


def test_after_its_time_nothing_counts() -> None:
    """At the very moment too; but what the grant function says of it does."""
    late = START + timedelta(days=7)
    begun: list[AnyFact] = [asked(), looked()]
    standing = fold(begun)
    for fact in (said("own-b", at=late), said("own-b", agrees=False, at=late), withdrawn(late), looked(ROUND_2, late)):
        assert fold([*begun, fact]) == standing
    assert fold([*begun, said("own-b", at=late - timedelta(milliseconds=1))]).yes
    assert not standing.lapsed(late - timedelta(milliseconds=1))
    assert standing.lapsed(late)
    assert not fold([*begun, withdrawn()]).lapsed(late)
    with pytest.raises(NotAllowed, match=r"^r-1 lapsed at 2026-03-08T08:00:00Z: ask again$"):
        ensure_open(standing, late)
    assert fold([*begun, APPROVED.model_copy(update={"at": late})]).stage is Stage.APPROVED


def test_facts_of_another_request_are_not_of_this_one() -> None:
    """Whoever mixes them up changes nothing."""
    other = said("own-b").model_copy(update={"request_id": "r-2"})
    assert fold([asked(), looked(), other]) == fold([asked(), looked()])


def test_what_can_be_decided_is_what_is_shown() -> None:
    """Before preflight, and about something else than is shown now, nothing is."""
    with pytest.raises(NotAllowed) as none:
        ensure_decidable(fold([asked()]), "", START)
    with pytest.raises(NotAllowed, match="round 2") as other:
        ensure_decidable(fold([asked(), looked(), looked(ROUND_2)]), snapshot_of(ROUND_1), START)
    assert (none.value.code, other.value.code) == ("NotLookedYet", "SnapshotChanged")
    ensure_decidable(fold([asked(), looked()]), snapshot_of(ROUND_1), START)
    assert how_it_ended(fold([asked()])) == "is open"


WORDS: list[AnyFact] = [
    looked(),
    looked(ROUND_2),
    *(
        said(who, agrees=yes, content=what)
        for who in ("own-b", "own-b2", "own-a")
        for yes in (True, False)
        for what in (ROUND_1, ROUND_2)
    ),
    withdrawn(),
    APPROVED,
    REFUSED,
    LAPSED,
]
words = some.sampled_from(WORDS)


@settings(deadline=None, derandomize=True)
@given(some.lists(words, max_size=12))
def test_only_the_newest_round_counts_and_the_first_end_stands(facts: list[AnyFact]) -> None:
    """Step by step: an end is final, a round only rises, and whoever counts was shown what is shown."""
    before = fold([asked()])
    for number in range(1, len(facts) + 1):
        standing = fold([asked(), *facts[:number]])
        assert standing.round >= before.round
        if before.stage is not Stage.OPEN:
            assert standing == before
        if standing.looked is not None:
            assert {word.snapshot for word in standing.yes} <= {standing.looked.snapshot}
        assert (standing.ended is None) == (standing.stage is Stage.OPEN)
        before = standing


# -- the approval ----------------------------------------------------------------------------------------------------


def test_the_approval_is_dated_like_the_last_word() -> None:
    """And names whoever agreed, in whatever order they did."""
    each = [said("own-b", at=START + HOUR), said("own-a", Side.ASSOCIATE, at=START + 2 * HOUR)]
    made = {approval_of(fold([asked(), looked(), *order]), order).digest for order in map(list, permutations(each))}
    assert len(made) == 1
    approval = approval_of(fold([asked(), looked()]), each)
    assert isinstance(approval, GrantApproval)
    assert (approval.issuer, approval.request_id, approval.requested_by) == ("desk", "r-1", "req")
    assert (approval.approved_by, approval.approved_at) == (["own-a", "own-b"], START + 2 * HOUR)
    assert (approval.allowed_prefixes, approval.ends_at, approval.on_end) == (
        ["10.20.0.0/16"],
        START + timedelta(days=10),
        OnEnd.TEARDOWN,
    )


def test_an_owners_revoke_is_approved_by_asking() -> None:
    """It needs nobody else's word."""
    approval = approval_of(fold([asked(by=voice("own-b"), **CLOSING)]), [])
    assert isinstance(approval, RevokeApproval)
    assert (approval.approved_by, approval.approved_at, approval.closes) == (["own-b"], START, Every.ALL)


def test_what_no_approval_can_say_is_named() -> None:
    """An end that lies before the last word."""
    early = asked(ends_at=START + HOUR)
    with pytest.raises(BadInput, match=r"^ends_at: must be later than approved_at"):
        approval_of(fold([early, looked()]), [said("own-b", at=START + 2 * HOUR)])


# -- who may ---------------------------------------------------------------------------------------------------------


def test_owners_speak_and_whoever_they_delegated_to() -> None:
    """For as long as they did; an owner in their own name, whatever was delegated to them."""
    grant, at = wish().grant, START + HOUR
    assert speakers(Side.GRANT, grant, "req", at, inventory(), PEOPLE) == [
        Speaker("own-b"),
        Speaker("own-b2"),
        Speaker("deputy", "own-b"),
    ]
    assert speakers(Side.ASSOCIATE, grant, "req", at, inventory(), PEOPLE) == [Speaker("own-a")]
    assert Speaker("deputy", "own-b") not in speakers(Side.GRANT, grant, "req", START + 10 * HOUR, inventory(), PEOPLE)


@pytest.mark.parametrize(
    ("requester", "who"), [("own-b", ["own-b2"]), ("deputy", ["own-b", "own-b2"]), ("own-b2", ["own-b", "deputy"])]
)
def test_never_the_requester_nor_anybody_instead_of_them(requester: str, who: list[str]) -> None:
    """Neither to them nor from them."""
    found = speakers(Side.GRANT, wish().grant, requester, START, inventory(), PEOPLE)
    assert [one.person for one in found] == who


def test_nobody_speaks_for_an_account_that_is_not_listed() -> None:
    """Nor owns it."""
    stranger = wish(ecr=Ecr(id="ecr-7vrbqv9lcgvzqbwwkm", owner_uid="9" * 16)).grant
    assert speakers(Side.ASSOCIATE, stranger, "req", START, inventory(), PEOPLE) == []
    assert owns("own-a", stranger, inventory(), PEOPLE) == []
    assert owns("own-b", stranger, inventory(), PEOPLE) == [Side.GRANT]


def test_a_word_instead_of_somebody_names_them() -> None:
    """Who says that they speak for another than they may is not heard."""
    standing = fold([asked(), looked()])
    good = said("deputy", instead_of="own-b")
    assert speaks(good, standing, inventory(), PEOPLE)
    for bad in (said("deputy"), said("deputy", instead_of="own-b2"), said("own-b", instead_of="own-b2"), said("other")):
        assert not speaks(bad, standing, inventory(), PEOPLE)


def test_policy_is_told_who_decides_what() -> None:
    """A word by somebody who may is let through, by the requester or instead of them it is not."""
    standing = fold([asked(by=voice("own-b2")), looked(failed=0, unknown=2)])
    question = decide(said("own-b"), standing, inventory(), PEOPLE)
    assert question.context == {
        "side": {"type": "Side", "id": "grant"},
        "agrees": True,
        "own": False,
        "owner": True,
        "fresh": False,
        "emergency": False,
        "failed": 0,
        "unknown": 2,
    }
    assert [parent.id for parent in question.principal.parents] == ["orders"]
    assert SHIPPED.decide(question).allowed
    for mine in (said("own-b2"), said("deputy", instead_of="own-b2")):
        assert set(SHIPPED.decide(decide(mine, standing, inventory(), PEOPLE)).rules) >= {"not-your-own"}
    unseen = decide(said("own-b"), fold([asked()]), inventory(), PEOPLE)
    assert (unseen.context["failed"], unseen.context["unknown"]) == (UNSEEN, UNSEEN)
    fresh = said("own-b").model_copy(update={"by": voice("own-b", strength=Strength.FRESH)})
    assert decide(fresh, standing, inventory(), PEOPLE).context["fresh"] is True


def test_policy_is_told_who_asks_for_what() -> None:
    """Whether they own a side, and whether it is an emergency."""
    question = ask("own-a", wish(emergency=True), inventory(), PEOPLE)
    assert question.context == {
        "kind": {"type": "RequestKind", "id": "grant"},
        "owns": {"grant": False, "associate": True},
        "emergency": True,
    }
    assert SHIPPED.decide(question).allowed
    assert SHIPPED.decide(ask("nobody", wish(), inventory(), PEOPLE)).rules == ("known-people-ask",)


def test_the_least_that_suffices() -> None:
    """One side, the other, both, both by their leads, or nothing."""
    tried: list[Needed] = []

    def never(one: Needed) -> bool:
        tried.append(one)
        return False

    assert needed(never) is None
    assert tried == [
        Needed((Side.GRANT,)),
        Needed((Side.ASSOCIATE,)),
        Needed(tuple(Side)),
        Needed(tuple(Side), leads=True),
    ]
    assert needed(lambda one: len(one.sides) == 2) == Needed(tuple(Side))


@pytest.mark.parametrize(("reminded", "days"), [(0, 1 / 96), (1, 3.5), (2, 6.125), (3, 7), (4, 7)])
def test_when_time_does_something_next(reminded: int, days: float) -> None:
    """A quarter of an hour, half of the time, seven eighths, all of it."""
    assert due(asked(), reminded) == START + timedelta(days=days)


# -- words for people ------------------------------------------------------------------------------------------------

TOLD: list[tuple[AnyFact, list[AnyFact], str]] = [
    (asked(), [], "req asks to grant vpc-1 on ecr-7vrbqv9lcgvzqbwwkm: Orders go to the hub"),
    (
        asked(by=voice(relay="tickets")),
        [],
        "req asks to grant vpc-1 on ecr-7vrbqv9lcgvzqbwwkm, through tickets: Orders go to the hub",
    ),
    (looked(failed=1, unknown=2), [], "preflight has looked: 1 checks failed, 2 could not be made"),
    (said("own-b"), [looked()], "own-b agrees for the grant side"),
    (
        said("deputy", instead_of="own-b", reason="Fine"),
        [looked()],
        "deputy instead of own-b agrees for the grant side: Fine",
    ),
    (said("own-a", Side.ASSOCIATE, agrees=False), [looked()], "own-a refuses for the associate side"),
    (withdrawn(), [], "r-1 was withdrawn at 2026-03-01T09:00:00Z by req"),
]


@pytest.mark.parametrize(("fact", "before", "text"), TOLD)
def test_each_fact_is_told_in_words(fact: AnyFact, before: list[AnyFact], text: str) -> None:
    """As whoever it concerns reads it."""
    facts = [fact] if isinstance(fact, Asked) else [asked(), *before, fact]
    assert told(fact, fold(facts)) == text


def test_a_new_round_says_what_it_voids() -> None:
    """Only where something was said before."""
    again = looked(ROUND_2)
    assert "this is round 2, what was said before does not count" in told(
        again, fold([asked(), looked(), said("own-b"), again])
    )
    assert "round" not in told(again, fold([asked(), looked(), again]))


# -- what is asked for -----------------------------------------------------------------------------------------------

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"closes": Every.ALL}, "closes: must be said of a revoke, and of nothing else"),
    (CLOSING | {"closes": None}, "closes: must be said of a revoke, and of nothing else"),
    ({"replaces": ["r-0"]}, "replaces: must name what a change replaces, and be left out of anything else"),
    ({"kind": RequestKind.CHANGE}, "replaces: must name what a change replaces, and be left out of anything else"),
    (
        CLOSING | {"allowed_prefixes": ["10.0.0.0/8"]},
        "allowed_prefixes, ends_at and emergency: must be left out of a revoke",
    ),
    (CLOSING | {"ends_at": START}, "allowed_prefixes, ends_at and emergency: must be left out of a revoke"),
    (CLOSING | {"emergency": True}, "allowed_prefixes, ends_at and emergency: must be left out of a revoke"),
    ({"emergency": True, "ends_at": None}, "ends_at and on_end: an emergency has an end, and is torn down then"),
    ({"emergency": True, "on_end": OnEnd.REPORT}, "ends_at and on_end: an emergency has an end, and is torn down then"),
]


@pytest.mark.parametrize(("changes", "told_"), WRONG)
def test_a_wish_says_what_its_kind_needs(changes: dict[str, Any], told_: str) -> None:
    """And nothing that it does not."""
    with pytest.raises(ValidationError, match=told_):
        wish(**changes)


def test_a_snapshot_is_the_hash_of_what_was_shown() -> None:
    """Nobody says otherwise."""
    with pytest.raises(ValidationError, match="snapshot: is not the hash of the content"):
        Looked(request_id="r-1", at=START, snapshot="0" * 64, content=ROUND_1)


def test_facts_come_back_as_they_were_written() -> None:
    """Each kind, through JSON."""
    for fact in (
        asked(),
        looked(),
        said("own-b"),
        withdrawn(),
        LAPSED,
        APPROVED,
        asked(**CLOSING),
        asked(kind=RequestKind.CHANGE, replaces=["r-0"]),
    ):
        assert FACTS.validate_json(fact.model_dump_json(by_alias=True)) == fact
