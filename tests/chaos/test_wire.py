"""Whole lives over the wire in short, and the referee's own examination: it must find guilty whoever is."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from localcloud.switches import Switches
from tests.chaos.judge import Evidence, Rules, Sent, Target, verdict
from tests.chaos.wire_play import Play, Round, rounds_of, settings_of
from tests.chaos.wire_schedule import KINDS, schedule

Json = dict[str, Any]

SEED = 23
SAMPLE = 3


# -- the sample --------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(600)
def test_lives_under_trouble_end_as_the_approvals_say(tmp_path: Path) -> None:
    """A few schedules with kills, cuts, late effects and lagging reads; the whole of it is a make target of its own."""
    told = tuple(schedule(SEED, number, 6.0, kills=True) for number in range(SAMPLE))
    sample = Round(0, told, settings_of(SEED, 0, 1), 6.0, kills=True, workers=1, timeout=8, trouble_seconds=12.0)
    outcome = Play(sample, tmp_path / "round", print).run()
    assert outcome.faults == []
    assert outcome.gaps == []
    assert outcome.approvals > SAMPLE
    assert sum(outcome.struck.values()) > SAMPLE / 2
    assert {"admitted", "granted", "associated", "done"} <= set(outcome.told)


# -- schedules ---------------------------------------------------------------------------------------------------------


def test_a_seed_is_a_schedule() -> None:
    """The same seed and number give the same schedule, other ones another."""
    assert schedule(1, 7, 10.0, kills=True) == schedule(1, 7, 10.0, kills=True)
    assert schedule(1, 7, 10.0, kills=True) != schedule(2, 7, 10.0, kills=True)


def test_two_hundred_schedules_try_everything() -> None:
    """Every kind of trouble is planned, every action is approved, and each switch is set to each of its values."""
    rounds = rounds_of(1, 200, 25, 12.0)
    actions = [action for one in rounds for told in one.schedules for action in told.actions]
    named = {action.what.get("label", {"kill": "kill_now"}.get(action.kind, action.kind)) for action in actions}
    assert set(KINDS) <= named
    assert {one.kills for one in rounds} == {True, False}
    assert {one.workers for one in rounds} == {1, 2}
    for switch in Switches().explained():
        assert {one.switches[switch["name"]] for one in rounds} == set(switch["values"]), switch["name"]


# -- the referee -------------------------------------------------------------------------------------------------------

VPC, FOREIGN = "vpc-ours", "vpc-theirs"
ECR = "ecr-example1"


def approval(request_id: str, minute: int, *, instance: str = VPC, **more: Any) -> Json:
    """A grant approval, or with ``closes`` a revoke."""
    return {
        "issuer": "self-service",
        "request_id": request_id,
        "action": "revoke" if "closes" in more else "grant",
        "instance": {"type": "VPC", "id": instance},
        "approved_at": f"2026-01-31T12:{minute:02d}:00Z",
        **({} if "closes" in more else {"allowed_prefixes": ["10.1.0.0/16"]}),
        **more,
    }


def entry(number: int, operation: str, **more: Any) -> Json:
    """A journal entry of a write by our functions."""
    role = "ecr-grants-spoke" if operation.startswith(("Grant", "Revoke")) else "ecr-grants-hub"
    params = more.pop("params", {"InstanceId" if "spoke" in role else "VpcId": VPC})
    return {
        "number": number,
        "operation": operation,
        "time": f"2026-01-31T12:30:{number % 60:02d}.000Z",
        "caller": {"name": role},
        "request_id": f"call-{number}",
        "params": {"ClientToken": f"token-{number}", **params},
        "effect": True,
        **more,
    }


def completion(number: int, event: str, request_id: str | None = None, **more: Any) -> Json:
    """A completion about our instance."""
    told = {"id": f"fact-{number}", "event": event, "number": number, "grant": {"instance_id": VPC}, "reason": {}}
    if request_id is not None:
        told["request"] = {"issuer": "self-service", "request_id": request_id, "digest": f"digest-of-{request_id}"}
    return {**told, **more}


def link(association_id: str, instance: str, **more: Any) -> Json:
    """An association in the world."""
    found = {"association_id": association_id, "instance_id": instance, "status": "ACTIVE", "ended_by": None}
    return {**found, "allowed_prefixes": ["10.1.0.0/16", "10.2.0.0/16"], **more}


GRANT, REVOKE = "GrantInstanceToExpressConnectRouter", "RevokeInstanceFromExpressConnectRouter"
CREATE, DELETE = "CreateExpressConnectRouterAssociation", "DeleteExpressConnectRouterAssociation"
MODIFY = "ModifyExpressConnectRouterAssociationAllowedPrefix"


def innocent() -> Evidence:
    """A life in order: opened, put up, closed, taken down; opened again by two leases; a foreign grant beside it."""
    return Evidence(
        sent=[
            Sent(approval("R-1", 1), 10),
            Sent(approval("R-2", 2, closes=["R-1"]), 30),
            Sent(approval("R-3", 9), 50),
            Sent(approval("R-4", 9, allowed_prefixes=["10.2.0.0/16"]), 60),
        ],
        targets=[Target(VPC, "VPC", ECR), Target(FOREIGN, "VPC", ECR, "gr-foreign", "assoc-foreign")],
        told=[
            (15, completion(1, "admitted", "R-1", message_id="message-1")),
            (20, completion(2, "done", "R-1", message_id="message-1")),
            (31, completion(3, "admitted", "R-2")),
            (41, completion(4, "done", "R-2")),
            (52, completion(5, "admitted", "R-3", message_id="message-3")),
            (55, completion(6, "done", "R-3", message_id="message-3")),
            (56, completion(7, "rejected", "R-1", message_id="message-1-again")),
            (57, completion(8, "done", "R-3", message_id="message-3-again")),
            (65, completion(9, "done", "R-4")),
            (66, completion(9, "done", "R-4")),
        ],
        writes=[
            entry(11, GRANT),
            entry(13, CREATE),
            entry(33, DELETE, params={"AssociationId": "assoc-1"}),
            entry(39, REVOKE),
            entry(51, GRANT),
            entry(53, CREATE),
            entry(61, MODIFY, params={"AssociationId": "assoc-2", "AllowedPrefixes.1": "10.2.0.0/16"}),
        ],
        world={
            "grants": [
                {"grant_id": "gr-2", "instance_id": VPC},
                {"grant_id": "gr-foreign", "instance_id": FOREIGN},
            ],
            "associations": [link("assoc-2", VPC), link("assoc-foreign", FOREIGN)],
            "child_instances": [],
        },
        links={"assoc-1": VPC, "assoc-2": VPC, "assoc-foreign": FOREIGN},
        rules=Rules(skew_ms=60_000, letting_go_seconds=2.0),
        now_ms=1_800_000_000_000,
    )


def test_a_life_in_order_is_found_innocent() -> None:
    """The referee has nothing to say where nothing is wrong."""
    assert verdict(innocent()) == []


CRIMES: list[Callable[[Evidence], None]] = []


def crime(doctor: Callable[[Evidence], None]) -> Callable[[Evidence], None]:
    """Something that must never happen, done to the innocent life."""
    CRIMES.append(doctor)
    return doctor


@crime
def lose_the_grant(evidence: Evidence) -> None:
    del evidence.world["grants"][0]


@crime
def leave_the_association(evidence: Evidence) -> None:
    evidence.sent = evidence.sent[:2]
    evidence.told = evidence.told[:4]
    evidence.writes = evidence.writes[:4]
    del evidence.world["grants"][0]


@crime
def not_active(evidence: Evidence) -> None:
    evidence.world["associations"][0]["status"] = "UPDATING"


@crime
def too_few_prefixes(evidence: Evidence) -> None:
    evidence.world["associations"][0]["allowed_prefixes"] = ["10.1.0.0/16"]


@crime
def touch_the_foreign_grant(evidence: Evidence) -> None:
    evidence.world["grants"][1]["grant_id"] = "gr-another"


@crime
def let_the_foreign_association_go(evidence: Evidence) -> None:
    evidence.world["associations"][1]["ended_by"] = {"request_id": "call-99"}


@crime
def try_to_revoke_the_foreign_grant(evidence: Evidence) -> None:
    evidence.writes = [*evidence.writes, entry(70, REVOKE, params={"InstanceId": FOREIGN}, effect=False)]


@crime
def grant_what_nobody_named(evidence: Evidence) -> None:
    evidence.writes = [*evidence.writes, entry(70, GRANT, params={"InstanceId": "vpc-unheard-of"})]


@crime
def put_up_what_nobody_named(evidence: Evidence) -> None:
    evidence.world["grants"].append({"grant_id": "gr-9", "instance_id": "vpc-unheard-of"})


@crime
def grant_before_anything_was_sent(evidence: Evidence) -> None:
    evidence.writes = [entry(9, GRANT), *evidence.writes]


@crime
def grant_after_everything_was_closed(evidence: Evidence) -> None:
    evidence.writes = sorted([*evidence.writes, entry(45, GRANT)], key=lambda one: int(one["number"]))


@crime
def take_down_under_a_lease(evidence: Evidence) -> None:
    evidence.writes = sorted([*evidence.writes, entry(25, DELETE)], key=lambda one: int(one["number"]))


@crime
def revoke_under_an_association(evidence: Evidence) -> None:
    evidence.writes = [
        replace_number(one, 34, "2026-01-31T12:30:34.000Z") if one["operation"] == REVOKE else one
        for one in evidence.writes
    ]


def replace_number(one: Json, number: int, time: str) -> Json:
    """The same call at another place of the journal."""
    return {**one, "number": number, "time": time}


@crime
def allow_what_nobody_approved(evidence: Evidence) -> None:
    evidence.writes[-1]["params"]["AllowedPrefixes.2"] = "0.0.0.0/0"


@crime
def answer_twice(evidence: Evidence) -> None:
    evidence.told = [*evidence.told, (70, completion(10, "rejected", "R-3", message_id="message-3"))]


@crime
def answer_a_repetition_twice(evidence: Evidence) -> None:
    evidence.told = [*evidence.told, (70, completion(10, "done", "R-3", message_id="message-3-again"))]


@crime
def reject_a_repetition_of_what_is_live(evidence: Evidence) -> None:
    evidence.told = [*evidence.told, (70, completion(10, "rejected", "R-3", message_id="message-3-once-more"))]


@crime
def answer_nobody_but_who_repeats(evidence: Evidence) -> None:
    evidence.told = [*evidence.told[:5], (55, completion(6, "granted")), *evidence.told[6:]]


@crime
def never_answer(evidence: Evidence) -> None:
    evidence.told = [*evidence.told[:-2], (65, completion(9, "granted"))]


@crime
def reject_what_is_live(evidence: Evidence) -> None:
    evidence.told = [*evidence.told[:-2], (65, completion(9, "rejected", "R-4"))]


@crime
def skip_a_number(evidence: Evidence) -> None:
    evidence.told = [one for one in evidence.told if one[1]["number"] != 3]


@crime
def say_it_differently_the_second_time(evidence: Evidence) -> None:
    evidence.told[-1][1]["at"] = "another time"


@crime
def two_facts_with_one_number(evidence: Evidence) -> None:
    evidence.told = [*evidence.told, (70, {**completion(9, "overdue"), "id": "fact-another"})]


@crime
def use_a_token_again(evidence: Evidence) -> None:
    evidence.writes[5]["params"]["ClientToken"] = evidence.writes[1]["params"]["ClientToken"] = "token"
    evidence.writes[5]["params"]["AllowedPrefixes.1"] = "10.1.0.0/16"


@crime
def no_word_about_rubbish(evidence: Evidence) -> None:
    evidence.junk = ["message-of-rubbish"]


@crime
def answer_a_stranger(evidence: Evidence) -> None:
    evidence.told = [*evidence.told, (70, completion(10, "done", "R-99"))]


@pytest.mark.parametrize("doctor", CRIMES, ids=lambda doctor: doctor.__name__.replace("_", " "))
def test_whoever_is_guilty_is_found(doctor: Callable[[Evidence], None]) -> None:
    """Each single thing that must never happen is seen by the referee."""
    evidence = innocent()
    doctor(evidence)
    assert verdict(evidence)


def test_a_close_counts_wherever_it_comes() -> None:
    """The referee's own rules: a close before its open, a mark and whom it reaches, an end that has passed."""
    late = replace(innocent(), sent=[Sent(approval("R-2", 2, closes=["R-1"]), 5), *innocent().sent])
    assert json.dumps(verdict(late)) == "[]"
    for issuer, minute, closes, reached in (
        ("self-service", 9, "all", True),
        ("self-service", 8, "all", False),
        ("night-desk", 9, "all", False),
        ("night-desk", 8, "everyone", True),
        ("night-desk", 7, "everyone", False),
        ("night-desk", 9, ["R-3", "R-4"], False),
    ):
        revoke = Sent(approval("R-5", minute, closes=closes, issuer=issuer), 70)
        found = verdict(replace(innocent(), sent=[*innocent().sent, revoke]))
        assert any("0 live leases, 1 grants" in fault for fault in found) is reached
    elsewhere = Sent(approval("R-5", 9, closes="all", instance=FOREIGN), 70)
    found = verdict(replace(innocent(), sent=[*innocent().sent, elsewhere]))
    assert not any("0 live leases, 1 grants" in fault for fault in found)
    ended = copy.deepcopy(innocent())
    ended.sent = [
        replace(one, document={**one.document, "ends_at": "2026-02-01T00:00:00Z", "on_end": "teardown"})
        if one.name[1] in ("R-3", "R-4")
        else one
        for one in ended.sent
    ]
    assert any("0 live leases, 1 grants" in fault for fault in verdict(ended))
    reported = copy.deepcopy(innocent())
    reported.sent = [
        replace(one, document={**one.document, "ends_at": "2026-02-01T00:00:00Z"}) if one.name[1] == "R-4" else one
        for one in reported.sent
    ]
    assert verdict(reported) == []  # it was up before its end
    reported.told = [*reported.told[:-2], (65, completion(9, "rejected", "R-4"))]
    assert any("allowed are" in fault for fault in verdict(reported))  # it was not, so its prefixes must not be there
