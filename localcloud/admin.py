"""The admin API of the local cloud: JSON over loopback, unsigned, for tests and for people.

Journal, world snapshot, clock, planned trouble, switches, quotas, secrets and the functions' logs. A bad request is answered
400 with a reason and changes nothing.
"""

import ipaddress
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from aiohttp import web
from pydantic import ValidationError

from localcloud.clock import iso_precise
from localcloud.faults import Plan
from localcloud.fc.service import FcService
from localcloud.kernel import Cloud
from localcloud.mns.service import MnsService
from localcloud.oauth.service import OauthService

PREFIX = "/_localcloud/"
MOST_WAIT_SECONDS = 60.0
MOST_TURN_SECONDS = 10 * 366 * 86_400.0


class BadRequest(Exception):
    """What was asked cannot be done; the reason is for people."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.status = status


class _Asked:
    """One admin request, read strictly."""

    def __init__(self, method: str, path: list[str], query: dict[str, str], body: Any) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.body = body

    def only(self, *names: str) -> None:
        """Refuse query parameters nobody reads."""
        for name in self.query:
            if name not in names:
                raise BadRequest(f"unknown query parameter {name!r}; known here: {', '.join(names) or 'none'}")

    def number(self, name: str, default: int) -> int:
        """A whole number from the query."""
        text = self.query.get(name, str(default))
        if not (text.isascii() and text.isdigit() and len(text) < 16):
            raise BadRequest(f"{name}: a whole number is wanted, found {text!r}")
        return int(text)

    def seconds(self, name: str) -> float:
        """A duration from the query, at most a minute."""
        text = self.query.get(name, "0")
        try:
            value = float(text)
        except ValueError as error:
            raise BadRequest(f"{name}: seconds are wanted, found {text!r}") from error
        if not 0 <= value <= MOST_WAIT_SECONDS:
            raise BadRequest(f"{name}: 0 to {MOST_WAIT_SECONDS:g} seconds are possible, found {text!r}")
        return value

    def mapping(self) -> dict[str, Any]:
        """The body, which must be a JSON object."""
        if not isinstance(self.body, dict):
            raise BadRequest(f"the body must be a JSON object, found {self.body!r}")
        return self.body


class Admin:
    """Answers under /_localcloud/."""

    def __init__(self, cloud: Cloud, mns: MnsService, fc: FcService, oauth: OauthService) -> None:
        self._cloud = cloud
        self._mns = mns
        self._fc = fc
        self._oauth = oauth
        self._routes: dict[tuple[str, str], Callable[[_Asked], Awaitable[Any]]] = {
            ("GET", "health"): self._health,
            ("GET", "journal"): self._journal,
            ("GET", "world"): self._world,
            ("GET", "clock"): self._clock,
            ("POST", "clock"): self._turn_clock,
            ("GET", "faults"): self._faults,
            ("POST", "faults"): self._plan_fault,
            ("DELETE", "faults"): self._clear_faults,
            ("GET", "switches"): self._switches,
            ("PUT", "switches"): self._turn_switches,
            ("GET", "quotas"): self._quotas,
            ("PUT", "quotas"): self._change_quotas,
            ("PUT", "secrets"): self._put_secret,
            ("GET", "functions"): self._functions,
            ("POST", "functions"): self._kill_function,
            ("POST", "deploy"): self._deploy,
        }

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Wire in, wire out."""
        try:
            asked = await _read(request)
            route = self._route(asked)
            answer, status = await route(asked), 200
        except BadRequest as bad:
            answer, status = {"error": str(bad)}, bad.status
        return web.Response(
            status=status, body=json.dumps(answer, default=str).encode(), content_type="application/json"
        )

    def _route(self, asked: _Asked) -> Callable[[_Asked], Awaitable[Any]]:
        route = self._routes.get((asked.method, asked.path[0]))
        if route is not None:
            return route
        known = sorted({method for method, name in self._routes if name == asked.path[0]})
        if known:
            raise BadRequest(f"{asked.method} is not possible here; possible: {', '.join(known)}", 405)
        names = sorted({name for _, name in self._routes})
        raise BadRequest(f"nothing at {asked.path[0]!r}; known: {', '.join(names)}", 404)

    async def _health(self, asked: _Asked) -> Any:
        asked.only()
        return {"status": "ok", "address": self._cloud.address, "time": iso_precise(self._cloud.clock.now())}

    async def _journal(self, asked: _Asked) -> Any:
        asked.only("after", "wait", "service", "operation", "account", "limit")
        after = asked.number("after", 0)
        filters = {name: asked.query.get(name, "") for name in ("service", "operation", "account")}
        limit = asked.number("limit", 0) or None
        journal = self._cloud.journal
        await journal.wait(after, asked.seconds("wait"))
        entries = journal.read(after, **filters, limit=limit)
        # A reader that filters goes on behind everything it has seen, matching or not.
        last = entries[-1]["number"] if limit and len(entries) == limit else journal.last
        return {"entries": entries, "last": last}

    async def _world(self, asked: _Asked) -> Any:
        asked.only()
        now = self._cloud.clock.now()
        return {
            "time": iso_precise(now),
            **self._cloud.world.snapshot(),
            **self._cloud.network.snapshot(now),
            "mns": self._mns.snapshot(),
            "fc": self._fc.snapshot(),
            "oauth": self._oauth.snapshot(),
        }

    async def _clock(self, asked: _Asked) -> Any:
        asked.only()
        return {"time": iso_precise(self._cloud.clock.now())}

    async def _turn_clock(self, asked: _Asked) -> Any:
        asked.only()
        body = asked.mapping()
        seconds = body.get("advance")
        if set(body) != {"advance"} or isinstance(seconds, bool) or not isinstance(seconds, int | float):
            raise BadRequest('the body must be {"advance": seconds}')
        if not 0 <= seconds <= MOST_TURN_SECONDS:
            raise BadRequest(f"advance: 0 to {MOST_TURN_SECONDS:g} seconds are possible, found {seconds}")
        self._cloud.clock.advance(float(seconds))
        return {"time": iso_precise(self._cloud.clock.now())}

    async def _faults(self, asked: _Asked) -> Any:
        asked.only()
        return {"faults": self._cloud.faults.list()}

    async def _plan_fault(self, asked: _Asked) -> Any:
        asked.only()
        try:
            plan = Plan.model_validate(asked.mapping())
        except ValidationError as error:
            raise BadRequest(_problems(error)) from error
        return self._cloud.faults.plan(plan).to_json()

    async def _clear_faults(self, asked: _Asked) -> Any:
        asked.only("number")
        number = asked.number("number", 0) if "number" in asked.query else None
        return {"cleared": self._cloud.faults.clear(number)}

    async def _switches(self, asked: _Asked) -> Any:
        asked.only()
        return {"switches": self._cloud.switches.explained()}

    async def _turn_switches(self, asked: _Asked) -> Any:
        asked.only()
        switches = self._cloud.switches
        wanted = {**switches.model_dump(), **asked.mapping()}
        try:
            # All together first, so that one bad value leaves the others as they were.
            type(switches).model_validate(wanted)
        except ValidationError as error:
            raise BadRequest(_problems(error)) from error
        for name, value in asked.mapping().items():
            setattr(switches, name, value)
        return {"switches": switches.explained()}

    async def _quotas(self, asked: _Asked) -> Any:
        asked.only()
        return {"quotas": self._cloud.quotas.table()}

    async def _change_quotas(self, asked: _Asked) -> Any:
        asked.only()
        try:
            self._cloud.quotas.change(asked.mapping())
        except ValidationError as error:
            raise BadRequest(_problems(error)) from error
        except ValueError as error:
            raise BadRequest(str(error)) from error
        return {"quotas": self._cloud.quotas.table()}

    async def _put_secret(self, asked: _Asked) -> Any:
        asked.only()
        body = asked.mapping()
        if set(body) != {"account", "name", "value"} or not all(isinstance(each, str) for each in body.values()):
            raise BadRequest('the body must be {"account": uid, "name": name, "value": text}')
        secret = self._cloud.world.secrets.get((body["account"], body["name"]))
        if secret is None or not body["value"]:
            what = "value: must not be empty" if secret else f"account {body['account']} has no secret {body['name']!r}"
            raise BadRequest(what, 400 if secret else 404)
        return {"name": body["name"], "version": secret.put(body["value"]).name}

    async def _functions(self, asked: _Asked) -> Any:
        if len(asked.path) == 1:
            asked.only()
            return {"functions": self._fc.functions()}
        if len(asked.path) != 3 or asked.path[2] != "logs":
            raise BadRequest("possible: functions, functions/{name}/logs", 404)
        asked.only("after", "wait")
        self._known_function(asked.path[1])
        return await self._fc.logs(asked.path[1], asked.number("after", 0), asked.seconds("wait"))

    async def _kill_function(self, asked: _Asked) -> Any:
        asked.only()
        if len(asked.path) != 3 or asked.path[2] != "kill":
            raise BadRequest("possible: functions/{name}/kill", 404)
        self._known_function(asked.path[1])
        return {"killed": await self._fc.kill(asked.path[1])}

    def _known_function(self, name: str) -> None:
        if not self._fc.knows(name):
            raise BadRequest(f"no function {name!r}", 404)

    async def _deploy(self, asked: _Asked) -> Any:
        asked.only()
        body = asked.mapping()
        template, env = body.get("template"), body.get("env", {})
        if set(body) - {"template", "env"} or not isinstance(template, str):
            raise BadRequest('the body must be {"template": path, "env": {...}}')
        if not isinstance(env, dict) or not all(isinstance(value, str) for value in env.values()):
            raise BadRequest("env: a mapping of strings is wanted")
        try:
            await self._fc.deploy(Path(template), {**env})
        except ValueError as error:
            raise BadRequest(str(error)) from error
        return {"functions": self._fc.functions()}


async def _read(request: web.BaseRequest) -> _Asked:
    """Read a request, and refuse what a web page of another origin could have sent from a person's browser."""
    host = request.headers.get("Host", "").rpartition(":")[0] or request.headers.get("Host", "")
    if "Origin" in request.headers or not (host == "localhost" or _loopback(host.strip("[]"))):
        raise BadRequest("the admin side answers to programs on this machine only", 403)
    parts = urlsplit(request.raw_path)
    path = [unquote(part) for part in parts.path.removeprefix(PREFIX).split("/")]
    pairs = parse_qsl(parts.query, keep_blank_values=True, max_num_fields=50)
    query = dict(pairs)
    if len(query) != len(pairs):
        raise BadRequest("a query parameter is given more than once")
    raw = await request.read()
    try:
        body = json.loads(raw, parse_constant=_no_constant) if raw else None
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body is not JSON: {error}") from error
    return _Asked(request.method, path, query, body)


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _problems(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, problem['loc'])) or 'the body'}: {problem['msg']}" for problem in error.errors()
    )
