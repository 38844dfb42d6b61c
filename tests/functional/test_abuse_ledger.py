"""Who abuses the ledger: may write the database, and nothing else. On both databases, before the deployed functions.

Leases that were edited or forged make nothing, and a configuration that nobody may believe admits nothing; each with its own
reason. Once only the fault is taken out the same passes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest

from shared.ledger.admission import Judged, admit
from shared.ledger.transactions import now_ms
from shared.messages.approval import APPROVALS
from tests.functional.abuse_of_ledgers import EDITS, FORGED, OTHERS, WRONG, Edit, Forged, Wrong
from tests.functional.abused import KINDS, House, house
from tests.functional.approvals import revocation, wake
from tests.functional.letters import Json, Letter, for_days
from tests.functional.waiting import until

A_RETRY = 20
"""Cloud seconds after which a queue's trigger has handed over anew what was sent back."""


@pytest.fixture(scope="module", params=KINDS)
def abused(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The deployed functions, on a database of this kind."""
    cases = len(EDITS) + 2 * len(FORGED) + len(WRONG)
    with house(request.param, tmp_path_factory.mktemp("abused"), cases + 12) as made:
        yield made


@dataclass
class Held:
    """A lease that somebody edited or forged: what became of it, and of it as it was sealed."""

    letter: Letter
    grant_id: str = ""
    trouble: Sequence[str] = ()
    made: Sequence[str] = ()
    stands: Sequence[tuple[str, tuple[str, ...]]] = ()
    restored: Sequence[tuple[str, tuple[str, ...]]] = ()
    answers: Sequence[Json] = ()


@pytest.fixture(scope="module")
def edited(abused: House) -> dict[str, Held]:
    """Leases that stand; their rows are edited; what stands is taken down; the timer's function comes by. Then all put right."""
    found: dict[str, Held] = {}
    for edit in EDITS:
        ends = for_days(30) if edit.column in ("ends_at", "on_end") else {}
        found[edit.id] = Held(abused.ground().letter(**ends))
    other = abused.ground().letter()
    abused.stand([*(one.letter for one in found.values()), other])
    right = {edit.id: abused.row_of(found[edit.id].letter)[edit.column] for edit in EDITS}
    other_row = abused.row_of(other)
    before = {edit.id: len(abused.writes(found[edit.id].letter)) for edit in EDITS}
    for edit in EDITS:
        one = found[edit.id]
        one.grant_id = abused.grant_of(one.letter)
        abused.edit(one.grant_id, edit.column, other_row[edit.column] if edit.value is OTHERS else edit.value)
        if edit.taken_down:
            abused.take_down(one.letter)
        else:
            abused.stir(one.grant_id)

    def all_dead() -> bool:
        abused.cloud.reconcile()
        abused.cloud.quiet()
        return all(abused.troubles(one.grant_id) for one in found.values())

    until(all_dead, "nothing more is tried for any of them")
    abused.cloud.reconcile()
    abused.cloud.quiet()
    for edit in EDITS:
        one = found[edit.id]
        one.trouble = abused.troubles(one.grant_id)
        one.stands, one.made = (
            abused.cloud.associated(one.letter.content),
            abused.writes(one.letter)[before[edit.id] :],
        )
    for edit in EDITS:
        abused.edit(found[edit.id].grant_id, edit.column, right[edit.id])
    abused.redrive()

    def all_right() -> bool:
        abused.cloud.reconcile()
        abused.cloud.quiet()
        for one in found.values():
            one.restored = abused.cloud.associated(one.letter.content)
        return all(one.restored for one in found.values())

    until(all_right, "all of them stand again")
    return found


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.id)
def test_what_somebody_edited_is_not_made(abused: House, edited: dict[str, Held], edit: Edit) -> None:
    """Not by repair either: the side is dead with its own code, the log says what differs, and nothing was written."""
    one = edited[edit.id]
    assert one.trouble == ["ProofBroken"]
    assert one.made == []
    assert one.stands == ([] if edit.taken_down else [("ACTIVE", ("10.20.0.0/16",))])
    reasons = [line["reason"] for line in abused.said("proof.broken", grant=one.grant_id)]
    assert reasons
    assert all(edit.says in reason for reason in reasons), reasons
    assert abused.said("grant.dead", grant=one.grant_id, code="ProofBroken")


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.id)
def test_what_is_as_it_was_sealed_is_made_again(edited: dict[str, Held], edit: Edit) -> None:
    """With the row put right and redriven, it stands as it was approved."""
    assert edited[edit.id].restored == [("ACTIVE", ("10.20.0.0/16",))]


