"""Who abuses the way in: through the real queue, before the deployed functions, on both databases.

Every attempt is refused with its own reason and event, and leaves nothing; its twin, which differs in the fault alone, passes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest

from tests.functional.abuse_of_revokes import REVOKES, TOUCHED_NOTHING
from tests.functional.abuse_of_rights import POLICY, SCOPE
from tests.functional.abuse_of_seals import NEVER_VERIFIED, REFUSED, UNREADABLE
from tests.functional.abused import AT_ONCE, KINDS, House, house
from tests.functional.approvals import revocation
from tests.functional.letters import DAY, Case, Ground, Json, Letter

CASES = (*UNREADABLE, *REFUSED, *SCOPE, *POLICY)


@pytest.fixture(scope="module", params=KINDS)
def abused(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The deployed functions, on a database of this kind."""
    cases = len(CASES) + len(REVOKES) + len(TOUCHED_NOTHING)
    with house(request.param, tmp_path_factory.mktemp("abused"), cases + 4) as made:
        yield made


@dataclass
class Tried:
    """One attempt: where, what was sent and answered, and what there was then."""

    case: Case
    ground: Ground
    letter: Letter
    twin: Letter
    lease: Letter | None = None
    """What a revoke is about."""
    message_id: str = ""
    answer: Json | None = None
    leases: int = 0
    calls: Sequence[str] = ()
    twin_answer: Json | None = None

    @property
    def rejection(self) -> Json:
        """The answer."""
        assert self.answer is not None
        return self.answer


def in_batches(abused: House, tried: Sequence[Tried], *, twins: bool) -> None:
    """Send all attempts, or all twins, and wait for their answers."""
    for start in range(0, len(tried), AT_ONCE):
        part = tried[start : start + AT_ONCE]
        texts = [(one.twin if twins else one.letter).text for one in part]
        ids = abused.cloud.send(*texts)
        for one, message_id in zip(part, ids, strict=True):
            if twins:
                one.twin_answer = abused.cloud.answer_to_message(message_id)
            else:
                one.message_id, one.answer = message_id, abused.cloud.answer_to_message(message_id)


def look(abused: House, one: Tried) -> None:
    """What an attempt has left: leases on its instance, and calls of our functions that name it."""
    one.leases = len(abused.leases(one.letter.content["instance"]["id"]))
    one.calls = abused.cloud.our_calls(one.letter.content)


@pytest.fixture(scope="module")
def tried(abused: House) -> dict[str, Tried]:
    """All attempts to open a lease, sent together; then all twins."""
    found = []
    for case in CASES:
        ground = abused.ground()
        twin = case.good(ground)
        found.append(Tried(case, ground, case.fault(twin, ground), twin))
    in_batches(abused, found, twins=False)
    abused.cloud.quiet()
    for one in found:
        look(abused, one)
    in_batches(abused, found, twins=True)
    return {one.case.id: one for one in found}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_an_attempt_is_refused_for_its_own_reason(abused: House, tried: dict[str, Tried], case: Case) -> None:
    """Told, recorded and logged with its code; nothing stands in the ledger and nobody was asked for anything on the cloud."""
    one = tried[case.id]
    assert (one.rejection["event"], one.rejection["reason"]["code"]) == ("rejected", case.code)
    assert case.says in one.rejection["reason"]["text"]
    assert abused.rejected(one.message_id) == [(case.code, [case.rule] if case.rule else [])]
    assert len(abused.said("message.rejected", message_id=one.message_id, code=case.code)) == 1
    assert (one.leases, one.calls) == (0, [])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_its_twin_passes(tried: dict[str, Tried], case: Case) -> None:
    """The same without the fault, on the same instance, is granted and associated."""
    answer = tried[case.id].twin_answer
    assert answer is not None
    assert answer["event"] == "done", answer["reason"]


def test_there_are_enough_attempts_each_by_itself() -> None:
    """At least forty; no two with the same name."""
    names = [case.id for case in (*CASES, *REVOKES)]
    assert len(names) == len(set(names)) >= 40


def test_nobody_is_told_of_a_request_that_nobody_vouched_for(tried: dict[str, Tried]) -> None:
    """What was never verified names no request: else anybody could have somebody's request told as rejected."""
    named = [one.case.id for one in tried.values() if one.case.code in NEVER_VERIFIED and "request" in one.rejection]
    assert named == []
    vouched = [one for one in tried.values() if one.case.code in ("PolicyForbids", "BeyondScope", "SealTooOld")]
    assert vouched
    for one in vouched:
        assert one.rejection["request"]["request_id"] == one.letter.content["request_id"]


