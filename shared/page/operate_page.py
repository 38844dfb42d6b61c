"""Operating on the page: what needs an operator first, the words that would help, and what became of each that was said."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Form, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.desk.operating_api import (
    Finding,
    OperationShown,
    drift_listing,
    findings_seen,
    holds_listing,
    operations_listing,
    work_listing,
)
from shared.desk.pages import After, Listing, some
from shared.desk.problems import Problem, problem_of, status_of
from shared.errors import BadInput, NotAllowed
from shared.ledger.consent import RequestRow
from shared.ledger.finding import waiting_reviews
from shared.ledger.operating import said_mode
from shared.ledger.operating_seen import WorkState
from shared.loop.operating import MaySay
from shared.messages.catalogue import find, note
from shared.messages.consent import OperatingWord, Operation
from shared.messages.texts import faults
from shared.page.viewer import Looking, Viewer, on_to
from shared.rules.facts import HoldKind, Mode
from shared.rules.operating import About

routes = APIRouter()

_FEW, _WORDS = 10, 50
"""Of each list so many; of words so many are looked through for what waits."""
_TEXT = Field(default="", max_length=200)


class Part(StrEnum):
    """A list of its own."""

    DEAD = "dead"
    LATE = "late"
    DRIFT = "drift"
    HOLDS = "holds"
    WORDS = "words"


_IN_API = {
    Part.DEAD: "/api/v1/work?state=dead&format=csv",
    Part.LATE: "/api/v1/work?state=open&format=csv",
    Part.DRIFT: "/api/v1/drift?format=csv",
    Part.HOLDS: "/api/v1/holds?format=csv",
    Part.WORDS: "/api/v1/operations?format=csv",
}


class WordForm(BaseModel):
    """An operator's word, as it is typed: nothing in it is believed. ``key``: of the form, so that sent twice it is said once."""

    model_config = ConfigDict(extra="ignore")
    word: str = _TEXT
    kind: str = _TEXT
    name: str = _TEXT
    side: str = _TEXT
    mode: str = _TEXT
    everything: bool = False
    reason: str = Field(default="", max_length=2_000)
    key: str = Field(default="", max_length=36, pattern=r"^[0-9a-f-]*$")

    @property
    def about(self) -> tuple[str, str, str, str]:
        """Which form of the page it is."""
        return self.word, "" if self.word == OperatingWord.HOLD else self.kind, self._target, self.side

    @property
    def _target(self) -> str:
        return "" if self.word in (OperatingWord.HOLD, OperatingWord.MODE) else self.name.strip()

    def operation(self) -> Operation:
        """What it says. Raises BadInput, naming the fields at fault."""
        said: dict[str, Any] = {"word": self.word, "name": self.name.strip(), "reason": self.reason.strip()}
        said |= {name: value for name in ("kind", "side", "mode") if (value := getattr(self, name))}
        try:
            return Operation.model_validate(said | ({"everything": True} if self.everything else {}))
        except ValidationError as error:
            raise BadInput(faults(error)) from None

    @property
    def sent_as(self) -> str | None:
        """Under which name it is said: the same form again, as it was, says nothing new."""
        if not self.key:
            return None
        said = "\n".join((self.key, *self.about, self.kind, self.name, self.mode))
        return f"page {hashlib.sha256(said.encode()).hexdigest()}"


@dataclass(frozen=True)
class Wrong:
    """A word that was not taken: what was typed, and why not."""

    form: WordForm
    problem: Problem


@routes.get("/operate")
def operate(
    viewer: Looking,
    kind: HoldKind | None = None,
    name: Annotated[str, Query(max_length=64)] = "",
    said: Annotated[str, Query(max_length=22)] = "",
) -> Response:
    """What needs an operator, the worst first. ``kind`` and ``name``: what the form for a hold begins with."""
    return _page(viewer, hold=_Hold(kind or HoldKind.GRANT, name), said=said)


@routes.get("/operate/words/now")
def words_now(viewer: Looking, said: Annotated[str, Query(max_length=22)] = "") -> Response:
    """What became of the words that were said last, as the part of the page that says so."""
    return viewer.page("operate_words.html", **_words(viewer), said=said, polled=True)


@routes.get("/operate/{part}")
def operate_part(viewer: Looking, part: Annotated[Part, Path()], after: After = None) -> Response:
    """One of its lists, whole, a page at a time."""
    lines, further = some(_listing(viewer, part), viewer.parts.seals, after)
    waiting = _some(viewer, operations_listing(viewer.parts, viewer.scope, waiting=True))[0]
    return viewer.page(
        "operate_part.html",
        part=part,
        lines=lines,
        further=further,
        filters={},
        csv=_IN_API[part],
        **_means(viewer, waiting),
    )


@routes.post("/operate")
def say(viewer: Looking, form: Annotated[WordForm, Form()]) -> Response:
    """Say a word. It is recorded, and carried out soon; where it is not taken, the page says why, with what was typed."""
    try:
        answer = viewer.parts.operators().say(viewer.by, viewer.scope, form.operation(), name=form.sent_as)
    except (BadInput, NotAllowed) as error:
        return _page(viewer, wrong=Wrong(form, problem_of(error)), status=status_of(error))
    if answer.news:
        viewer.parts.wake()
    return on_to(f"/operate?said={answer.fact.operation_id}#words")


@dataclass(frozen=True)
class _Hold:
    """What the form for a hold begins with."""

    kind: HoldKind = HoldKind.GRANT
    name: str = ""
    reason: str = ""
    everything: bool = False


