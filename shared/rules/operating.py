"""What operators say at the desk: what policy is asked about it, how it reads, and what repairing a grant comes to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from shared.messages.consent import Operated, OperatingWord, Operation
from shared.rules.drift import wants_made
from shared.rules.facts import DriftFound, DriftKind, Side, Standing
from shared.rules.questions import Command, TargetKind

LATEST = timedelta(hours=1)
"""How long an operator's word waits to be carried out. What was meant for another hour is said anew."""


class OperationOutcome(StrEnum):
    """What became of an operator's word."""

    DONE = "done"
    NOTHING = "nothing"  # it was so already, or there was nothing of the kind
    REFUSED = "refused"  # by policy, or because it came too late


_COMMANDS = {
    OperatingWord.HOLD: Command.HOLD,
    OperatingWord.LIFT: Command.LIFT,
    OperatingWord.REDRIVE: Command.DEAD_REDRIVE,
    OperatingWord.ADOPT: Command.ADOPT,
    OperatingWord.REPAIR: Command.REPAIR,
    OperatingWord.MODE: Command.MODE,
}


@dataclass(frozen=True)
class About:
    """A word, and what it is said about, as an ``Operation`` has them; no reason is needed to ask who may say it."""

    word: OperatingWord
    kind: str | None = None
    name: str = ""
    side: str | None = None

    def asked_of_policy(self, deployment: str) -> tuple[Command, TargetKind, str]:
        """The command, what it changes and that one's name, as policy is asked about them."""
        command = _COMMANDS[self.word]
        if self.word is OperatingWord.MODE:
            return command, TargetKind.DEPLOYMENT, deployment
        if self.word is OperatingWord.REDRIVE:
            return command, TargetKind.DEAD, f"{self.name}/{self.side}"
        return command, TargetKind(self.kind or "grant"), self.name


def asked_of_policy(operation: Operation, deployment: str) -> tuple[Command, TargetKind, str]:
    """The command, what it changes and that one's name, as policy is asked about them."""
    about = About(operation.word, operation.kind, operation.name, operation.side)
    return about.asked_of_policy(deployment)


def worded(operation: Operation) -> str:
    """What is to be done, in words."""
    match operation.word:
        case OperatingWord.HOLD:
            what = "everything" if operation.everything else "creating"
            return f"hold {what} for the {operation.kind} {operation.name}"
        case OperatingWord.LIFT:
            return f"lift the hold of the {operation.kind} {operation.name}"
        case OperatingWord.REDRIVE:
            return f"redrive the {operation.side} side of {operation.name}"
        case OperatingWord.ADOPT:
            return f"adopt {'what is there' if operation.side is None else f'the {operation.side} side'} of {operation.name}"
        case OperatingWord.REPAIR:
            return f"repair {operation.name}"
        case OperatingWord.MODE:
            return f"set the mode to {operation.mode}"


def too_late(fact: Operated, now: datetime) -> bool:
    """Whether a word has waited longer than it may."""
    return now - fact.at > LATEST


def why_not_repaired(standing: Standing) -> str | None:
    """Why nothing of a grant is repaired by looking again, as a sentence; None where something may be."""
    found = [(row.side, row.drift) for row in (standing.grant, standing.associate) if row.drift is not None]
    if not found:
        return "nothing differs from what was approved, as far as was seen"
    reasons = [_why_not(standing, side, drift) for side, drift in found]
    return None if None in reasons else "; ".join(filter(None, reasons))


def _why_not(standing: Standing, side: Side, drift: DriftFound) -> str | None:
    if drift.kind.foreign:
        return f"the {side} side is not ours: adopt it first"
    if drift.kind.missing and not wants_made(standing):
        return f"the {side} side is past the end of what was approved: nothing is made again"
    if drift.kind is DriftKind.PREFIXES_DIFFER and not standing.associate.ours:
        return "the association is not ours: adopt it first"
    return None
