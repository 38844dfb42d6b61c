"""Function instances: one worker process each, with what the platform puts around it.

An instance is started once (import, initializer), then takes requests: one at a time on the built-in runtimes, up to
``instanceConcurrency`` on custom ones. Between requests it is frozen. What it may run for is real time, like the work
it does; only its credentials live by the cloud's clock.
"""

import asyncio
import contextlib
import json
import os
import secrets
import socket
import struct
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import aiohttp

from localcloud.clock import Clock
from localcloud.fc.logs import FunctionLog
from localcloud.fc.processes import ForkServer, Reaper, WorkerProcess
from localcloud.fc.template.props import Hook, LogConfig, Props
from localcloud.switches import Switches
from localcloud.world import Credentials, World

CREDENTIALS_LAST = 36 * 3600
"""Seconds a function's temporary credentials are valid (function-compute.md section 4.3)."""
_RENEW_BEFORE = 1800
_LOAD_LIMIT = 300.0
"""Real seconds an instance may take to start and import its handler."""
_GRACE = 1.0
"""Real seconds between asking a process to end and killing it."""
_LEAVE = 10.0
"""Real seconds a process may take to end by itself: time for atexit handlers on a busy machine."""
_LENGTHS = struct.Struct(">II")
_BOOTSTRAP = Path(__file__).with_name("bootstrap.py")

Fate = Literal["returned", "raised", "timed_out", "crashed", "not_started"]


@dataclass(frozen=True)
class Invocation:
    """One request to a function."""

    request_id: str
    payload: bytes
    retry_count: int = 0
    timeout: float = field(default=86_400.0)
    """Real seconds this caller lets the function run; the function's own limit applies too."""


@dataclass(frozen=True)
class Outcome:
    """How an invocation ended."""

    fate: Fate
    payload: bytes
    instance_id: str
    milliseconds: float

    @property
    def error_type(self) -> str:
        """What X-Fc-Error-Type says; empty when the function returned (section 3.5)."""
        if self.fate == "returned":
            return ""
        return "UnhandledInitializationError" if self.fate == "not_started" else "UnhandledInvocationError"

    @property
    def message(self) -> str:
        """The error message, for people; empty when the function returned."""
        if self.fate == "returned":
            return ""
        try:
            return str(json.loads(self.payload)["errorMessage"])
        except (ValueError, KeyError, TypeError):
            return self.payload.decode(errors="replace")


class StartFailed(Exception):
    """An instance did not come up; carries the error as the caller will see it."""

    def __init__(self, payload: bytes) -> None:
        super().__init__(Outcome("not_started", payload, "", 0.0).message)
        self.payload = payload


class Gone(Exception):
    """The process went away in the middle of a request."""


def error_json(message: str, error_type: str = "") -> bytes:
    """An error of the platform's making, in the shape of those that handlers raise."""
    error: dict[str, Any] = {"errorMessage": message}
    if error_type:
        error["errorType"] = error_type
    return json.dumps(error).encode()


@dataclass(frozen=True)
class Surroundings:
    """What an instance needs of the cloud around it."""

    clock: Clock
    world: World
    switches: Switches
    reaper: Reaper
    forkserver: ForkServer | None
    account: str
    region: str
    forwarded: Mapping[str, str]
    """Variables of the local cloud's own environment that workers may see (coverage measurement uses it)."""


