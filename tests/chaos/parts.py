"""What the model test is about, exchangeable piece by piece: by a piece with a fault in it (``planted``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy.engine import Connection

from shared.errors import LedgerError
from shared.ledger.tables import accepts, chain, metadata
from shared.ledger.transactions import Ledger, Run
from shared.loop.drivers import Driver, HubDriver, SpokeDriver
from shared.loop.gate import Gate
from shared.rules.leases import Timing
from tests.chaos.model_cloud import ModelCloud
from tests.chaos.turns import Turns

P = ParamSpec("P")
T = TypeVar("T")

Function = Callable[..., Any]
"""A function of a connection, as ``Ledger.write`` and ``Ledger.read`` run it."""

Heard = Callable[[tuple[Any, ...], Any], None]
"""Is told what such a function was given, and what it came to."""


class _Run(Run):
    """A transaction in which some functions are replaced, and of some is told what they came to."""

    def __init__(self, connection: Connection, ledger: ModelLedger) -> None:
        super().__init__(connection)
        self._ledger = ledger

    def __call__(self, function: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        instead: Callable[Concatenate[Connection, P], T] = self._ledger.instead_of(function)
        result = super().__call__(instead, *args, **kwargs)
        hear = self._ledger.heard.get(function)
        worker = None if self._ledger.turns is None else self._ledger.turns.worker
        if hear is not None and worker is not None:
            worker.committed.append(lambda: hear(args, result))
        return result


class ModelLedger(Ledger):
    """The real ledger. Every transaction is a boundary; before and after its commit a worker may die.

    ``instead``: what workers run in place of a function of the ledger. Whoever judges them runs the real one. ``heard``: who is
    told, after the commit, with what a worker ran a function, and what it came to.
    """

    turns: Turns | None = None

    def __init__(self, url: str, timing: Timing, instead: Mapping[Function, Function]) -> None:
        super().__init__(url, timing)
        self._instead = instead
        self.heard: Mapping[Function, Heard] = {}

    @contextmanager
    def writing(self) -> Iterator[Run]:
        with super().writing() as run:
            yield _Run(run.connection, self)

    def read(self, function: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return super().read(self.instead_of(function), *args, **kwargs)

    def glance(self, function: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return super().glance(self.instead_of(function), *args, **kwargs)

    def instead_of(self, function: Callable[P, T]) -> Callable[P, T]:
        """What a worker runs in place of a function."""
        working = self.turns is not None and self.turns.worker is not None
        return self._instead.get(function, function) if working else function

    @contextmanager
    def transaction(self, *, reading: bool = False, writing: bool = False, alone: bool = False) -> Iterator[Connection]:
        turns = self.turns
        if turns is None or turns.worker is None:
            with super().transaction(reading=reading, writing=writing, alone=alone) as connection:
                yield connection
            return
        turns.boundary("before a transaction")
        if turns.luck.strikes(turns.trouble.away):
            turns.counts["ledger away"] += 1
            raise LedgerError("the ledger is away")
        turns.worker.committed.clear()
        with super().transaction(reading=reading, writing=writing, alone=alone) as connection:
            yield connection
            turns.brink("before a commit")
        turns.worker.said = turns.said
        for tell in turns.worker.committed:
            tell()
        turns.brink("after a commit")

    def empty(self) -> None:
        """Forget everything."""
        with self.engine.begin() as connection:
            for table in reversed(metadata.sorted_tables):
                if table not in (chain, accepts):
                    connection.execute(table.delete())
            connection.execute(chain.update().values(seq=0, hash="0" * 64))


@dataclass(frozen=True)
class Parts:
    """What is tested, exchangeable piece by piece: by a piece with a fault in it."""

    instead: Mapping[Function, Function] = field(default_factory=dict)  # by the function of the ledger that it replaces
    spoke: Callable[[ModelCloud], Driver] = SpokeDriver
    hub: Callable[[ModelCloud], Driver] = HubDriver
    gate: Callable[[ModelLedger, Mapping[str, str], int, Callable[[], int]], Gate] = Gate
