"""Whoever looks at a page: a person who signed in, what they may see, and how a page is made for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from shared.desk.api import Here, PersonCalling
from shared.desk.callers import Caller
from shared.desk.parts import Parts
from shared.desk.signin import local_path
from shared.ledger.seeing import Scope
from shared.messages.consent import Voice
from shared.page.rendering import rendered, texts_for
from shared.page.texts import Texts
from shared.rules.configuration import Configuration


@dataclass(frozen=True)
class Viewer:
    """One call of a page. ``by``: the person, as their word would be recorded; ``scope``: what they may see."""

    request: Request
    parts: Parts
    caller: Caller
    by: Voice
    scope: Scope
    configuration: Configuration

    @property
    def person(self) -> str:
        """Who it is."""
        return self.by.person

    @property
    def t(self) -> Texts:
        """The page's texts in their language."""
        return texts_for(self.request)

    def page(self, template: str, /, *, status: int = 200, **values: Any) -> HTMLResponse:
        """A page, or a part of one, for them."""
        said = {"viewer": self, "account_name": self.account_name, **values}
        return rendered(self.request, template, said, status=status, person=self.person)

    def account_name(self, uid: str) -> str:
        """What an account is called, where the configuration lists it and it may be seen; else its uid alone."""
        listed = self.configuration.inventory.accounts.get(uid) if self.scope.sees(uid) else None
        return uid if listed is None or not listed.name else f"{listed.name} ({uid})"


def _viewer(request: Request, parts: Here, caller: PersonCalling) -> Viewer:
    standing = parts.standing()
    assert standing.version is not None  # noqa: S101  # it stands
    configuration = standing.version.configuration
    by = caller.voice(configuration.people, parts.now())
    return Viewer(request, parts, caller, by, parts.scope(by.person), configuration)


Looking = Annotated[Viewer, Depends(_viewer)]
"""As a parameter of a route: whoever looks. Strangers and systems never enter it."""


def on_to(path: str) -> RedirectResponse:
    """After something was said: the page that shows what came of it."""
    return RedirectResponse(local_path(path), 303)
