"""Processes of functions: started in a group of their own, followed, frozen, and never left behind.

Every worker leads its own process group, so that a signal reaches whatever it started too, and Ctrl-C in a terminal
reaches the local cloud alone. The reaper (``reaper.py``) ends the groups when the local cloud cannot do so itself, and the
forkserver (``forkserver.py``) starts workers that have their packages already.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

LINE_LIMIT = 32 * 1024
"""A log line is cut there (function-compute.md section 4.4)."""

OnLine = Callable[[str, str], None]
"""Called with "stdout" or "stderr" and one line."""


class Reaper:
    """The process that outlives the local cloud by just long enough to clean up."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._starting = asyncio.Lock()
        self._groups: set[int] = set()
        self._folders: list[Path] = []

    async def start(self) -> None:
        """Be there; a reaper that died is replaced and told everything again."""
        async with self._starting:
            if self._process is not None and self._process.returncode is None:
                return
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-IS",
                str(Path(__file__).with_name("reaper.py")),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                process_group=0,
            )
            for group in self._groups:
                self._tell(f"+{group}\n")
            for folder in self._folders:
                self._tell(f"{folder}\n")

    def watch(self, group: int) -> None:
        """Kill this group when the local cloud is gone."""
        self._groups.add(group)
        self._tell(f"+{group}\n")

    def forget(self, group: int) -> None:
        """The group is gone."""
        self._groups.discard(group)
        self._tell(f"-{group}\n")

    def sweep(self, folder: Path) -> None:
        """Remove this temporary folder when the local cloud is gone."""
        self._folders.append(folder)
        self._tell(f"{folder}\n")

    async def stop(self) -> None:
        """End the reaper, and with it whatever is still on its list."""
        if self._process is None or self._process.stdin is None:
            return
        self._process.stdin.close()
        await self._process.wait()
        self._process = None

    def _tell(self, line: str) -> None:
        if self._process is not None and self._process.stdin is not None and self._process.returncode is None:
            self._process.stdin.write(line.encode())


class _Pipe:
    """One output stream of a process, cut into lines as they come."""

    def __init__(self, name: str, on_line: OnLine) -> None:
        self._name = name
        self._on_line = on_line
        self._rest = b""
        self._read_end, self.write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        asyncio.get_running_loop().add_reader(self._read_end, self.drain)

    def drain(self) -> None:
        """Take everything that has been written so far."""
        while self._read_end >= 0:
            try:
                data = os.read(self._read_end, 65536)
            except BlockingIOError:
                return
            if not data:
                self.close()
                return
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                self._emit(line)
            while len(self._rest) > LINE_LIMIT:
                self._emit(self._rest[:LINE_LIMIT])
                self._rest = self._rest[LINE_LIMIT:]

    def close(self) -> None:
        """No more will come."""
        if self._read_end < 0:
            return
        asyncio.get_running_loop().remove_reader(self._read_end)
        os.close(self._read_end)
        self._read_end = -1
        if self._rest:
            self._emit(self._rest)
            self._rest = b""

    def _emit(self, line: bytes) -> None:
        self._on_line(self._name, line[:LINE_LIMIT].decode(errors="replace").rstrip("\r"))


class _Process(Protocol):
    """A process that was started, here or in the forkserver."""

    @property
    def pid(self) -> int: ...
    @property
    def returncode(self) -> int | None: ...
    async def wait(self) -> int: ...


class _Forked:
    """A process of the forkserver's."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._ended = asyncio.Event()

    def end(self, code: int) -> None:
        """It has ended with this code; negative for a signal."""
        self.returncode = code
        self._ended.set()

    async def wait(self) -> int:
        """Until it has ended; the code."""
        await self._ended.wait()
        return self.returncode or 0


class ForkServerError(OSError):
    """The forkserver cannot import what it was told to, or is not there; ``strerror`` says why."""


class ForkServer:
    """The process that has modules imported already and forks workers."""

    def __init__(self, reaper: Reaper, modules: Sequence[str]) -> None:
        self._reaper = reaper
        self._modules = modules
        self._process: asyncio.subprocess.Process | None = None
        self._starting = asyncio.Lock()
        self._requests: socket.socket | None = None
        self._asked: deque[asyncio.Future[_Forked]] = deque()
        self._forked: dict[int, _Forked] = {}
        self._reading: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Be there, with everything imported; raises ForkServerError. One that died is replaced."""
        async with self._starting:
            if self._reading is not None and not self._reading.done():
                return
            await self._reaper.start()
            requests, theirs = socket.socketpair()
            reports, reporting = os.pipe()
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-P", "-s", "-u", str(Path(__file__).with_name("forkserver.py"))),
                    *(str(theirs.fileno()), str(reporting), *self._modules),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.DEVNULL,
                    stderr=asyncio.subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(), reporting),
                    process_group=0,
                )
            finally:
                theirs.close()
                os.close(reporting)
            self._reaper.watch(self._process.pid)
            self._requests = requests
            reader = asyncio.StreamReader()
            await asyncio.get_running_loop().connect_read_pipe(
                lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(reports, "rb", 0)
            )
            first = await reader.readline()
            if problem := json.loads(first)["problem"] if first else "it ended at once":
                await self.stop()
                raise ForkServerError(0, problem)
            self._reading = asyncio.create_task(self._read(reader))

    async def fork(
        self, script: Path, environment: Mapping[str, str], folder: Path, connection: int, output: int, errors: int
    ) -> _Forked:
        """A new process that runs a script, with the number that ``connection`` has there as its argument."""
        await self.start()
        words = {"script": str(script), "environment": dict(environment), "folder": str(folder)}
        if self._requests is None:
            raise ForkServerError(0, "it has stopped")
        started: asyncio.Future[_Forked] = asyncio.get_running_loop().create_future()
        socket.send_fds(self._requests, [json.dumps(words).encode() + b"\n"], [output, errors, connection])
        self._asked.append(started)
        return await started

    async def stop(self) -> None:
        """No more workers."""
        self._close()
        if self._process is not None:
            await self._process.wait()
            self._reaper.forget(self._process.pid)
        if self._reading is not None:
            await self._reading

    def _close(self) -> None:
        if self._requests is not None:
            self._requests.close()
            self._requests = None

    async def _read(self, reader: asyncio.StreamReader) -> None:
        """Take its reports until it is gone; whoever it started is lost with it, because nobody else hears of their end."""
        while line := await reader.readline():
            words = json.loads(line)
            if "ended" in words:
                self._forked.pop(words["ended"]).end(words["code"])
                continue
            pid = words["started"]
            self._forked[pid] = _Forked(pid)
            started = self._asked.popleft()
            if started.cancelled():
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(pid, signal.SIGKILL)
            else:
                started.set_result(self._forked[pid])
        self._close()
        for pid, process in self._forked.items():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
            process.end(-signal.SIGKILL)
        self._forked.clear()
        for started in self._asked:
            if not started.done():
                started.set_exception(ForkServerError(0, "it has ended"))
        self._asked.clear()


