"""What the model test is about, exchangeable piece by piece: by a piece with a fault in it (``planted``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from shared.converge import Converge, Hand, HubHand, SpokeHand
from shared.errors import LedgerError
from shared.ledger import Ledger
from shared.ledger.tables import chain, metadata
from tests.chaos.model_cloud import ModelCloud
from tests.chaos.turns import Turns


class ModelLedger(Ledger):
    """The real ledger. Every transaction is a boundary; before and after its commit a worker may die."""

    turns: Turns | None = None

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        turns = self.turns
        if turns is None or turns.worker is None:
            with super()._reading() as connection:
                yield connection
            return
        turns.boundary("before a transaction")
        if turns.luck.strikes(turns.trouble.away):
            turns.counts["ledger away"] += 1
            raise LedgerError("the ledger is away")
        with super()._reading() as connection:
            yield connection
            turns.brink("before a commit")
        if turns.worker.committed is not None:
            turns.worker.committed()
        turns.brink("after a commit")

    def empty(self) -> None:
        """Forget everything."""
        with self.engine.begin() as connection:
            for table in reversed(metadata.sorted_tables):
                if table is not chain:
                    connection.execute(table.delete())
            connection.execute(chain.update().values(seq=0, hash="0" * 64))


@dataclass(frozen=True)
class Parts:
    """What is tested, exchangeable piece by piece: by a piece with a fault in it."""

    ledger: type[ModelLedger] = ModelLedger
    converge: type[Converge] = Converge
    spoke: Callable[[ModelCloud], Hand] = SpokeHand
    hub: Callable[[ModelCloud], Hand] = HubHand
