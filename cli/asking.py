"""Ask, look, decide and withdraw at the desk. Everything here goes over its API, as whoever signed in."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import sys
import threading
import uuid
import webbrowser
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qs, urlencode, urlsplit

import typer

from cli.common import AsJson, NotSo, troubles
from cli.desk_client import DeskAddress, DeskClient, Json, keep_token
from cli.output import document, remark, rows, say
from shared.errors import SettingsError

_SIGN_IN_SECONDS = 300
_LINE = ("request_id", "stage", "kind", "grant_id", "requester", "asked_at", "batch")
Format = Annotated[str, typer.Option("-o", "--output", metavar="table|json|csv", help="How to print it.")]


def login(
    desk: DeskAddress,
    browser: Annotated[bool, typer.Option(help="Open the browser; else only say where to go.")] = True,
) -> None:
    """Sign in at the desk, in a browser on this machine.

    The browser comes back to this command, on a port of this machine, with a code that is good once. The token is kept for its
    owner alone, under XDG_STATE_HOME (~/.local/state), for eight hours.
    """
    with troubles():
        client = DeskClient(desk)
        waiting = _Waiting(("127.0.0.1", 0), _Back)
        waiting.timeout = 1
        verifier, waiting.mark = secrets.token_urlsafe(48), secrets.token_urlsafe(24)
        told = {"port": waiting.server_port, "challenge": _challenge(verifier), "mark": waiting.mark, "anew": "true"}
        address = f"{client.address}/sign-in?{urlencode(told)}"
        remark(f"sign in here: {address}")
        if browser:
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        until = datetime.now(UTC) + timedelta(seconds=_SIGN_IN_SECONDS)
        while waiting.code is None and datetime.now(UTC) < until:
            waiting.handle_request()
        waiting.server_close()
        if waiting.code is None:
            raise NotSo(f"nobody signed in within {_SIGN_IN_SECONDS} s")
        token = client.call("POST", "/tokens", signed_in=False, json={"code": waiting.code, "verifier": verifier})[
            "token"
        ]
        keep_token(client.address, str(token))
        me = client.get("/me")
    say(f"signed in as {me['subject']}" + ("" if me["person"] is None else f", who is {me['person']}"))
    if me["person"] is None:
        remark("people.yaml lists nobody with that subject yet: ask an operator to add it")


class _Waiting(HTTPServer):
    """Waits on this machine for the browser to come back."""

    code: str | None = None
    mark: str = ""


class _Back(BaseHTTPRequestHandler):
    def do_GET(self) -> None:  # as the library names it
        """Take the code, once."""
        assert isinstance(self.server, _Waiting)  # noqa: S101  # it is
        said = parse_qs(urlsplit(self.path).query)
        found = said.get("code") if said.get("mark") == [self.server.mark] else None  # else it is somebody else's
        text = b"This window can be closed.\n" if found else b"No sign-in of this command came with this.\n"
        if found:
            self.server.code = found[0]
        self.send_response(200 if found else 400)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Nothing: a code would stand in it."""


def ask(
    file: Annotated[Path, typer.Argument(help="A wish, or a list of up to 200, as JSON; - for standard input.")],
    desk: DeskAddress,
    again: Annotated[bool, typer.Option("--again", help="Ask anew for what was asked before.")] = False,
    as_json: AsJson = False,
) -> None:
    """Ask for what a file says: a wish, or a list of wishes that are asked together.

    Sent again after trouble, nothing is asked twice. Says who has to agree. docs/desk.md has a wish to begin with.
    """
    with troubles():
        wishes = _read(file)
        same = uuid.uuid5(uuid.NAMESPACE_OID, json.dumps(wishes, sort_keys=True))
        key = {"Idempotency-Key": str(uuid.uuid4() if again else same)}
        answer = DeskClient(desk).post("/requests", {"wishes": wishes}, key)
    if as_json:
        document(answer)
        return
    for one in answer["requests"]:
        takes = one.get("takes")
        whose = "nobody else has to agree" if takes is None else f"a yes is wanted for: {', '.join(takes)}"
        asked = "" if answer["said"] else " (asked before)"
        say(f"{one['request_id']}  {one['wish']['instance']['id']}  {one['stage']}{asked}; {whose}")


def requests(
    desk: DeskAddress,
    stage: Annotated[str | None, typer.Option(help="Only open, approved, refused, withdrawn or lapsed ones.")] = None,
    batch: Annotated[str | None, typer.Option(help="Only those that were asked together under this name.")] = None,
    output: Format = "table",
) -> None:
    """List what you asked for or may decide about, newest first, all of them."""
    with troubles():
        form = _format(output)
        client, found, after = DeskClient(desk), list[Json](), None
        while True:
            page = client.get("/requests", stage=stage, batch=batch, after=after)
            found += page["requests"]
            after = page["next"]
            if after is None:
                break
    _print(found, form)


