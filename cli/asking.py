"""Ask, look, decide and withdraw at the desk. Everything here goes over its API, as whoever signed in."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import sys
import threading
import time
import uuid
import webbrowser
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qs, urlencode, urlsplit

import typer

from cli.common import AsJson, NotSo, troubles
from cli.desk_client import DeskAddress, DeskClient, Json, forget_token, keep_token
from cli.lists import Format, format_of, listed
from cli.output import document, remark, say
from shared.errors import SettingsError

_SIGN_IN_SECONDS = 300
_EVERY_SECONDS = 2.0
_LINE = ("request_id", "stage", "kind", "instance_id", "ecr_id", "requester", "asked_at", "batch", "grant_id")


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


def logout(desk: DeskAddress) -> None:
    """Sign out at the desk: the token is good no more, and forgotten here."""
    with troubles():
        client = DeskClient(desk)
        client.sign_out()
        forgotten = forget_token(client.address)
    say(f"signed out at {client.address}")
    if not forgotten:
        remark("the token came from ECR_GRANTS_TOKEN: it is good no more, and still set there")


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
    check: Annotated[
        bool,
        typer.Option("--check", help="Ask nothing: say of each what asking would be answered. Exit code 1 for a no."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Ask for what a file says: a wish, or a list of wishes that are asked together.

    Sent again after trouble, nothing is asked twice. Says who has to agree. docs/desk.md has a wish to begin with.
    """
    with troubles():
        wishes = _read(file)
        if check:
            checks = DeskClient(desk).post("/checks", {"wishes": wishes})
            _say_checked(wishes, checks, as_json=as_json)
            return
        same = uuid.uuid5(uuid.NAMESPACE_OID, json.dumps(wishes, sort_keys=True))
        key = {"Idempotency-Key": str(uuid.uuid4() if again else same)}
        answer = DeskClient(desk).post("/requests", {"wishes": wishes}, key)
    if as_json:
        document(answer)
        return
    _say_asked(answer)


def requests(
    desk: DeskAddress,
    stage: Annotated[str | None, typer.Option(help="Only open, approved, refused, withdrawn or lapsed ones.")] = None,
    batch: Annotated[str | None, typer.Option(help="Only those that were asked together under this name.")] = None,
    output: Format = "table",
) -> None:
    """List what you asked for or may decide about, newest first, all of them."""
    with troubles():
        form = format_of(output)
        found = list(DeskClient(desk).pages("/requests", "requests", stage=stage, batch=batch))
    listed(found, _LINE, form)