@pytest.fixture(scope="module")
def forged(abused: House) -> dict[str, Held]:
    """Leases that somebody wrote into the ledger, looked at after a wake; then with their seals, redriven."""
    found: dict[str, Held] = {}
    number = abused.newest().number
    for case in FORGED:
        ground = abused.ground()
        letter = ground.letter()
        seal = case.seal(letter, abused.ground().letter())
        opened = APPROVALS.validate_json(json.dumps(letter.content))
        asked = opened, f"M-forged-{len(found)}", now_ms(), abused.ledger.timing, Judged(seal, number)
        abused.ledger.write(admit, *asked)
        found[case.id] = Held(letter, opened.grant.grant_id)
    abused.cloud.send(*(wake(one.grant_id) for one in found.values()), queue="ecr-grants-wakes")
    for one in found.values():
        one.answers = [abused.cloud.answer(one.letter.content)]
    abused.cloud.quiet()
    for one in found.values():
        one.made, one.trouble = abused.writes(one.letter), abused.troubles(one.grant_id)
        one.stands = abused.cloud.associated(one.letter.content)
    for one in found.values():
        abused.edit(one.grant_id, "seal", one.letter.text)
    abused.redrive()
    for one in found.values():
        name = one.letter.content["request_id"]
        abused.cloud.wait_for(
            lambda told, name=name: told["event"] == "done" and told["request"]["request_id"] == name,  # type: ignore[misc]
            f"{name} is done",
        )
        one.restored = abused.cloud.associated(one.letter.content)
    return found


@pytest.mark.parametrize("case", FORGED, ids=lambda case: case.id)
def test_a_forged_lease_is_not_made(abused: House, forged: dict[str, Held], case: Forged) -> None:
    """Dead with its own code, and told so; nothing was made."""
    one = forged[case.id]
    [answer] = one.answers
    assert (answer["event"], answer["reason"]["code"]) == ("dead", "ProofBroken")
    assert case.says in answer["reason"]["text"]
    assert one.trouble == ["ProofBroken"]
    assert (one.made, one.stands) == ([], [])
    assert len(abused.said("proof.broken", grant=one.grant_id)) == 1


@pytest.mark.parametrize("case", FORGED, ids=lambda case: case.id)
def test_with_its_seal_it_is_made(forged: dict[str, Held], case: Forged) -> None:
    """The twin: the same lease, with the seal that its issuer made."""
    assert forged[case.id].restored == [("ACTIVE", ("10.20.0.0/16",))]


@dataclass
class Meanwhile:
    """What came of an approval while nobody could believe the newest configuration, and afterwards."""

    letter: Letter
    message_id: str = ""
    leases: int = 0
    sent_again: Sequence[Json] = ()
    refused: Sequence[Json] = ()
    answer: Json | None = None


@pytest.fixture(scope="module")
def wrong(abused: House) -> dict[str, Meanwhile]:
    """One wrong configuration after another, and an approval under each; afterwards what was there is the newest again."""
    abused.apply()  # there is an older one
    good = abused.newest()
    found: dict[str, Meanwhile] = {}
    standing = abused.ground().letter()
    abused.stand([standing])
    for case in WRONG:
        abused.put_back(good)
        one = found[case.id] = Meanwhile(abused.ground().letter())
        known = len(abused.said("configuration.refused"))
        case.put(abused)
        [one.message_id] = abused.cloud.send(one.letter.text)

        def came_back(one: Meanwhile = one) -> bool:
            one.sent_again = abused.said("message.sent_again", message_id=one.message_id)
            return bool(one.sent_again)

        until(came_back, f"{case.id}: the approval waits")
        one.refused = abused.said("configuration.refused")[known:]
        one.leases = len(abused.leases(one.letter.content["instance"]["id"]))
    revoke = revocation(standing.content, "all")
    [message_id] = abused.cloud.send(revoke)
    closed = Meanwhile(standing, message_id, answer=abused.cloud.answer_to_message(message_id))
    abused.put_back(good)
    abused.cloud.admin.advance(A_RETRY)
    for one in found.values():
        one.answer = abused.cloud.answer_to_message(one.message_id)
    return found | {"a revoke": closed}