def _typed(wrong: Wrong | None) -> _Hold:
    if wrong is None or wrong.form.word != OperatingWord.HOLD:
        return _Hold()
    form = wrong.form
    kind = HoldKind(form.kind) if form.kind in tuple(HoldKind) else HoldKind.GRANT
    return _Hold(kind, form.name, form.reason, form.everything)


def _page(
    viewer: Viewer, *, hold: _Hold | None = None, said: str = "", wrong: Wrong | None = None, status: int = 200
) -> Response:
    found = {part.value: _some(viewer, _listing(viewer, part)) for part in (Part.DEAD, Part.DRIFT, Part.HOLDS)}
    words = _words(viewer)
    mode, routers, accounts = viewer.parts.ledger.glance(said_mode), *_holdable(viewer)
    return viewer.page(
        "operate.html",
        status=status,
        **found,
        **words,
        reviews=[_review(row) for row in viewer.parts.ledger.glance(waiting_reviews, viewer.scope, _FEW)],
        findings={one.name: one for one in findings_seen(viewer.parts, viewer.scope)},
        told=_told,
        mode=mode,
        modes=tuple(Mode),
        kinds=tuple(HoldKind),
        routers=routers,
        accounts=accounts,
        hold=hold or _typed(wrong),
        said=said,
        polled=False,
        refused=_refused(viewer),
        **_means(viewer, words["waiting"], wrong),
    )


def _means(viewer: Viewer, waiting: list[OperationShown], wrong: Wrong | None = None) -> dict[str, Any]:
    """What a template needs to offer words: who may say what, what waits already, what was typed in vain."""
    rights = viewer.parts.rights

    def may(word: str, kind: str | None = None, name: str = "", side: str | None = None) -> MaySay:
        return rights.may(viewer.by, About(OperatingWord(word), kind, name, side))

    return {
        "may": may,
        "wrong": wrong,
        "asked": {(one.word, one.kind, one.name, one.side): one for one in waiting},
        "key": str(uuid.uuid4()),
        "meaning": _meaning(viewer),
    }


def _refused(viewer: Viewer) -> list[tuple[list[OperatingWord], list[str], tuple[str, ...]]]:
    """The words that policy does not let whoever looks say, however freshly they signed in; who may, as far as they may see
    anything to operate on, and what policy advises. Those of which the same is so are together.
    """
    rights = viewer.parts.rights
    found: dict[tuple[tuple[str, ...], tuple[str, ...]], list[OperatingWord]] = {}
    for word in (one for one in OperatingWord if one is not OperatingWord.LIFT):
        about = About(word, HoldKind.GRANT if word is OperatingWord.HOLD else None)
        answer = rights.may(viewer.by, about)
        if not answer.yes and not answer.fresh:
            people = tuple(rights.operators(about)) if viewer.scope.accounts or viewer.scope.everything else ()
            found.setdefault((people, answer.advice), []).append(word)
    return [(words, list(people), advice) for (people, advice), words in found.items()]


def _words(viewer: Viewer) -> dict[str, Any]:
    """The words that wait to be carried out, and those that were said last."""
    listing = operations_listing(viewer.parts, viewer.scope, waiting=False)
    newest, further = some(listing, viewer.parts.seals, None, _WORDS)
    waiting = [one for one in newest if one.outcome is None]
    shown = newest[:_FEW] + [one for one in newest[_FEW:] if one.outcome is None]
    return {"waiting": waiting, "words": shown, "more_words": further is not None or len(shown) < len(newest)}


def _listing(viewer: Viewer, part: Part) -> Listing:
    parts, scope = viewer.parts, viewer.scope
    match part:
        case Part.DEAD:
            return work_listing(parts, scope, WorkState.DEAD)
        case Part.LATE:
            return work_listing(parts, scope, WorkState.OPEN)
        case Part.DRIFT:
            return drift_listing(parts, scope)
        case Part.HOLDS:
            return holds_listing(parts, scope)
        case Part.WORDS:
            return operations_listing(parts, scope, waiting=False)


def _some(viewer: Viewer, listing: Listing) -> tuple[list[Any], bool]:
    lines, further = some(listing, viewer.parts.seals, None, _FEW)
    return lines, further is not None


def _meaning(viewer: Viewer) -> Callable[[str | None], str]:
    """What a code means, in the viewer's language; empty for one that the catalogue does not have."""

    def told(code: str | None) -> str:
        entry = find(code) or (None if code is None else note(code))
        return "" if entry is None else entry.zh if viewer.t.language == "zh" else entry.en

    return told


def _review(row: RequestRow) -> tuple[RequestRow, datetime]:
    """An emergency that waits for its review, and until when."""
    return row, datetime.fromtimestamp((row.review_at or 0) / 1000, UTC)


_OF_LOOK = ("check", "about", "verdict", "text", "do")


def _told(finding: Finding) -> list[Mapping[str, str]]:
    """What doctor kept of what is not well, each with all that is shown; whoever kept it may have been of another version."""
    found = (finding.value or {}).get("findings")
    looks = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
    return [{name: str(one.get(name, "")) for name in _OF_LOOK} for one in looks]


def _holdable(viewer: Viewer) -> tuple[list[str], list[str]]:
    """Routers and accounts that somebody may name: those that they may see."""
    seen = {uid: one for uid, one in viewer.configuration.inventory.accounts.items() if viewer.scope.sees(uid)}
    return [ecr for one in seen.values() for ecr in one.ecrs][:_MOST_NAMED], list(seen)[:_MOST_NAMED]


_MOST_NAMED = 200
