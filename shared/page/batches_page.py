"""A batch on the page: what its requests have in common once, what differs in groups, and one word for all that are ticked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Form, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.desk.api import About, DecisionsBody, decide_each, view_of
from shared.desk.conditions import tag_of
from shared.desk.requests_shown import RequestShown
from shared.errors import BadInput
from shared.ledger.consent import RequestsAsked, list_requests, standings
from shared.loop.asking import MOST_AT_ONCE, Answer
from shared.loop.deciding import MaySay, may_say
from shared.messages.forms import Remark, RequestId
from shared.messages.texts import faults
from shared.page.viewer import Looking, Viewer
from shared.rules.checked import CheckResult
from shared.rules.consent import Stage, Standing
from shared.rules.facts import Side

routes = APIRouter()

_SOON, _LATER = 5, 15
"""Seconds until the page looks again: while preflight looks, and while people are waited for."""
Batch = Annotated[RequestId, Path(description="the batch")]


@dataclass(frozen=True)
class Row:
    """One request of a batch. ``values``: what may differ from the others, by name; ``mine``: what whoever looks may say."""

    standing: Standing
    shown: RequestShown
    mine: tuple[MaySay, ...]
    values: Mapping[str, Any]

    @property
    def ticked(self) -> bool:
        """Whether a yes of whoever looks can be said of it now."""
        return any(one.yes for one in self.mine)


@dataclass(frozen=True)
class Table:
    """A batch. ``common``: what is the same of all, by name; ``columns``: what differs from row to row; ``groups``: the rows with
    what is the same of those of each, those with failed checks first.
    """

    common: Mapping[str, Any]
    columns: Sequence[str]
    groups: Sequence[tuple[Mapping[str, Any], Sequence[Row]]]


@routes.get("/batches/{batch}")
def batch(viewer: Looking, batch: Batch) -> Response:
    """All requests of a batch. Looking decides nothing."""
    return _shown(viewer, batch, _rows(viewer, batch))


Seen = Annotated[str, Query(max_length=100, description="what the page that asks has shown")]


@routes.get("/batches/{batch}/now")
def batch_now(viewer: Looking, batch: Batch, seen: Seen = "") -> Response:
    """Whether it is still as a page that waits has shown it; else the whole again."""
    rows = _rows(viewer, batch)
    return Response(status_code=204) if seen == _mark(rows) else _shown(viewer, batch, rows, "batch_now.html")


@routes.get("/batches/{batch}/changed")
def batch_changed(viewer: Looking, batch: Batch, seen: Seen = "") -> Response:
    """The same for whoever may be ticking: they are told."""
    if seen == _mark(_rows(viewer, batch)):
        return Response(status_code=204)
    return viewer.page("request_changed.html", to=f"/batches/{batch}")


class DecisionsForm(BaseModel):
    """One word for a side of all that are ticked, each as ``request id:snapshot`` of what was shown."""

    model_config = ConfigDict(extra="forbid")
    side: Side
    word: Annotated[str, Field(pattern="^(yes|no)$")]
    about: Annotated[list[Annotated[str, Field(max_length=200)]], Field(max_length=MOST_AT_ONCE)] = []
    reason: Remark = ""


@routes.post("/batches/{batch}/decisions")
def decide(viewer: Looking, batch: Batch, form: Annotated[DecisionsForm, Form()]) -> Response:
    """Say the same of all that are ticked. The answer says what became of each."""
    reasonless = form.word == "no" and not form.reason.strip()
    if reasonless or not form.about:
        ticked = {one.rpartition(":")[0] for one in form.about}
        rows = _rows(viewer, batch)
        return _shown(viewer, batch, rows, status=422, ticked=ticked, reasonless=reasonless, typed=form.reason)
    body = DecisionsBody(side=form.side, agrees=form.word == "yes", about=_about(form.about), reason=form.reason)
    answers = sorted(decide_each(viewer.parts, viewer.by, body), key=lambda one: one.problem is None)
    instances = {one.standing.request_id: one.standing.asked.wish.instance.id for one in _rows(viewer, batch)}
    return viewer.page("batch_answer.html", batch=batch, answers=answers, form=form, instances=instances)


def _about(ticked: Sequence[str]) -> list[About]:
    """Raises BadInput for what no page of ours has to tick."""
    found = []
    for one in ticked:
        request_id, _, snapshot = one.rpartition(":")
        try:
            found.append(About(request_id=request_id, snapshot=snapshot))
        except ValidationError as error:
            raise BadInput(f"about: must be a request id, a colon and its snapshot: {faults(error)}") from None
    return found


def _rows(viewer: Viewer, name: str) -> list[Row]:
    """The requests of a batch that may be seen, as everything that was said makes them; two statements.

    Raises BadInput, NoSuchRequest, where there are none.
    """
    parts, ledger = viewer.parts, viewer.parts.ledger
    ids = [
        row.request_id
        for row in ledger.glance(list_requests, viewer.scope, RequestsAsked(batch=name), None, MOST_AT_ONCE)
    ]
    if not ids:
        raise BadInput(f"batch: there is no batch {name} that you may see", code="NoSuchRequest")
    see, now, believed = view_of(parts, viewer.by), parts.now(), parts.standing()
    found = []
    for standing in ledger.glance(standings, ids).values():
        shown = see(Answer(standing))
        mine = tuple(may_say(believed, standing, viewer.by, now))
        found.append(Row(standing, shown, mine, {name: value(standing, shown) for name, value in _VALUES.items()}))
    return found


def _checks(shown: RequestShown, result: CheckResult) -> tuple[str, ...]:
    checks = (one for one in shown.checks if isinstance(one, dict))
    return tuple(str(one.get("check")) for one in checks if one.get("result") == result)


_VALUES: Mapping[str, Callable[[Standing, RequestShown], Any]] = {
    "stage": lambda one, _: one.stage,
    "failed": lambda _, shown: _checks(shown, CheckResult.FAIL),
    "unknown": lambda _, shown: _checks(shown, CheckResult.UNKNOWN),
    "agreed": lambda one, _: tuple((word.side, word.by.person) for word in one.yes),
    "kind": lambda one, _: one.asked.wish.kind,
    "router": lambda one, _: one.asked.wish.ecr.id,
    "account-a": lambda one, _: one.asked.wish.ecr.owner_uid,
    "account-b": lambda one, _: one.asked.wish.instance.owner_uid,
    "region": lambda one, _: one.asked.wish.instance.region,
    "prefixes": lambda one, _: tuple(one.asked.wish.allowed_prefixes),
    "ends": lambda one, _: one.asked.wish.ends_at,
    "on-end": lambda one, _: one.asked.wish.on_end if one.asked.wish.opens else None,
    "replaces": lambda one, _: tuple(one.asked.wish.replaces),
    "closes": lambda one, _: (
        tuple(one.asked.wish.closes) if isinstance(one.asked.wish.closes, list) else one.asked.wish.closes
    ),
    "reason": lambda one, _: one.asked.wish.reason,
    "ticket": lambda one, _: one.asked.wish.ticket,
    "emergency": lambda one, _: one.asked.wish.emergency,
    "asked-by": lambda one, _: (one.asked.by.person, one.asked.by.relay),
    "asked-at": lambda one, _: one.asked.at,
    "lapses": lambda one, _: one.asked.lapses_at,
}
"""What the requests of a batch may differ in, in the order in which it is told."""


def table_of(rows: Sequence[Row]) -> Table:
    """What is the same of all is told once; what makes few groups of them, once for each; the rest are columns."""
    kinds = {name: len({row.values[name] for row in rows}) for name in _VALUES}
    common = {name: rows[0].values[name] for name, number in kinds.items() if number == 1}
    grouping: list[str] = []
    for name, number in kinds.items():
        tried = [*grouping, name]
        if number > 1 and len({tuple(row.values[one] for one in tried) for row in rows}) <= len(rows) // 2:
            grouping = tried
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in sorted(rows, key=_urgency):
        groups.setdefault(tuple(row.values[name] for name in grouping), []).append(row)
    columns = [name for name, number in kinds.items() if number > 1 and name not in grouping]
    return Table(common, columns, [(dict(zip(grouping, key, strict=True)), each) for key, each in groups.items()])


def _urgency(row: Row) -> tuple[bool, bool, str]:
    """Failures first."""
    return not row.values["failed"], not row.values["unknown"], row.standing.asked.wish.instance.id


def _mark(rows: Sequence[Row]) -> str:
    return tag_of("".join(sorted(row.shown.model_dump_json() for row in rows))).strip('"')


def _shown(
    viewer: Viewer,
    name: str,
    rows: Sequence[Row],
    template: str = "batch.html",
    *,
    status: int = 200,
    ticked: set[str] | None = None,
    reasonless: bool = False,
    typed: str = "",
) -> Response:
    """``ticked``: what somebody ticked before; None: nobody did, and what they can say yes to is."""
    sides = [side for side in Side if any(one.side is side for row in rows for one in row.mine)]
    before = {row.standing.request_id for row in rows if row.ticked} if ticked is None else ticked
    open_ = [row for row in rows if row.standing.stage is Stage.OPEN]
    unseen = any(row.shown.snapshot is None and _sees(viewer, row) for row in open_)
    return viewer.page(
        template,
        status=status,
        batch=name,
        table=table_of(rows),
        number=len(rows),
        sides=sides,
        fresh=any(one.fresh for row in rows for one in row.mine),
        ticked=before,
        empty_handed=ticked is not None and not ticked,
        reasonless=reasonless,
        typed=typed,
        mark=_mark(rows),
        every=(_SOON if unseen else _LATER) if open_ else None,
        unseen=unseen,
        stages=[(stage, sum(row.standing.stage is stage for row in rows)) for stage in Stage],
    )


def _sees(viewer: Viewer, row: Row) -> bool:
    grant = row.standing.asked.wish.grant
    return viewer.scope.sees(grant.instance_owner_uid) or viewer.scope.sees(grant.ecr_owner_uid)
