"""Processes that do the same thing to one ledger at the same moment."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.synchronize import Barrier
from typing import TypeVar

from shared.ledger.transactions import Ledger
from tests.functional.waiting import PATIENCE

T = TypeVar("T")

_gate: Barrier


def _join(gate: Barrier) -> None:
    global _gate  # noqa: PLW0603  # a process has one gate for its whole life
    _gate = gate


def _go(url: str, number: int, task: Callable[..., T], arguments: tuple[object, ...]) -> T:
    """One process's part. Nobody starts before everybody has come, so each process gets exactly one part."""
    ledger = Ledger(url)
    try:
        _gate.wait(PATIENCE)
        return task(ledger, number, *arguments)
    finally:
        ledger.close()


class Crowd:
    """So many processes, each with a connection of its own. Started when first needed, ended by ``close``."""

    def __init__(self, size: int) -> None:
        self.size = size
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tests.ledger.kit"])
        self._pool = ProcessPoolExecutor(size, context, _join, (context.Barrier(size),))

    def at_once(self, url: str, task: Callable[..., T], *arguments: object) -> list[T]:
        """Every process calls ``task(ledger, its number, *arguments)``; what they returned, by their numbers."""
        parts = [self._pool.submit(_go, url, number, task, arguments) for number in range(self.size)]
        return [part.result(PATIENCE * 2) for part in parts]

    def close(self) -> None:
        """Return when they have ended."""
        self._pool.shutdown(cancel_futures=True)
