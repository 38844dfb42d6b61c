"""The desk over its API, for the command line: one call, one answer, and what went wrong in one line."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.common import NotSo, reachable
from shared.errors import CloudUnreachable, SettingsError

DeskAddress = Annotated[
    str,
    typer.Option(envvar="DESK_ADDRESS", help="The desk: https://grants.example.com", show_default=False),
]
Json = dict[str, Any]
_SECONDS = 30.0


def token_file() -> Path:
    """Where the token of `ecr-grants login` is kept, for its owner alone: under XDG_STATE_HOME."""
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "ecr-grants" / "token.json"


def keep_token(address: str, token: str) -> Path:
    """Keep it for the commands after this one. Returns where."""
    return _keep(_tokens() | {address: token})


def forget_token(address: str) -> bool:
    """Keep none for this desk any more. False where none was kept."""
    known = _tokens()
    if address not in known:
        return False
    _keep({name: token for name, token in known.items() if name != address})
    return True


def _keep(known: Mapping[str, Any]) -> Path:
    path = token_file()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = path.with_suffix(".new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(dict(known), file)
    fresh.replace(path)
    return path


def _tokens() -> dict[str, str]:
    try:
        found = json.loads(token_file().read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


class DeskClient:
    """One desk, as whoever ran `ecr-grants login` for it, or as ECR_GRANTS_TOKEN says."""

    def __init__(self, address: str) -> None:
        """Raises SettingsError for what is no address."""
        self.address = reachable(address, "--desk (DESK_ADDRESS)")

    def get(self, path: str, **query: str | None) -> Json:
        """Look."""
        return self.call("GET", path, params={name: value for name, value in query.items() if value is not None})

    def pages(self, path: str, member: str, **query: str | None) -> Iterator[Json]:
        """Everything of a list, page by page."""
        after: str | None = None
        while True:
            page = self.get(path, **query, after=after)
            yield from page[member]
            after = page["next"]
            if after is None:
                return

    def post(self, path: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Json:
        """Say something."""
        return self.call("POST", path, json=dict(body), headers=dict(headers or {}))

    def sign_out(self) -> None:
        """End the session that the token is of. Raises as ``call`` does."""
        import requests  # noqa: PLC0415  # few commands need it

        headers = {"Authorization": f"Bearer {self._token()}"}
        try:
            answer = requests.post(f"{self.address}/sign-out", headers=headers, timeout=_SECONDS, allow_redirects=False)
        except requests.RequestException as error:
            raise CloudUnreachable(f"the desk at {self.address} does not answer ({type(error).__name__})") from None
        if answer.status_code != 200:
            raise NotSo(f"{self.address} did not sign out: it answered with {answer.status_code}")

    def call(self, method: str, path: str, *, signed_in: bool = True, **how: Any) -> Json:
        """One call. Raises NotSo with what the desk says is wrong, CloudUnreachable, SettingsError where nobody is signed in."""
        import requests  # noqa: PLC0415  # few commands need it

        headers = how.pop("headers", {})
        if signed_in:
            headers["Authorization"] = f"Bearer {self._token()}"
        url = f"{self.address}/api/v1{path}"
        try:
            answer = requests.request(method, url, headers=headers, timeout=_SECONDS, allow_redirects=False, **how)
            found = answer.json()
        except requests.RequestException as error:
            raise CloudUnreachable(f"the desk at {self.address} does not answer ({type(error).__name__})") from None
        except ValueError:
            raise NotSo(
                f"{self.address} is no desk: it answered {method} {path} with something that is no JSON"
            ) from None
        if not isinstance(found, dict):
            raise NotSo(f"{self.address} is no desk: it answered {method} {path} with a list")
        if answer.status_code >= 400:
            fields = "; ".join(map(str, found.get("fields") or []))
            raise NotSo(
                f"{fields or found.get('detail', answer.status_code)} ({found.get('code', answer.status_code)})"
            )
        return found

    def _token(self) -> str:
        token = os.environ.get("ECR_GRANTS_TOKEN") or _tokens().get(self.address)
        if not token:
            raise SettingsError(f"nobody is signed in at {self.address}: run `ecr-grants login`")
        return token
