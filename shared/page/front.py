"""The front page: what waits for whoever looks, what became of what they asked, and the ways to everything else."""

from __future__ import annotations

from fastapi import APIRouter, Response

from shared.desk.api import requests_listing
from shared.desk.pages import some
from shared.ledger.consent import RequestsAsked
from shared.page.viewer import Looking
from shared.rules.consent import Stage

routes = APIRouter()

_FEW = 8


@routes.get("/")
def front(viewer: Looking) -> Response:
    """What is open, and what was asked last."""
    listing = requests_listing(viewer.parts, viewer.scope, RequestsAsked(Stage.OPEN))
    open_, further = some(listing, viewer.parts.seals, None, _FEW)
    return viewer.page("front.html", open=open_, further=further)
