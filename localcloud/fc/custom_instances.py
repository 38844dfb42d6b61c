"""Instances of custom runtimes: a server of the function's own, spoken to over HTTP."""

import asyncio
import contextlib
import re
import socket
import sys
import time
from pathlib import Path

import aiohttp

from localcloud.fc.instances import GRACE, LEAVE, LOAD_LIMIT, Instance, Surroundings
from localcloud.fc.invocations import Invocation, Outcome, StartFailed, error_json, new_request_id
from localcloud.fc.logs import FunctionLog
from localcloud.fc.processes import WorkerProcess
from localcloud.fc.template.props import LogConfig, Props


class CustomInstance(Instance):
    """A server of the function's own, started by its command and spoken to over HTTP."""

    def __init__(self, props: Props, code: Path, role: str, log: FunctionLog, around: Surroundings) -> None:
        super().__init__(props, code, role, log, around)
        self._port = free_port()

    def port(self) -> int:
        """A free port instead of the template's: several instances share this machine."""
        return self._port

    @property
    def base(self) -> str:
        """Where the server listens."""
        return f"http://127.0.0.1:{self._port}"

    async def start(self) -> None:
        """Start the command and wait until something listens; then the initializer and the first health check, if any."""
        command = self._command()
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
            async with asyncio.timeout(LOAD_LIMIT):
                await self._listening()
        except TimeoutError:
            await self.process.end(GRACE)
            raise StartFailed(
                error_json(f"nothing listens on port {self._port}; the server must use FC_CUSTOM_LISTEN_PORT")
            ) from None
        self._reachable()
        initializer = self.props.instance_lifecycle_config.initializer
        if initializer is not None:
            await self._hook("/initialize", float(initializer.timeout))
        await self._healthy()
        self.rest()

    def _command(self) -> list[str]:
        """The command with this machine's interpreter, and this instance's port wherever the template's stands."""
        config = self.props.custom_runtime_config
        if config is None:
            raise StartFailed(error_json("there is no command"))
        port = re.compile(rf"(.*[=:])?{config.port}")
        command = [port.sub(rf"\g<1>{self._port}", word) if port.fullmatch(word) else word for word in config.args]
        if not config.python:
            return [*config.command, *command]
        # Whichever interpreter the image has, here it is the one with the packages, or the package's own without any.
        python = self.around.interpreters.get(config.python)
        return [*([sys.executable] if python is None else [str(python), "-S"]), *config.command[1:], *command]

    def _reachable(self) -> None:
        """The platform asks from outside: a server that listens on 127.0.0.1 only is never reached (deploy.md section 6)."""
        if listens_on_loopback_only(self._port):
            why = f"the server listens on 127.0.0.1:{self._port} only; on the platform it must be 0.0.0.0 (FunctionNotStarted)"
            if self.around.switches.loopback_server == "refused":
                self.kill()
                raise StartFailed(error_json(why))
            self.remark("", why)

    async def _healthy(self) -> None:
        """The first health check decides whether the instance has started; 200 to 399 is healthy."""
        config = self.props.custom_runtime_config
        check = config.health_check_config if config is not None else None
        if check is None:
            return
        await asyncio.sleep(check.initial_delay_seconds)
        said = "no answer"
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with (
                asyncio.timeout(check.timeout_seconds),
                aiohttp.ClientSession() as session,
                session.get(f"{self.base}{check.http_get_url}", allow_redirects=False) as response,
            ):
                if 200 <= response.status < 400:
                    return
                said = f"status {response.status}"
        self.kill()
        raise StartFailed(error_json(f"the first health check of {check.http_get_url} failed: {said}"))

    async def _listening(self) -> None:
        process = self.process
        while process is not None:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self._port)
            except OSError:
                if process.ended:
                    process.drain()
                    words = self.log.last_words(self.id)
                    why = f"the server ended before it listened ({self.how_it_ended()})" + (
                        f":\n{words}" if words else ""
                    )
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
                async with asyncio.timeout(GRACE / 2):
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
            "x-fc-qualifier": "LATEST",
            "x-fc-version-id": "",
            "x-fc-region": self.around.region,
            "x-fc-account-id": self.around.account,
            "x-fc-retry-count": "0",
            "x-fc-control-path": path,
        }
        log = self.props.log_config
        project, logstore = (log.project, log.logstore) if isinstance(log, LogConfig) else ("", "")
        headers |= {"x-fc-service-name": "", "x-fc-service-logproject": project, "x-fc-service-logstore": logstore}
        # Without a role they are there all the same, and empty.
        names = ("x-fc-access-key-id", "x-fc-access-key-secret", "x-fc-security-token")
        return headers | dict(zip(names, self.key() or ("", "", ""), strict=True))

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
        await self.process.end(LEAVE)


def listens_on_loopback_only(port: int) -> bool:
    """Whether a TCP port of this machine is open on 127.0.0.1 and nowhere else; False where Linux does not say."""
    try:
        lines = Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        return False
    local = [line.split()[1] for line in lines if line.split()[3] == "0A"]
    # A server on [::] has no line here, and takes everybody in.
    return [place.partition(":")[0] for place in local if int(place.partition(":")[2], 16) == port] == ["0100007F"]


def free_port() -> int:
    """A loopback port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
