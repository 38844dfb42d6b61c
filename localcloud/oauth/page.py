"""What a browser shows: a plain form, no scripts, so that a test needs an HTTP client and nothing else."""

from collections.abc import Iterable
from html import escape

from localcloud.oauth.people import Application, Person

HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
_STYLE = "body{font:1em sans-serif;max-width:40em;margin:3em auto}button{margin:.2em 0}small{color:#666}"
_KINDS = {"account": "the account itself", "user": "RAM user", "role": "session of a RAM role"}


def choice(application: Application, scopes: Iterable[str], everybody: Iterable[Person]) -> bytes:
    """Who is signing in? The form is sent to the address that shows it, query and all, with one field ``person``."""
    rows = []
    for person in everybody:
        why = application.refuses(person)
        label = next(iter(person.label.values()))
        about = f"{label}, {_KINDS[person.kind]} in {person.account_name or 'account'} ({person.account})"
        rows.append(
            f'<p><button name="person" value="{escape(person.name)}"{" disabled" if why else ""}>{escape(person.name)}'
            f"</button> {escape(about)}{f'<br><small>{escape(why)}</small>' if why else ''}</p>"
        )
    return _page(
        f"Sign in to {application.spec.name}",
        f"<p>The application <b>{escape(application.spec.name)}</b> asks who you are ({escape(' '.join(scopes))}). "
        f'This is a local cloud: choose anybody.</p><form method="post">{"".join(rows)}'
        '<p><button name="person" value="">Nobody: deny it</button></p></form>',
    )


def trouble(code: str, message: str) -> bytes:
    """Why nobody is sent anywhere."""
    return _page("Cannot sign in", f"<p>{escape(message)}</p><p><small>{escape(code)}</small></p>")


def _page(title: str, body: str) -> bytes:
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{escape(title)}</h1>{body}</body></html>"
    ).encode()
