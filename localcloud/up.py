"""Brings a local cloud up for the command line, and keeps it running until it is told to stop."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from localcloud.server import Server, calm_collector
from localcloud.worldfile import WorldFile

PARENT_CHECK_SECONDS = 0.5


@dataclass(frozen=True)
class Startup:
    """What the command line asks for."""

    file: WorldFile
    port: int
    state_directory: Path | None
    template: Path | None
    """The s.yaml whose functions are deployed."""
    environment: Mapping[str, str]
    """What variables of the template resolve to; {address} in a value becomes host:port."""
    worker_environment: Mapping[str, str]
    preloaded: tuple[str, ...]
    as_built: bool
    """Whether the code folders are packages that were built for their runtime."""
    ready_file: Path | None
    """Gets the address once everything is up."""
    parent: int | None
    """The process whose end is the end of this one too."""


async def run(startup: Startup) -> int:
    """Run until a signal, or the end of the parent; the process's exit code."""
    if startup.state_directory is not None:
        startup.state_directory.mkdir(parents=True, exist_ok=True)
    server = Server(startup.file, port=startup.port, state_directory=startup.state_directory)
    server.fc.worker_environment = dict(startup.worker_environment)
    server.fc.preloaded = startup.preloaded
    server.fc.as_built = startup.as_built
    calm_collector()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    bringing_up = asyncio.create_task(_bring_up(server, startup))
    stopping = asyncio.create_task(stop.wait())
    watching = asyncio.create_task(_until_orphaned(startup.parent)) if startup.parent is not None else None
    ends = [task for task in (stopping, watching) if task is not None]
    try:
        await asyncio.wait([bringing_up, *ends], return_when=asyncio.FIRST_COMPLETED)
        if not bringing_up.done():
            return 0
        bringing_up.result()
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    except (OSError, ValueError) as error:
        print(f"localcloud: {error}", file=sys.stderr)
        return 1
    finally:
        for task in (bringing_up, *ends):
            task.cancel()
        await asyncio.gather(bringing_up, *ends, return_exceptions=True)
        await server.stop()
        if startup.ready_file is not None:
            startup.ready_file.unlink(missing_ok=True)
    return 0


async def _bring_up(server: Server, startup: Startup) -> None:
    await server.start()
    address = server.cloud.address
    if startup.template is not None:
        filled = {name: value.replace("{address}", address) for name, value in startup.environment.items()}
        await server.fc.deploy(startup.template, filled)
    print(f"localcloud ready at http://{address}", flush=True)
    for function in server.fc.functions():
        print(f"  function {function['name']}", flush=True)
        for remark in function["remarks"]:
            print(f"    note: {remark}")
        for trigger in function["triggers"]:
            if trigger["type"] == "http":
                print(f"    http trigger {trigger['trigger']} at {trigger['url']} ({', '.join(trigger['methods'])})")
    sys.stdout.flush()
    if startup.ready_file is not None:
        # A reader must never find half an address.
        half = startup.ready_file.with_name(f"{startup.ready_file.name}.new")
        half.write_text(f"http://{address}", encoding="utf-8")
        half.replace(startup.ready_file)


async def _until_orphaned(parent: int) -> None:
    while os.getppid() == parent:
        await asyncio.sleep(PARENT_CHECK_SECONDS)
