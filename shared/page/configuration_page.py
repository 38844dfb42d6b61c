"""The configuration on the page, to be read: what stands, part by part, each version before it, and what two differ in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import unified_diff
from enum import StrEnum
from itertools import islice
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from pydantic import JsonValue

from shared.desk.configuration_api import VersionShown, configuration_shown, version_shown, versions_listing
from shared.desk.pages import After, some
from shared.page.viewer import Looking

routes = APIRouter()

_VERSIONS = 10
_ROWS = 100
_LINES = 1_000
_NUMBERS = Query(ge=1, le=2**31 - 1)
_Start = Annotated[int, Query(ge=0, le=1_000_000, description="so many rows of the part are passed over")]


class Part(StrEnum):
    """A part of a configuration, as the files have them."""

    ACCOUNTS = "accounts"
    PEOPLE = "people"
    ISSUERS = "issuers"
    POLICY = "policy"


@dataclass(frozen=True)
class Line:
    """One line of a difference. ``mark``: what it begins with: taken out, put in, where it is, or as it was."""

    mark: str
    text: str


@routes.get("/configuration")
def configuration(viewer: Looking, part: Part = Part.ACCOUNTS, start: _Start = 0, after: After = None) -> Response:
    """What stands, and every version. Five statements."""
    stands = configuration_shown(viewer.parts, viewer.scope)
    versions, further = some(versions_listing(viewer.parts, viewer.scope), viewer.parts.seals, after, _VERSIONS)
    return viewer.page(
        "configuration.html",
        stands=stands,
        versions=versions,
        further=further,
        filters={"part": part},
        **_of(stands.content, part, start),
    )


@routes.get("/configuration/difference")
def difference(viewer: Looking, old: Annotated[int, _NUMBERS], new: Annotated[int, _NUMBERS]) -> Response:
    """What two versions differ in, part by part, as lines."""
    before, then = (version_shown(viewer.parts, viewer.scope, number) for number in (old, new))
    return viewer.page("configuration_difference.html", before=before, then=then, parts=_differences(before, then))


@routes.get("/configuration/{number}")
def version(
    viewer: Looking,
    number: Annotated[int, Path(ge=1, le=2**31 - 1)],
    part: Part = Part.ACCOUNTS,
    start: _Start = 0,
) -> Response:
    """One version."""
    found = version_shown(viewer.parts, viewer.scope, number)
    return viewer.page("configuration_version.html", version=found, **_of(found.content, part, start))


def texts_of(content: Mapping[str, JsonValue]) -> dict[Part, str]:
    """Each part as text: the policy as it is written, the others as JSON with a line for each value."""
    found: dict[Part, Any] = {
        Part.ACCOUNTS: content["inventory"],
        Part.PEOPLE: content["people"],
        Part.ISSUERS: content["issuers"],
    }
    texts = {part: json.dumps(one, indent=2, sort_keys=True, ensure_ascii=False) for part, one in found.items()}
    return texts | {Part.POLICY: str(content["policy"])}


def lines_between(old: str, new: str) -> list[Line]:
    """A unified difference; nothing where they say the same."""
    told = unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=3)
    return [Line(line[:1], line[1:] if line[:1] in "+- " else line) for line in islice(told, 2, None)]


def _differences(before: VersionShown, then: VersionShown) -> list[tuple[Part, list[Line], bool]]:
    """Of each part that differs the first lines, and whether there are more. Nothing for whoever may not see what is in them."""
    if before.content is None or then.content is None:
        return []
    old, new = texts_of(before.content), texts_of(then.content)
    found = [(part, lines_between(old[part], new[part])) for part in Part if old[part] != new[part]]
    return [(part, lines[:_LINES], len(lines) > _LINES) for part, lines in found]


def _of(content: Mapping[str, JsonValue] | None, part: Part, start: int) -> dict[str, Any]:
    """So many rows of one part of a content."""
    said: dict[str, Any] = {"part": part, "every": tuple(Part), "rows": [], "start": start, "further_rows": None}
    said |= {"text": "", "delegations": [], "groups": {}, "regions": None}
    if content is None:
        return said
    inventory: Any = content["inventory"]
    people: Any = content["people"]
    issuers: Any = content["issuers"]
    listed: dict[Part, Mapping[str, Any]] = {
        Part.ACCOUNTS: inventory["accounts"],
        Part.PEOPLE: people["persons"],
        Part.ISSUERS: issuers,
        Part.POLICY: {},
    }
    rows = list(islice(sorted(listed[part].items()), start, start + _ROWS + 1))
    said |= {"rows": rows[:_ROWS], "further_rows": start + _ROWS if len(rows) > _ROWS else None}
    if part is Part.PEOPLE:
        of_each = {name: [group for group, members in people["groups"].items() if name in members] for name, _ in rows}
        said |= {"delegations": people["delegations"][:_ROWS], "groups": of_each}
    return said | {"text": content["policy"] if part is Part.POLICY else "", "regions": inventory["regions"]}