class Instance(ABC):
    """What both kinds of instances have in common."""

    def __init__(self, props: Props, code: Path, role: str, log: FunctionLog, around: Surroundings) -> None:
        self.props = props
        self.code = code
        self.log = log
        self.around = around
        self.id = f"c-{secrets.token_hex(4)}-{secrets.token_hex(8)}"
        self.keys: set[str] = set()
        """Every access key it was ever given: the start of its role chains."""
        self.active: dict[str, float] = {}
        """Request ids it works on, and since when (real time)."""
        self.invocations = 0
        self.started_at = around.clock.now()
        self.ending = False
        """It takes no more requests."""
        self._role = role
        self._credentials: Credentials | None = None
        self.process: WorkerProcess | None = None

    @abstractmethod
    async def start(self) -> None:
        """Bring it up; raises StartFailed."""

    @abstractmethod
    async def invoke(self, invocation: Invocation) -> Outcome:
        """Let it work on one event."""

    @abstractmethod
    async def stop(self) -> None:
        """End it in peace: pre-stop hook, then out."""

    @abstractmethod
    def release(self) -> None:
        """The process is gone: let go of what tied this side to it."""

    @property
    def frozen(self) -> bool:
        """Whether it stands still because nobody asks anything of it."""
        return self.process is not None and self.process.frozen

    def kill(self) -> None:
        """End its process at once."""
        self.ending = True
        if self.process is not None:
            self.process.kill()

    def snapshot(self) -> dict[str, Any]:
        """For people and tests; no secrets."""
        return {
            "id": self.id,
            "pid": self.process.pid if self.process else None,
            "state": "ending" if self.ending else "busy" if self.active else "frozen" if self.frozen else "idle",
            "requests": list(self.active),
            "invocations": self.invocations,
            "access_key_ids": sorted(self.keys),
        }

    def key(self) -> list[str] | None:
        """Credentials with a good while to live, as the worker is handed them; None without a role."""
        if not self._role:
            return None
        now = self.around.clock.now()
        held = self._credentials
        session = self.around.world.sessions.get(held.access_key_id) if held else None
        if held is None or session is None or session.expires - now < _RENEW_BEFORE:
            held = self.around.world.mint_role_session(
                self.around.account,
                self._role,
                self.props.function_name.replace("$", "-")[:64],
                CREDENTIALS_LAST,
                function=self.props.function_name,
            )
            self._credentials = held
            self.keys.add(held.access_key_id)
        return [held.access_key_id, held.access_key_secret, held.security_token]

    def environment(self) -> dict[str, str]:
        """The variables of the platform, the template's, and nothing else (section 4.4)."""
        props = self.props
        service, dollar, _ = props.function_name.partition("$")
        old = props.runtime in {"python3.9", "python3.10", "custom", "custom.debian10"}
        variables = {
            "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
            **self.around.forwarded,
            **{name: self._mounted(name, value) for name, value in props.environment_variables.items()},
            "FC_FUNC_CODE_PATH": str(self.code),
            "FC_ACCOUNT_ID": self.around.account,
            "FC_FUNCTION_HANDLER": props.handler,
            "FC_FUNCTION_MEMORY_SIZE": str(props.memory_size),
            "FC_FUNCTION_NAME": props.function_name,
            "FC_REGION": self.around.region,
            "FC_CUSTOM_LISTEN_PORT": str(self.port()),
            "FC_INSTANCE_ID": self.id,
            "FC_VER_ID" if old else "FC_FUNCTION_VERSION": "LATEST",
        }
        if dollar:
            variables |= {"FC_SERVICE_NAME": service, "FC_QUALIFIER": "LATEST"}
        key = self.key()
        if key is not None:
            variables["ALIBABA_CLOUD_ACCESS_KEY_ID"] = key[0]
            variables["ALIBABA_CLOUD_ACCESS_KEY_SECRET"] = key[1]
            variables["ALIBABA_CLOUD_SECURITY_TOKEN"] = key[2]
        return variables

    def _mounted(self, name: str, value: str) -> str:
        """Search paths that name /code mean the code folder, which is not mounted there on this machine."""
        if name not in {"PYTHONPATH", "PATH"}:
            return value
        steps = [
            f"{self.code}{step.removeprefix('/code')}" if step == "/code" or step.startswith("/code/") else step
            for step in value.split(":")
        ]
        return ":".join(steps)

    def port(self) -> int:
        """The port a custom runtime listens on; built-in ones show the documented default."""
        return 9000

    def remark(self, request_id: str, text: str) -> None:
        """A line of the platform's own in the function's log."""
        self.log.write(self.id, request_id, "runtime", text)

    def heard(self, stream: str, text: str) -> None:
        """A line that the process printed."""
        request_id = next(iter(self.active)) if len(self.active) == 1 else ""
        self.log.write(self.id, request_id, stream, text)

    @contextlib.contextmanager
    def working(self, request_id: str) -> Any:
        """Thaw for one request; freeze again when it was the last."""
        if self.process is not None:
            self.process.thaw()
        self.active[request_id] = time.monotonic()
        self.invocations += 1
        self.remark(request_id, f"FC Invoke Start RequestId: {request_id}")
        try:
            yield
        finally:
            if self.process is not None:
                self.process.drain()
            self.remark(request_id, f"FC Invoke End RequestId: {request_id}")
            del self.active[request_id]
            if not self.active:
                self.rest()

    def rest(self) -> None:
        """Freeze, when that is how this cloud is set and there is nothing to do."""
        if self.process is not None and not self.ending and self.around.switches.freeze == "on":
            self.process.freeze()

    async def timed_out(self, limit: float, started: float) -> Outcome:
        """Nobody runs longer than allowed: SIGTERM first, then SIGKILL (section 4.4)."""
        self.ending = True
        if self.process is not None:
            await self.process.end(_GRACE)
        return self.outcome("timed_out", error_json(f"Function timed out after {limit:g} seconds"), started)

    async def crashed(self, started: float) -> Outcome:
        """The process ended under a request; only when it is really gone is its place free."""
        self.ending = True
        if self.process is not None:
            await self.process.leave(_GRACE)
        took = (time.monotonic() - started) * 1000
        how = self._ending()
        return self.outcome(
            "crashed",
            error_json(f"Process exited unexpectedly before completing request (duration: {took:.0f}ms, {how})"),
            started,
        )

    def _ending(self) -> str:
        code = self.process.exit_code if self.process is not None else None
        return f"signal: {-code}" if code is not None and code < 0 else f"exit code: {code}"

    def outcome(self, fate: Fate, payload: bytes, started: float) -> Outcome:
        """The end of an invocation that began at ``started``."""
        return Outcome(fate, payload, self.id, (time.monotonic() - started) * 1000)