def request(
    request_id: Annotated[str, typer.Argument(help="The request's id, r-…")],
    desk: DeskAddress,
    wait: Annotated[
        float | None, typer.Option(metavar="SECONDS", min=0, help="Until it has ended, telling what is said meanwhile.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show one request: what is asked, what preflight saw, who agreed, and how it stands."""
    with troubles():
        client, path = DeskClient(desk), f"/requests/{id_of(request_id)}"
        found = client.get(path) if wait is None else _ended(client, path, wait)
    if as_json:
        document(found)
    else:
        show_request(found)


def _ended(client: DeskClient, path: str, seconds: float) -> Json:
    """The request once it has ended; what is said meanwhile is told as it comes. Raises NotSo where it takes longer."""
    until, told = time.monotonic() + seconds, set[str]()
    while True:
        found = client.get(path)
        for line in _said(found):
            if line not in told:
                told.add(line)
                remark(line)
        if found["stage"] != "open":
            return found
        if time.monotonic() >= until:
            raise NotSo(f"{found['request_id']} is still open after {seconds:g} s")
        time.sleep(_EVERY_SECONDS)


def _said(found: Json) -> list[str]:
    looked = [f"preflight has looked: {found['failed']} checks failed"] if found["snapshot"] is not None else []
    agreed = [f"yes by {one['person']} for the {one['side']} side" for one in found["agreed"]]
    return ["it is open", *looked, *agreed]


def decide(
    request_id: Annotated[str, typer.Argument(help="The request's id, r-…, or that of a batch, b-…")],
    side: Annotated[str, typer.Argument(help="grant (account B's side) or associate (account A's)")],
    word: Annotated[str, typer.Argument(help="yes or no")],
    desk: DeskAddress,
    reason: Annotated[str, typer.Option(help="Why.")] = "",
    without: Annotated[list[str] | None, typer.Option(help="Of a batch: not this request; as often as wanted.")] = None,
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
        client, path = DeskClient(desk), f"/requests/{id_of(request_id)}"
        if request_id.startswith("b-"):
            said = {"side": side, "agrees": word == "yes", "reason": reason}
            _decide_batch(client, request_id, said, frozenset(without or ()), as_json=as_json)
            return
        if snapshot is None:
            shown = client.get(path)
            snapshot = str(shown["snapshot"] or "")
            if not as_json:
                show_request(shown)
        body = {"side": side, "agrees": word == "yes", "snapshot": snapshot, "reason": reason}
        found = client.post(f"{path}/decisions", body)
    if as_json:
        document(found)
    else:
        say(f"recorded: {word} for the {side} side; the request is {found['stage']}")


def _decide_batch(client: DeskClient, batch: str, said: Json, without: frozenset[str], *, as_json: bool) -> None:
    """The same word for every request of a batch that is open: what is shown of them now is printed first."""
    found = [
        one
        for one in client.pages("/requests", "requests", stage="open", batch=batch)
        if one["request_id"] not in without
    ]
    shown = [client.get(f"/requests/{one['request_id']}") for one in found]
    about = [{"request_id": one["request_id"], "snapshot": one["snapshot"]} for one in shown if one["snapshot"]]
    if not as_json:
        for one in shown:
            show_request(one)
    if not about:
        raise NotSo(f"of {batch} nothing is open that preflight has looked at")
    answers = client.post("/decisions", said | {"about": about})["decisions"]
    refused = [one for one in answers if one["problem"] is not None]
    if as_json:
        document(answers)
    else:
        for one in refused:
            remark(f"{one['request_id']}: {one['problem']['detail']}")
        unseen = len(shown) - len(about)
        later = f"; preflight has not looked at {unseen} of them" if unseen else ""
        say(f"recorded for {len(answers) - len(refused)} of {len(shown)} requests of {batch}{later}")
    if refused:
        raise NotSo(f"{len(refused)} were not taken")


def review(
    request_id: Annotated[str, typer.Argument(help="The request's id, r-…")],
    finding: Annotated[str, typer.Argument(help="in-order or not-in-order")],
    reason: Annotated[str, typer.Argument(help="What was found.")],
    desk: DeskAddress,
    as_json: AsJson = False,
) -> None:
    """Close the review of an emergency that others asked for and agreed to."""
    with troubles():
        if finding not in ("in-order", "not-in-order"):
            raise SettingsError(f"the finding must be in-order or not-in-order (found {finding[:80]!r})")
        body = {"in_order": finding == "in-order", "reason": reason}
        found = DeskClient(desk).post(f"/requests/{id_of(request_id)}/review", body)
    if as_json:
        document(found)
    else:
        say(f"{request_id} was reviewed by {found['reviewed']}: {finding}")


def look_again(
    request_id: Annotated[str, typer.Argument(help="The request's id, r-…")], desk: DeskAddress, as_json: AsJson = False
) -> None:
    """Have preflight look at a request again. What changed by then has to be decided anew."""
    with troubles():
        found = DeskClient(desk).post(f"/requests/{id_of(request_id)}/looks", {})
    if as_json:
        document(found)
    else:
        say(f"preflight is told; `ecr-grants request {request_id}` shows what it saw")


def revoke(
    request_id: Annotated[str, typer.Argument(help="The request that was approved, r-…")],
    reason: Annotated[str, typer.Argument(help="Why it is not wanted any more.")],
    desk: DeskAddress,
    everyone: Annotated[
        bool, typer.Option("--everyone", help="End whatever anybody was approved on its grant, not this request alone.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Ask to end what a request opened. Owners of either side need nobody's yes."""
    with troubles():
        client = DeskClient(desk)
        wish = client.get(f"/requests/{id_of(request_id)}")["wish"]
        body = {name: wish[name] for name in ("ecr", "instance", "ticket")} | {"kind": "revoke", "reason": reason}
        body["closes"] = "everyone" if everyone else [request_id]
        _ask_one(client, body, as_json=as_json)


def extend(
    request_id: Annotated[str, typer.Argument(help="The request that was approved, r-…")],
    until: Annotated[str, typer.Argument(help="The new end, such as 2026-12-24T18:00:00Z.")],
    reason: Annotated[str, typer.Argument(help="Why it is wanted for longer.")],
    desk: DeskAddress,
    as_json: AsJson = False,
) -> None:
    """Ask for the same again with another end, in place of what a request opened: nothing is taken down in between."""
    with troubles():
        client = DeskClient(desk)
        wish = client.get(f"/requests/{id_of(request_id)}")["wish"]
        names = ("ecr", "instance", "allowed_prefixes", "on_end", "ticket")
        body = {name: wish[name] for name in names}
        body |= {"kind": "change", "replaces": [request_id], "ends_at": until, "reason": reason}
        _ask_one(client, body, as_json=as_json)


def _ask_one(client: DeskClient, wish: Json, *, as_json: bool) -> None:
    key = str(uuid.uuid5(uuid.NAMESPACE_OID, json.dumps(wish, sort_keys=True)))
    answer = client.post("/requests", {"wishes": [wish]}, {"Idempotency-Key": key})
    if as_json:
        document(answer)
    else:
        _say_asked(answer)


def _say_checked(wishes: list[Json], answer: Json, *, as_json: bool) -> None:
    """Of each wish whether it can be asked, and whose yes it takes. Raises NotSo where one cannot be."""
    if as_json:
        document(answer)
    for wish, one in zip(wishes, answer["checks"], strict=True) if not as_json else ():
        named = str(wish["instance"]["id"])
        if one["problem"] is not None:
            say(f"{named}  cannot be asked: {one['problem']['detail']}")
            continue
        who = "nobody else has to agree"
        if one["takes"] is not None:
            sides = (
                f"{side} ({', '.join(one['deciders'].get(side, [])) or 'one of its owners'})" for side in one["takes"]
            )
            who = f"a yes is wanted for: {', '.join(sides)}"
        say(f"{named}  can be asked; {who}")
        for prefix in one["prefixes"]:
            told = [f"overlaps {other}" for other in prefix["overlaps"]]
            told += ["is outside of the account's supernets"] if prefix["outside"] else []
            say(
                f"    {prefix['prefix']}: {prefix['addresses'] or 'no'} addresses"
                + "".join(f"; {each}" for each in told)
            )
    refused = sum(one["problem"] is not None for one in answer["checks"])
    if refused:
        raise NotSo(f"{refused} of {len(answer['checks'])} cannot be asked; nothing was asked")


def _say_asked(answer: Json) -> None:
    for one in answer["requests"]:
        takes = one.get("takes")
        whose = "nobody else has to agree" if takes is None else f"a yes is wanted for: {', '.join(takes)}"
        asked = "" if answer["said"] else " (asked before)"
        say(f"{one['request_id']}  {one['wish']['instance']['id']}  {one['stage']}{asked}; {whose}")
    if len(answer["requests"]) > 1:
        say(f"asked together as {answer['requests'][0]['batch']}")


def withdraw(
    request_id: Annotated[str, typer.Argument(help="The request's id, r-…")],
    desk: DeskAddress,
    reason: Annotated[str, typer.Option(help="Why.")] = "",
    as_json: AsJson = False,
) -> None:
    """Ask no more for something that you asked for. What was approved already is ended by a revoke."""
    with troubles():
        found = DeskClient(desk).post(f"/requests/{id_of(request_id)}/withdrawal", {"reason": reason})
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


def id_of(request_id: str) -> str:
    if not request_id.replace("-", "").replace("_", "").isalnum() or not request_id.isascii():
        raise SettingsError(f"the request's id must be letters, digits and - (found {request_id[:80]!r})")
    return request_id


def show_request(found: Json) -> None:
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
    if found["snapshot"] is not None:
        say(f"  round {found['round']}, snapshot {found['snapshot']}")
    elif not found["checks"]:
        say("  preflight has not looked yet: nothing can be decided before it has")
    for one in found["checks"]:
        say(f"    {one.get('result', '?'):8} {one.get('check', '?')}: {one.get('found', one)}")
    for one in found["agreed"]:
        say(
            f"  yes by {one['person']} for the {one['side']} side at {one['at']}"
            + (f": {one['reason']}" if one["reason"] else "")
        )
    for one in found["changed"]:
        say(f"  changed since the round before: {one}")
    for one in found["void"]:
        say(f"  counts no more: yes by {one['person']} for the {one['side']} side")
    if found["review_until"] is not None:
        say(f"  an emergency: to be reviewed until {found['review_until']}")
    say(f"  {found['ended']}" if found["ended"] else f"  it lapses at {found['lapses_at']}")
