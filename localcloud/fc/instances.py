"""Function instances: one worker process each, with what the platform puts around it.

An instance is started once (import, initializer), then takes requests: one at a time on the built-in runtimes, up to
``instanceConcurrency`` on custom ones. Between requests it is frozen. What it may run for is real time, like the work
it does; only its credentials live by the cloud's clock. This is what both kinds have in common.
"""

import contextlib
import secrets
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localcloud.clock import Clock
from localcloud.fc.invocations import Fate, Invocation, Outcome, error_json
from localcloud.fc.logs import FunctionLog
from localcloud.fc.processes import ForkServer, Reaper, WorkerProcess
from localcloud.fc.template.props import Props
from localcloud.switches import Switches
from localcloud.world import Credentials, World

CREDENTIALS_LAST = 36 * 3600
"""Seconds a function's temporary credentials are valid (function-compute.md section 4.3)."""
_RENEW_BEFORE = 1800
LOAD_LIMIT = 300.0
"""Real seconds an instance may take to start and import its handler."""
GRACE = 1.0
"""Real seconds between asking a process to end and killing it."""
LEAVE = 10.0
"""Real seconds a process may take to end by itself: time for atexit handlers on a busy machine."""


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
    interpreters: Mapping[str, Path]
    """By runtime, the Python that runs packages as built; without one it is this one, with its packages."""
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

    @property
    def outlives_time_outs(self) -> bool:
        """Whether a request that takes too long leaves its instance to the others."""
        return self.around.switches.time_out_ends == "request" and self.props.instance_concurrency > 1

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
        """Paths below /code mean the code folder, which is not mounted there on this machine."""
        if name not in {"PYTHONPATH", "PATH"} and not value.startswith("/code/"):
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
        if not self.outlives_time_outs:
            self.ending = True
            if self.process is not None:
                await self.process.end(GRACE)
        return self.outcome("timed_out", error_json(f"Function timed out after {limit:g} seconds"), started)

    async def crashed(self, started: float) -> Outcome:
        """The process ended under a request; only when it is really gone is its place free."""
        self.ending = True
        if self.process is not None:
            await self.process.leave(GRACE)
        took = (time.monotonic() - started) * 1000
        how = self.how_it_ended()
        return self.outcome(
            "crashed",
            error_json(f"Process exited unexpectedly before completing request (duration: {took:.0f}ms, {how})"),
            started,
        )

    def how_it_ended(self) -> str:
        """The process's signal or exit code, for messages."""
        code = self.process.exit_code if self.process is not None else None
        return f"signal: {-code}" if code is not None and code < 0 else f"exit code: {code}"

    def outcome(self, fate: Fate, payload: bytes, started: float) -> Outcome:
        """The end of an invocation that began at ``started``."""
        return Outcome(fate, payload, self.id, (time.monotonic() - started) * 1000)
