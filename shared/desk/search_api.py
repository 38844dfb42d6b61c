"""Searching, over the desk's API: one text, and what it names."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from shared.desk.api import Calling, Here, scope_of
from shared.desk.problems import ANY, documented
from shared.loop.searching import FoundKind, search

searching = APIRouter(prefix="/api/v1", responses=ANY)


class FoundLine(BaseModel):
    """Something that was found."""

    kind: FoundKind
    id: str
    title: str
    where: str = Field(description="the path of the page that shows it")
    detail: str


class SearchShown(BaseModel):
    """What was found, kind by kind, at most 20 of each."""

    found: list[FoundLine]
    more: list[FoundKind] = Field(description="kinds of which there is more than is told")
    passed: list[str] = Field(description="what was not looked through, in words")


Text = Annotated[str, Query(min_length=2, max_length=128, description="how an id begins, a part of a name, or a range")]


@searching.get("/search", responses=documented(401, 403, 422))
def find(parts: Here, caller: Calling, text: Text) -> SearchShown:
    """What a text names: ids by how they begin (grants, batches and other than listed routers by the whole id), accounts and
    people by a part of the name, ranges by an address, a network, or whole octets as `10.20.`.
    """
    scope = scope_of(parts, caller)
    version = parts.standing().version
    assert version is not None  # noqa: S101  # it stands
    told = search(parts.ledger, version.configuration, scope, text)
    found = [FoundLine(**vars(one)) for one in told.found]
    return SearchShown(found=found, more=list(told.more), passed=list(told.passed))
