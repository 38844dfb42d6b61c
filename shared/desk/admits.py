"""Which kinds of caller a route admits: one dependency of each route, from which the table of routes is made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.routing import BaseRoute

from shared.desk.callers import Caller, CallerKind
from shared.desk.parts import Parts


class Admits:
    """As a dependency: whoever calls, counted; anybody else is refused before the route is entered."""

    def __init__(self, *kinds: CallerKind) -> None:
        """Where strangers are admitted, nobody is asked who they are."""
        self.kinds = frozenset(kinds)

    def __call__(self, request: Request) -> Caller:
        """Raises NotSignedIn, NotAllowed for another kind, Throttled."""
        request.state.met = True
        parts: Parts = request.app.state.parts
        return parts.admitted(request, self.kinds)


def unmet(request: Request) -> None:
    """A call that failed before anybody was asked who they are, such as one of no route, or with no JSON in its body, is a
    stranger's. Raises Throttled.
    """
    if not getattr(request.state, "met", False):
        parts: Parts = request.app.state.parts
        parts.limits.stranger(request)


def table(routes: list[BaseRoute]) -> Iterator[tuple[str, str, frozenset[CallerKind] | None]]:
    """(method, path, kinds) of every route of an app, in order; None where a route does not say."""
    for context in iter_route_contexts(routes):
        route = context.original_route
        kinds = admitted_by(route.dependant) if isinstance(route, APIRoute) else None
        for method in sorted(context.methods or ()):
            yield method, str(context.path), kinds


def admitted_by(dependant: Dependant) -> frozenset[CallerKind] | None:
    """The kinds that a route's dependencies admit; None where none says."""
    call: Any = dependant.call
    if isinstance(call, Admits):
        return call.kinds
    return next((found for one in dependant.dependencies if (found := admitted_by(one)) is not None), None)
