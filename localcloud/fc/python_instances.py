"""Instances of the built-in Python runtimes: ``bootstrap.py`` at the other end of a socket."""

import asyncio
import contextlib
import json
import socket
import struct
import time
from pathlib import Path
from typing import Any

from localcloud.fc.instances import GRACE, LEAVE, LOAD_LIMIT, Instance
from localcloud.fc.invocations import Invocation, Outcome, StartFailed, error_json, new_request_id
from localcloud.fc.processes import WorkerProcess
from localcloud.fc.template.props import Hook, LogConfig

_LENGTHS = struct.Struct(">II")
_BOOTSTRAP = Path(__file__).with_name("bootstrap.py")


class Gone(Exception):
    """The process went away in the middle of a request."""


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
                python=self.around.interpreters.get(self.props.runtime),
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
        await self._prepare("start", "import of the handler", LOAD_LIMIT)
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
                await self.process.leave(GRACE)
                self.process.drain()
            words = self.log.last_words(self.id)
            await self._abandon(
                f"the process ended during the {what} ({self.how_it_ended()})" + (f":\n{words}" if words else "")
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
            await self.process.end(GRACE)
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
            await self.process.leave((hook.timeout if hook else 0) + LEAVE)
        else:
            await self.process.end(GRACE)

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
