"""What the unit tests share: an approval to vary, and a ledger on a fresh file."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.ledger.schema import upgrade_schema
from shared.ledger.transactions import Ledger
from shared.messages.approval import GrantApproval
from shared.messages.seal import approval_from

EXAMPLE = json.loads((Path(__file__).parents[2] / "examples" / "approval-vpc.json").read_text("utf-8"))

MakeApproval = Callable[..., GrantApproval]


def varied(**changes: Any) -> dict[str, Any]:
    """The example approval with some fields replaced; ``instance__id`` reaches into ``instance``."""
    document: dict[str, Any] = copy.deepcopy(EXAMPLE)
    for name, value in changes.items():
        *path, last = name.split("__")
        place = document
        for part in path:
            place = place[part]
        place[last] = value
    return document


@pytest.fixture
def approve() -> MakeApproval:
    """Makes parsed approvals out of the example."""

    def make(**changes: Any) -> GrantApproval:
        parsed = approval_from(varied(**changes))
        assert isinstance(parsed, GrantApproval)
        return parsed

    return make


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger of its own, on SQLite."""
    made = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    upgrade_schema(made)
    yield made
    made.close()
