"""Operators' words: what they must say, what policy is asked about each, how it reads, and when a repair is one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from shared.messages.consent import Operated, Operation, Strength, Voice
from shared.messages.forms import GrantKey, InstanceType
from shared.rules.facts import DriftFound, DriftKind, Side, SideRecord, Standing
from shared.rules.leases import Level, Wanted
from shared.rules.operating import LATEST, asked_of_policy, too_late, why_not_repaired, worded
from shared.rules.questions import Command, TargetKind

GRANT = "g-000000000000000000000001"
ECR = "ecr-7vrbqv9lcgvzqbwwkm"
UID = "2000000000000002"
AT = datetime(2026, 1, 2, tzinfo=UTC)


def word(**said: Any) -> Operation:
    """A word, as JSON brings it."""
    return Operation.model_validate({"reason": "A test", **said})


@pytest.mark.parametrize(
    ("said", "asked", "text"),
    [
        (
            {"word": "hold", "kind": "ecr", "name": ECR, "everything": True},
            (Command.HOLD, TargetKind.ECR, ECR),
            f"hold everything for the ecr {ECR}",
        ),
        (
            {"word": "hold", "kind": "account", "name": UID},
            (Command.HOLD, TargetKind.ACCOUNT, UID),
            f"hold creating for the account {UID}",
        ),
        (
            {"word": "lift", "kind": "grant", "name": GRANT},
            (Command.LIFT, TargetKind.GRANT, GRANT),
            f"lift the hold of the grant {GRANT}",
        ),
        (
            {"word": "redrive", "name": GRANT, "side": "associate"},
            (Command.DEAD_REDRIVE, TargetKind.DEAD, f"{GRANT}/associate"),
            f"redrive the associate side of {GRANT}",
        ),
        ({"word": "adopt", "name": GRANT}, (Command.ADOPT, TargetKind.GRANT, GRANT), f"adopt what is there of {GRANT}"),
        (
            {"word": "adopt", "name": GRANT, "side": "grant"},
            (Command.ADOPT, TargetKind.GRANT, GRANT),
            f"adopt the grant side of {GRANT}",
        ),
        ({"word": "repair", "name": GRANT}, (Command.REPAIR, TargetKind.GRANT, GRANT), f"repair {GRANT}"),
        (
            {"word": "mode", "mode": "pause-all"},
            (Command.MODE, TargetKind.DEPLOYMENT, "here"),
            "set the mode to pause-all",
        ),
    ],
)
def test_what_policy_is_asked_about_a_word(
    said: dict[str, Any], asked: tuple[Command, TargetKind, str], text: str
) -> None:
    """The same questions as the commands that open the ledger ask."""
    assert asked_of_policy(word(**said), "here") == asked
    assert worded(word(**said)) == text


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"word": "hold", "name": ECR}, "kind"),
        ({"word": "repair", "name": GRANT, "kind": "grant"}, "kind"),
        ({"word": "hold", "kind": "ecr", "name": GRANT}, "name"),
        ({"word": "hold", "kind": "account", "name": "12"}, "name"),
        ({"word": "adopt", "name": ""}, "name"),
        ({"word": "mode", "mode": "full", "name": "x"}, "name"),
        ({"word": "mode"}, "mode"),
        ({"word": "mode", "mode": "off"}, "mode"),
        ({"word": "adopt", "name": GRANT, "mode": "full"}, "mode"),
        ({"word": "redrive", "name": GRANT}, "side"),
        ({"word": "repair", "name": GRANT, "side": "grant"}, "side"),
        ({"word": "lift", "kind": "ecr", "name": ECR, "everything": True}, "everything"),
        ({"word": "adopt", "name": GRANT, "reason": " "}, "reason"),
        ({"word": "drop", "name": GRANT}, "word"),
    ],
)
def test_a_word_that_does_not_say_what_it_needs_is_refused(said: dict[str, Any], field: str) -> None:
    """By the field that is wrong."""
    with pytest.raises(ValidationError) as refused:
        word(**said)
    assert field in str(refused.value)


def test_a_word_waits_an_hour_and_no_longer() -> None:
    """What was meant for another hour is said anew."""
    by = Voice(person="operator", subject="oidc:operator", strength=Strength.FRESH)
    said = word(word="repair", name=GRANT)
    fact = Operated(operation_id="o-" + "0" * 20, at=AT, operation=said, by=by, configuration=1)
    assert not too_late(fact, AT + LATEST)
    assert too_late(fact, AT + LATEST + timedelta(seconds=1))


KEY = GrantKey(ECR, "1000000000000001", InstanceType.VPC, "vpc-1", "cn-hangzhou", UID)


def standing(side: Side | None, kind: DriftKind | None, level: Level = Level.UP, *, ours: bool = True) -> Standing:
    """A grant at rest, with something found on a side."""
    wanted = Wanted(level, ("10.0.0.0/8",), ("10.0.0.0/8",))
    row = SideRecord(Side.GRANT, 1, wanted, "present", ours, None, (), 1, 0, None, None, False, False, None, 0)
    rows = {each: replace(row, side=each) for each in Side}
    if side is not None and kind is not None:
        rows[side] = replace(rows[side], drift=DriftFound(kind, "found", 1))
    return Standing(KEY, 1, rows[Side.GRANT], rows[Side.ASSOCIATE])


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (standing(None, None), "nothing differs"),
        (standing(Side.GRANT, DriftKind.GRANT_MISSING), None),
        (standing(Side.GRANT, DriftKind.GRANT_MISSING, Level.KEEP), "past the end"),
        (standing(Side.ASSOCIATE, DriftKind.ASSOCIATION_MISSING), None),
        (standing(Side.ASSOCIATE, DriftKind.PREFIXES_DIFFER), None),
        (standing(Side.ASSOCIATE, DriftKind.PREFIXES_DIFFER, ours=False), "adopt it first"),
        (standing(Side.GRANT, DriftKind.FOREIGN_GRANT, ours=False), "adopt it first"),
        (standing(Side.ASSOCIATE, DriftKind.FOREIGN_ASSOCIATION, ours=False), "adopt it first"),
        (standing(Side.GRANT, DriftKind.INSTANCE_DELETED), None),
    ],
)
def test_what_is_ours_and_wanted_is_repaired(found: Standing, why: str | None) -> None:
    """Everything else is said, and left as it is."""
    said = why_not_repaired(found)
    assert said is None if why is None else said is not None and why in said