@pytest.mark.parametrize("case", WRONG, ids=lambda case: case.id)
def test_nothing_is_granted_under_a_configuration_that_nobody_may_believe(
    wrong: dict[str, Meanwhile], case: Wrong
) -> None:
    """The log says what is wrong with it; the approval is not lost and not admitted."""
    one = wrong[case.id]
    assert one.refused
    assert all(case.says in line["reason"] for line in one.refused), one.refused
    assert case.says in one.sent_again[0]["reason"]
    assert one.leases == 0


@pytest.mark.parametrize("case", WRONG, ids=lambda case: case.id)
def test_what_waited_is_granted_once_it_can_be_believed(wrong: dict[str, Meanwhile], case: Wrong) -> None:
    """The twin: the same message, under the version that was there before."""
    answer = wrong[case.id].answer
    assert answer is not None
    assert answer["event"] == "done", answer["reason"]


def test_closing_goes_on_meanwhile(wrong: dict[str, Meanwhile]) -> None:
    """By the last version that could be believed."""
    answer = wrong["a revoke"].answer
    assert answer is not None
    assert answer["event"] == "done", answer["reason"]


def test_a_version_that_is_applied_after_a_wrong_one_holds(abused: House, wrong: dict[str, Meanwhile]) -> None:
    """The way out: signed anew on top of it. No function has to be started again."""
    letter = abused.ground().letter()
    WRONG[0].put(abused)
    [message_id] = abused.cloud.send(letter.text)
    until(lambda: abused.said("message.sent_again", message_id=message_id), "the approval waits")
    applied = abused.apply()
    abused.cloud.admin.advance(A_RETRY)
    assert abused.cloud.answer_to_message(message_id)["event"] == "done"
    assert abused.row_of(letter)["configuration"] == applied.number


def test_a_policy_that_cannot_be_read_refuses_everything(abused: House, wrong: dict[str, Meanwhile]) -> None:
    """Well signed all the same. The next version lets the same approval pass."""
    letter = abused.ground().letter()
    abused.apply(abused.content(policy="permit (principal, action"))
    [message_id] = abused.cloud.send(letter.text)
    answer = abused.cloud.answer_to_message(message_id)
    assert (answer["event"], answer["reason"]["code"]) == ("rejected", "PolicyFailed")
    assert abused.said("policy.failed")[-1]["reason"].startswith("the policy has a fault: line 1")
    assert abused.leases(letter.content["instance"]["id"]) == []
    abused.apply()
    [message_id] = abused.cloud.send(letter.text)
    assert abused.cloud.answer_to_message(message_id)["event"] == "done"


def test_what_a_key_sealed_before_it_leaked_is_not_made_again(abused: House, wrong: dict[str, Meanwhile]) -> None:
    """Nothing is torn down by itself; what goes is not repaired, and its neighbour is. With the key believed, both are."""
    leaked, sound = abused.ground().letter(issuer="leaking"), abused.ground().letter()
    abused.stand([leaked, sound])
    abused.states["leaking-1"] = "compromised"
    abused.apply()
    abused.cloud.reconcile()
    abused.cloud.quiet()
    assert abused.cloud.associated(leaked.content) == [("ACTIVE", ("10.20.0.0/16",))]
    for letter in (leaked, sound):
        abused.take_down(letter)

    def mended(letter: Letter) -> bool:
        abused.cloud.reconcile()
        abused.cloud.quiet()
        return bool(abused.cloud.associated(letter.content))

    until(lambda: mended(sound), "the other one is mended")
    grant_id = abused.grant_of(leaked)
    until(lambda: mended(sound) and abused.troubles(grant_id) == ["ProofBroken"], "this one is dead")
    assert "is compromised" in abused.said("proof.broken", grant=grant_id)[-1]["reason"]
    assert abused.cloud.associated(leaked.content) == []
    [message_id] = abused.cloud.send(abused.ground().letter(issuer="leaking").text)
    assert abused.cloud.answer_to_message(message_id)["reason"]["code"] == "KeyCompromised"
    del abused.states["leaking-1"]
    abused.apply()
    abused.redrive()
    until(lambda: mended(leaked), "with its key believed it is mended")