class PythonInstance(Instance):
    """A worker of a built-in Python runtime: ``bootstrap.py`` at the other end of a socket."""

    _streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def start(self) -> None:
        """Start the interpreter, import the handler, run the initializer."""
        ours, theirs = socket.socketpair()
        try:
            self.process = await WorkerProcess.start_script(
                _BOOTSTRAP,
                theirs,
                environment=self.environment(),
                folder=self.code,
                reaper=self.around.reaper,
                forkserver=self.around.forkserver,
                on_line=self.heard,
            )
        except OSError as problem:
            ours.close()
            raise StartFailed(error_json(f"the worker process cannot be started: {problem.strerror}")) from None
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self._streams = await asyncio.open_connection(sock=ours)
        await self._prepare("start", "import of the handler", _LOAD_LIMIT)
        initializer = self.props.instance_lifecycle_config.initializer
        if initializer is not None:
            await self._prepare("initialize", "initializer", float(initializer.timeout), initializer)
        self.rest()

    async def _prepare(self, step: str, what: str, limit: float, hook: Hook | None = None) -> None:
        request_id = new_request_id()
        self.active[request_id] = time.monotonic()
        try:
            async with asyncio.timeout(limit):
                ok, answer = await self._ask(self._head(step, request_id, hook), b"")
        except TimeoutError:
            await self._abandon(f"{what} timed out after {limit:g} seconds")
        except Gone:
            if self.process is not None:
                await self.process.leave(_GRACE)
                self.process.drain()
            words = self.log.last_words(self.id)
            await self._abandon(
                f"the process ended during the {what} ({self._ending()})" + (f":\n{words}" if words else "")
            )
        else:
            if self.process is not None:
                self.process.drain()
            if not ok:
                self.kill()
                raise StartFailed(answer)
        finally:
            self.active.pop(request_id, None)

    async def _abandon(self, why: str) -> None:
        self.ending = True
        if self.process is not None:
            await self.process.end(_GRACE)
        raise StartFailed(error_json(why))

    def _head(self, step: str, request_id: str, hook: Hook | None = None) -> dict[str, Any]:
        props = self.props
        head: dict[str, Any] = {"do": step, "request_id": request_id, "credentials": self.key()}
        if hook is not None:
            head["handler"] = hook.handler
        if step == "start":
            log = props.log_config if isinstance(props.log_config, LogConfig) else None
            service, dollar, _ = props.function_name.partition("$")
            head |= {
                "code": str(self.code),
                "modern": props.runtime == "python3.12",
                "region": self.around.region,
                "account_id": self.around.account,
                "service": service if dollar else "",
                "log_project": log.project if log else "",
                "log_store": log.logstore if log else "",
                "function": {
                    "name": props.function_name,
                    "handler": props.handler,
                    "memory": props.memory_size,
                    "timeout": props.timeout,
                },
            }
        return head

    async def invoke(self, invocation: Invocation) -> Outcome:
        """Send the event, wait for the answer, no longer than allowed."""
        started = time.monotonic()
        limit = min(float(self.props.timeout), invocation.timeout)
        with self.working(invocation.request_id):
            head = self._head("invoke", invocation.request_id) | {"retry_count": invocation.retry_count}
            try:
                async with asyncio.timeout(limit):
                    ok, answer = await self._ask(head, invocation.payload)
            except TimeoutError:
                return await self.timed_out(limit, started)
            except Gone:
                return await self.crashed(started)
            except asyncio.CancelledError:
                self.kill()
                raise
            return self.outcome("returned" if ok else "raised", answer, started)

    async def stop(self) -> None:
        """Pre-stop hook, then out; insisting when it does not go."""
        self.ending = True
        if self.process is None:
            return
        self.process.thaw()
        hook = self.props.instance_lifecycle_config.pre_stop
        if not self.active and not self.process.ended:
            with contextlib.suppress(ConnectionError):
                await self._write(self._head("stop", new_request_id(), hook), b"")
            # Room for the interpreter to leave properly, atexit handlers included.
            await self.process.leave((hook.timeout if hook else 0) + _LEAVE)
        else:
            await self.process.end(_GRACE)

    def release(self) -> None:
        """Close this end of the socket."""
        if self._streams is not None:
            self._streams[1].close()

    async def _ask(self, head: dict[str, Any], body: bytes) -> tuple[bool, bytes]:
        """One exchange; raises Gone when the worker is not there any more."""
        if self._streams is None:
            raise Gone
        reader = self._streams[0]
        try:
            await self._write(head, body)
            head_length, body_length = _LENGTHS.unpack(await reader.readexactly(_LENGTHS.size))
            reply = json.loads(await reader.readexactly(head_length))
            return bool(reply["ok"]), await reader.readexactly(body_length)
        except (asyncio.IncompleteReadError, ConnectionError) as problem:
            raise Gone from problem

    async def _write(self, head: dict[str, Any], body: bytes) -> None:
        if self._streams is None:
            return
        text = json.dumps(head).encode()
        writer = self._streams[1]
        writer.write(_LENGTHS.pack(len(text), len(body)) + text + body)
        await writer.drain()