def request(
    request_id: Annotated[str, typer.Argument(help="The request's id, r-…")], desk: DeskAddress, as_json: AsJson = False
) -> None:
    """Show one request: what is asked, what preflight saw, who agreed, and how it stands."""
    with troubles():
        found = DeskClient(desk).get(f"/requests/{_id(request_id)}")
    if as_json:
        document(found)
    else:
        _show(found)


def decide(
    request_id: Annotated[str, typer.Argument(help="The request's id, r-…")],
    side: Annotated[str, typer.Argument(help="grant (account B's side) or associate (account A's)")],
    word: Annotated[str, typer.Argument(help="yes or no")],
    desk: DeskAddress,
    reason: Annotated[str, typer.Option(help="Why.")] = "",
    snapshot: Annotated[
        str | None, typer.Option(help="What you were shown; without it, what is shown now, which is printed first.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say yes or no to a request, for one side.

    The word is bound to what was shown: where that changed meanwhile it is refused, and the request has to be looked at again.
    """
    with troubles():
        if word not in ("yes", "no"):
            raise SettingsError(f"the word must be yes or no (found {word[:80]!r})")
        client, path = DeskClient(desk), f"/requests/{_id(request_id)}"
        if snapshot is None:
            shown = client.get(path)
            snapshot = str(shown["snapshot"] or "")
            if not as_json:
                _show(shown)
        body = {"side": side, "agrees": word == "yes", "snapshot": snapshot, "reason": reason}
        found = client.post(f"{path}/decisions", body)
    if as_json:
        document(found)
    else:
        say(f"recorded: {word} for the {side} side; the request is {found['stage']}")


def withdraw(
    request_id: Annotated[str, typer.Argument(help="The request's id, r-…")],
    desk: DeskAddress,
    reason: Annotated[str, typer.Option(help="Why.")] = "",
    as_json: AsJson = False,
) -> None:
    """Ask no more for something that you asked for. What was approved already is ended by a revoke."""
    with troubles():
        found = DeskClient(desk).post(f"/requests/{_id(request_id)}/withdrawal", {"reason": reason})
    if as_json:
        document(found)
    else:
        say(f"{request_id} is {found['stage']}")


def _challenge(verifier: str) -> str:
    """What the desk is shown of a verifier beforehand (RFC 7636, S256)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


def _read(file: Path) -> list[Any]:
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text("utf-8")
        found = json.loads(text)
    except (OSError, ValueError) as error:
        raise SettingsError(f"{file}: cannot be read as JSON ({error})") from None
    return found if isinstance(found, list) else [found]


def _id(request_id: str) -> str:
    if not request_id.replace("-", "").replace("_", "").isalnum() or not request_id.isascii():
        raise SettingsError(f"the request's id must be letters, digits and - (found {request_id[:80]!r})")
    return request_id


def _format(text: str) -> str:
    if text not in ("table", "json", "csv"):
        raise SettingsError(f"--output must be table, json or csv (found {text[:80]!r})")
    return text


def _print(found: Iterable[Json], form: str) -> None:
    if form == "json":
        document(list(found))
    elif form == "csv":
        rows(_LINE, found)
    else:
        lines = [[str(one.get(name) or "-") for name in _LINE] for one in found]
        widths = [max(map(len, column)) for column in zip(_LINE, *lines, strict=True)]
        for line in (_LINE, *lines):
            say("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def _show(found: Json) -> None:
    wish = found["wish"]
    say(f"{found['request_id']}: {wish['kind']} {wish['instance']['id']} on {wish['ecr']['id']}, {found['stage']}")
    say(
        f"  asked by {found['asked_by']} at {found['asked_at']}"
        + (f" through {found['relay']}" if found["relay"] else "")
    )
    say(f"  reason: {wish['reason']}")
    say(
        f"  prefixes: {', '.join(wish['allowed_prefixes']) or 'none'}; until {wish['ends_at'] or 'no end'}, then {wish['on_end']}"
    )
    if found["snapshot"] is None:
        say("  preflight has not looked yet: nothing can be decided before it has")
    else:
        say(f"  round {found['round']}, snapshot {found['snapshot']}")
        for one in found["checks"]:
            say(f"    {one.get('result', '?'):8} {one.get('check', '?')}: {one.get('found', one)}")
    for one in found["agreed"]:
        say(
            f"  yes by {one['person']} for the {one['side']} side at {one['at']}"
            + (f": {one['reason']}" if one["reason"] else "")
        )
    for one in found["void"]:
        say(f"  counts no more: yes by {one['person']} for the {one['side']} side")
    say(f"  {found['ended']}" if found["ended"] else f"  it lapses at {found['lapses_at']}")
