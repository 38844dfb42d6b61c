"""How a page is made: its template, its language, its headers, and how things look that stand on many pages."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from shared.page.pictures import size_bar
from shared.page.statics import address_of
from shared.page.texts import Language, Texts, language_of

LANGUAGE = "language"
"""The cookie that says which language somebody chose."""
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'"
    ),
    "Vary": "Accept-Language, Cookie",
}


def texts_for(request: Request) -> Texts:
    """The texts in the language of whoever calls."""
    said = request.cookies.get(LANGUAGE, "")
    return Texts(language_of(said, request.headers.get("accept-language", "")))


def rendered(
    request: Request, template: str, values: Mapping[str, Any], *, status: int = 200, person: str | None = None
) -> HTMLResponse:
    """A page. ``person``: whoever signed in."""
    t = texts_for(request)
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    said = {"t": t, "person": person, "here": here, "path": request.url.path, "now": datetime.now(UTC), **values}
    # What some forms let through and no page may have; parsers leave it out in one place and show it in another.
    whole = _environment.get_template(template).render(said).replace("\0", "\ufffd")
    return HTMLResponse(whole, status, HEADERS)


def utc(at: datetime) -> str:
    """A time as people read it, to the minute."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


@pass_context
def when(context: Context, at: datetime | str | None) -> Markup:
    """A time, in UTC; where scripts run, in the viewer's zone with UTC beside."""
    if at is None:
        return Markup("—")
    moment = datetime.fromisoformat(at) if isinstance(at, str) else at
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        ago(context, moment),
        utc(moment),
    )


@pass_context
def ago(context: Context, at: datetime | str) -> Markup:
    """How far away a time is, in its largest whole unit: ``in 3 days``, ``2 hours ago``."""
    t: Texts = context["t"]
    moment = datetime.fromisoformat(at) if isinstance(at, str) else at
    away = moment - context["now"]
    size = abs(away)
    if size < timedelta(minutes=1):
        return t("now")
    if size < timedelta(hours=1):
        length = t.count(size // timedelta(minutes=1), "1 minute", "{n} minutes")
    elif size < timedelta(days=2):
        length = t.count(size // timedelta(hours=1), "1 hour", "{n} hours")
    else:
        length = t.count(size.days, "1 day", "{n} days")
    return t("in {length}", length=length) if away > timedelta(0) else t("{length} ago", length=length)


def with_query(path: str, **values: object) -> str:
    """A path of ours with these in its query; what is None or empty is left out."""
    said = urlencode({name: str(value) for name, value in values.items() if value not in (None, "")})
    return f"{path}?{said}" if said else path


_environment = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    auto_reload=False,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.globals |= {
    "static": address_of,
    "with_query": with_query,
    "size_bar": size_bar,
    "languages": tuple(Language),
}
_environment.filters |= {"when": when, "ago": ago, "utc": utc, "quoted": lambda text: quote(str(text), safe="")}