class CustomInstance(Instance):
    """A server of the function's own, started by its command and spoken to over HTTP."""

    def __init__(self, props: Props, code: Path, role: str, log: FunctionLog, around: Surroundings) -> None:
        super().__init__(props, code, role, log, around)
        self._port = free_port()

    def port(self) -> int:
        """A free port instead of the template's: several instances share this machine, so the server must read it."""
        return self._port

    @property
    def base(self) -> str:
        """Where the server listens."""
        return f"http://127.0.0.1:{self._port}"

    async def start(self) -> None:
        """Start the command and wait until something listens; then call the initializer, if there is one."""
        config = self.props.custom_runtime_config
        command = [*(config.command if config else ()), *(config.args if config else ())]
        if Path(command[0]).name.startswith("python3") and "/" not in command[0]:
            command[0] = sys.executable  # whichever interpreter the image has, here it is the one with the packages
        try:
            self.process = await WorkerProcess.start(
                command,
                environment=self.environment(),
                folder=self.code,
                reaper=self.around.reaper,
                on_line=self.heard,
            )
        except OSError as problem:
            raise StartFailed(error_json(f"the command {command[0]!r} cannot be run: {problem.strerror}")) from None
        try:
            async with asyncio.timeout(_LOAD_LIMIT):
                await self._listening()
        except TimeoutError:
            await self.process.end(_GRACE)
            raise StartFailed(
                error_json(f"nothing listens on port {self._port}; the server must use FC_CUSTOM_LISTEN_PORT")
            ) from None
        initializer = self.props.instance_lifecycle_config.initializer
        if initializer is not None:
            await self._hook("/initialize", float(initializer.timeout))
        self.rest()

    async def _listening(self) -> None:
        process = self.process
        while process is not None:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self._port)
            except OSError:
                if process.ended:
                    process.drain()
                    words = self.log.last_words(self.id)
                    why = f"the server ended before it listened ({self._ending()})" + (f":\n{words}" if words else "")
                    raise StartFailed(error_json(why)) from None
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return

    async def _hook(self, path: str, limit: float) -> None:
        request_id = new_request_id()
        outcome = await self._post(path, Invocation(request_id, b"", timeout=limit), limit, time.monotonic())
        if outcome.fate != "returned":
            self.kill()
            raise StartFailed(outcome.payload)

    async def invoke(self, invocation: Invocation) -> Outcome:
        """An event reaches a custom runtime as POST /invoke."""
        started = time.monotonic()
        with self.working(invocation.request_id):
            limit = min(float(self.props.timeout), invocation.timeout)
            return await self._post("/invoke", invocation, limit, started)

    async def _post(self, path: str, invocation: Invocation, limit: float, started: float) -> Outcome:
        headers = {"Content-Type": "application/octet-stream", **self.headers(invocation.request_id, path)}
        try:
            async with (
                asyncio.timeout(limit),
                aiohttp.ClientSession(auto_decompress=False) as session,
                session.post(f"{self.base}{path}", data=invocation.payload, headers=headers) as response,
            ):
                answer = await response.read()
        except TimeoutError:
            return await self.timed_out(limit, started)
        except aiohttp.ClientError:
            return await self.broke_off(started)
        except asyncio.CancelledError:
            self.kill()
            raise
        failed = response.status >= 400 or response.headers.get("x-fc-status", "200") != "200"
        return self.outcome("raised" if failed else "returned", answer, started)

    async def broke_off(self, started: float) -> Outcome:
        """The connection ended before the answer did: because the process died, or because the server wanted it so."""
        if self.process is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_GRACE / 2):
                    await self.process.wait()
        if self.process is None or self.process.ended or self.ending:
            return await self.crashed(started)
        return self.outcome("crashed", error_json("the server broke the connection off"), started)

    def headers(self, request_id: str, path: str) -> dict[str, str]:
        """What the platform tells a custom runtime with each request."""
        headers = {
            "x-fc-request-id": request_id,
            "x-fc-function-name": self.props.function_name,
            "x-fc-function-handler": self.props.handler,
            "x-fc-function-memory": str(self.props.memory_size),
            "x-fc-function-timeout": str(self.props.timeout),
            "x-fc-region": self.around.region,
            "x-fc-account-id": self.around.account,
            "x-fc-control-path": path,
        }
        key = self.key()
        if key is not None:
            headers |= {
                "x-fc-access-key-id": key[0],
                "x-fc-access-key-secret": key[1],
                "x-fc-security-token": key[2],
            }
        return headers

    def release(self) -> None:
        """Nothing ties this side to a server that is gone."""

    async def stop(self) -> None:
        """SIGTERM, as on the platform; insisting when it does not go."""
        self.ending = True
        if self.process is None:
            return
        self.process.thaw()
        hook = self.props.instance_lifecycle_config.pre_stop
        if hook is not None and not self.process.ended:
            with contextlib.suppress(StartFailed):
                await self._hook("/pre-stop", float(hook.timeout))
        await self.process.end(_LEAVE)


def free_port() -> int:
    """A loopback port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def new_request_id() -> str:
    """A request id in the platform's form."""
    raw = os.urandom(16).hex()
    return f"1-{raw[:8]}-{raw[8:20]}-{raw[20:32]}"
