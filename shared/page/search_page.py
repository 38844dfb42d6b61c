"""Searching on the page: one text, and everything that it names."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from shared.errors import BadInput
from shared.loop.searching import MOST, Findings, search
from shared.page.viewer import Looking

routes = APIRouter()


@routes.get("/search")
def find(viewer: Looking, q: Annotated[str, Query(max_length=128)] = "") -> Response:
    """What a text names, kind by kind; without a text, how to search."""
    sought, found, fault = q.strip(), Findings((), (), ()), ""
    if sought:
        try:
            found = search(viewer.parts.ledger, viewer.configuration, viewer.scope, sought)
        except BadInput as error:
            fault = str(error)
    kinds = dict.fromkeys(one.kind for one in found.found)
    return viewer.page(
        "search.html",
        status=422 if fault else 200,
        sought=sought,
        found=found,
        kinds=[(kind, [one for one in found.found if one.kind is kind]) for kind in kinds],
        most=MOST,
        fault=fault,
    )