class WorkerProcess:
    """One running process group and what it prints."""

    def __init__(self, process: _Process, pipes: Sequence[_Pipe], reaper: Reaper) -> None:
        self._process = process
        self._pipes = pipes
        self._reaper = reaper
        self.frozen = False
        """Whether the group stands still."""
        self._ended = asyncio.Event()
        self._watching = asyncio.get_running_loop().create_task(self._watch())

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        folder: Path,
        reaper: Reaper,
        on_line: OnLine,
        pass_fds: Sequence[int] = (),
    ) -> "WorkerProcess":
        """Start a process group under the reaper's eyes; OSError when the command cannot be run."""

        async def started(output: int, errors: int) -> _Process:
            return await asyncio.create_subprocess_exec(
                *command,
                env=dict(environment),
                cwd=folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                pass_fds=pass_fds,
                process_group=0,
            )

        return await cls._piped(started, reaper, on_line)

    @classmethod
    async def start_script(
        cls,
        script: Path,
        connection: socket.socket,
        *,
        environment: Mapping[str, str],
        folder: Path,
        reaper: Reaper,
        forkserver: ForkServer | None,
        python: Path | None,
        on_line: OnLine,
    ) -> "WorkerProcess":
        """Start a Python script whose one argument is the number of a socket, in a new interpreter or from a forkserver.

        ``python``: an interpreter whose own packages stay out of the way; without one it is this one, with its packages.

        OSError when that cannot be done.
        """
        number = connection.fileno()
        if forkserver is None or python is not None:
            interpreter = [sys.executable] if python is None else [str(python), "-S"]
            return await cls.start(
                [*interpreter, "-P", "-s", "-u", str(script), str(number)],
                environment=environment,
                folder=folder,
                reaper=reaper,
                on_line=on_line,
                pass_fds=(number,),
            )
        forked = partial(forkserver.fork, script, environment, folder, number)
        return await cls._piped(forked, reaper, on_line)

    @classmethod
    async def _piped(
        cls, started: Callable[[int, int], Awaitable[_Process]], reaper: Reaper, on_line: OnLine
    ) -> "WorkerProcess":
        await reaper.start()
        pipes = (_Pipe("stdout", on_line), _Pipe("stderr", on_line))
        try:
            process = await started(pipes[0].write_end, pipes[1].write_end)
        except BaseException:
            for pipe in pipes:
                pipe.close()
            raise
        finally:
            for pipe in pipes:
                os.close(pipe.write_end)
        reaper.watch(process.pid)
        return cls(process, pipes, reaper)

    @property
    def pid(self) -> int:
        """The group leader's process id, which is the group's id too."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether the process is gone."""
        return self._ended.is_set()

    @property
    def exit_code(self) -> int | None:
        """What it exited with; negative for a signal."""
        return self._process.returncode

    def drain(self) -> None:
        """Take over the output that is already there."""
        for pipe in self._pipes:
            pipe.drain()

    def freeze(self) -> None:
        """Stop the clock of the whole group."""
        self.frozen = True
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it run again."""
        if self.frozen:
            self.frozen = False
            self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once, in the middle of whatever it does."""
        self._signal(signal.SIGKILL)

    async def wait(self) -> None:
        """Until it is gone and all its output was taken."""
        await self._ended.wait()

    async def end(self, grace: float) -> None:
        """Ask it to end; insist after ``grace`` seconds."""
        self.thaw()
        self._signal(signal.SIGTERM)
        await self.leave(grace)

    async def leave(self, grace: float) -> None:
        """Wait for it to end by itself; insist after ``grace`` seconds."""
        try:
            async with asyncio.timeout(grace):
                await self._ended.wait()
        except TimeoutError:
            self.kill()
            await self._ended.wait()

    def _signal(self, number: signal.Signals) -> None:
        if not self._ended.is_set():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    async def _watch(self) -> None:
        await self._process.wait()
        self._signal(signal.SIGKILL)  # what it had started itself and not waited for
        self._ended.set()
        self._reaper.forget(self.pid)
        for pipe in self._pipes:
            pipe.drain()
            pipe.close()
