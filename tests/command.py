"""The command `ecr-grants` in this very process, for tests that type many."""

from __future__ import annotations

from functools import cache
from typing import Any

from typer.main import get_command

from cli.main import app


@cache
def whole_command() -> Any:
    """The command with all that is under it: to put it together takes longer than to run most of it, so it is done once."""
    return get_command(app)