def test_nothing_is_retried_lost_or_buried(abused: House, tried: dict[str, Tried]) -> None:
    """Each attempt came to the function once, and no trigger gave it up."""
    delivered = abused.cloud.delivered()
    assert {one.case.id: delivered[one.message_id] for one in tried.values()} == dict.fromkeys(tried, 1)
    assert abused.cloud.lost() == {}


# -- revokes -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def revokes(abused: House) -> dict[str, Tried]:
    """Leases that stand; all attempts to close them, sent together; then all twins."""
    found, leases = [], []
    for case in (*REVOKES, *TOUCHED_NOTHING):
        ground = abused.ground()
        lease = case.good(ground)
        leases.append(lease)
        twin = Letter(revocation(lease.content, [lease.content["request_id"]]), lease.head)
        found.append(Tried(case, ground, case.fault(twin, ground), twin, lease))
    abused.stand(leases)
    in_batches(abused, found, twins=False)
    abused.cloud.quiet()
    for one in found:
        one.leases = sum(bool(lease.live) for lease in abused.leases(one.ground.vpc))
        one.calls = [call for call in abused.cloud.our_calls(one.twin.content) if call.startswith(("Delete", "Revoke"))]
    in_batches(abused, found, twins=True)
    return {one.case.id: one for one in found}


@pytest.mark.parametrize("case", REVOKES, ids=lambda case: case.id)
def test_an_attempt_to_close_is_refused(abused: House, revokes: dict[str, Tried], case: Case) -> None:
    """Told, recorded and logged with its code; the lease counts, and what stands on the cloud was not touched."""
    one = revokes[case.id]
    assert (one.rejection["event"], one.rejection["reason"]["code"]) == ("rejected", case.code)
    assert case.says in one.rejection["reason"]["text"]
    assert abused.rejected(one.message_id) == [(case.code, [case.rule] if case.rule else [])]
    assert len(abused.said("message.rejected", message_id=one.message_id, code=case.code)) == 1
    assert (one.leases, one.calls) == (1, [])


@pytest.mark.parametrize("case", TOUCHED_NOTHING, ids=lambda case: case.id)
def test_what_is_another_issuers_is_not_closed(revokes: dict[str, Tried], case: Case) -> None:
    """Whoever may close leases closes its own: the other's lease counts, and what stands was not touched."""
    one = revokes[case.id]
    assert one.rejection["event"] == "done"
    assert case.says in one.rejection["reason"]["text"]
    assert (one.leases, one.calls) == (1 + ("replaces" in one.letter.content), [])


@pytest.mark.parametrize("case", [*REVOKES, *TOUCHED_NOTHING], ids=lambda case: case.id)
def test_the_twin_of_an_attempt_to_close_closes(abused: House, revokes: dict[str, Tried], case: Case) -> None:
    """The same without the fault: done, and the lease does not count any more."""
    one = revokes[case.id]
    assert one.twin_answer is not None
    assert one.twin_answer["event"] == "done", one.twin_answer["reason"]
    named = one.twin.content["closes"]
    assert [bool(lease.live) for lease in abused.leases(one.ground.vpc) if lease.request_id in named] == [False]


def test_what_was_closed_is_not_opened_by_its_own_seal(abused: House, revokes: dict[str, Tried]) -> None:
    """Whoever has kept a seal sends it again, or has it sealed again: it is answered with why it does not count any more."""
    one = revokes["a forged revoke"]
    assert one.lease is not None
    before = abused.cloud.our_calls(one.lease.content)
    for letter in (one.lease, one.lease.headed(iat=int(time.time()) - 60)):
        [message_id] = abused.cloud.send(letter.text)
        answer = abused.cloud.answer_to_message(message_id)
        assert (answer["event"], answer["reason"]["code"]) == ("rejected", "Closed")
    abused.cloud.quiet()
    assert [bool(lease.live) for lease in abused.leases(one.ground.vpc)] == [False]
    made = [call for call in abused.cloud.our_calls(one.lease.content) if call.startswith(("Grant", "Create"))]
    assert made == [call for call in before if call.startswith(("Grant", "Create"))]


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"kid": "self-service-0"}, id="a retired key"),
        pytest.param({"iat": int(time.time()) - 8 * DAY}, id="stale"),
        pytest.param({"iat": int(time.time()) + DAY}, id="sealed in the future"),
    ],
)
def test_closing_is_the_safe_direction(abused: House, fault: Json) -> None:
    """What refuses a grant and tells nothing of who sealed it refuses no revoke."""
    lease = abused.ground().letter()
    abused.stand([lease])
    revoke = Letter(revocation(lease.content, [lease.content["request_id"]]), fault)
    [message_id] = abused.cloud.send(revoke.text)
    assert abused.cloud.answer_to_message(message_id)["event"] == "done"
    assert [bool(one.live) for one in abused.leases(lease.content["instance"]["id"])] == [False]
