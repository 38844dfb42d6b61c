"""Versions that are made up: this one, and the one after it, with a change of the ledger that has both halves."""

from __future__ import annotations

import shutil
from pathlib import Path

from shared.ledger.revision import CODE
from shared.ledger.schema import MIGRATIONS

ROOT = Path(__file__).parents[2]
CHANGE = Path(__file__).parent / "versions" / "0007_who_made_a_grant.py"
NEXT = CODE + 1


def next_migrations(folder: Path) -> Path:
    """The migrations of the version after this one."""
    place = folder / "migrations"
    shutil.copytree(MIGRATIONS, place, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(CHANGE, place / "versions")
    return place


def newer_version(folder: Path) -> Path:
    """The version after this one, ready to be run and deployed beside it, and with what the two can be told apart by: it fills
    the new column, and it tells a new field.
    """
    place = folder / "newer"
    for part in ("cli", "functions", "shared"):
        shutil.copytree(ROOT / part, place / part, ignore=shutil.ignore_patterns("__pycache__"))
    shared = place / "shared"
    shutil.copy(CHANGE, shared / "ledger" / "migrations" / "versions")
    _changed(shared / "ledger" / "revision.py", f"CODE = {CODE}\n", f"CODE = {NEXT}\n")
    _changed(
        shared / "ledger" / "tables.py",
        '    Column("generation", Integer, nullable=False),',
        f'    Column("made_by", Integer, nullable=False, default={NEXT}),\n    Column("generation", Integer, nullable=False),',
    )
    _changed(
        shared / "messages" / "completion.py",
        "    served: list[Served] = Field(default=[])\n",
        f"    served: list[Served] = Field(default=[])\n    told_by: int = {NEXT}\n",
    )
    return place


def _changed(path: Path, before: str, after: str) -> None:
    text = path.read_text("utf-8")
    assert before in text, f"{path.name} no longer has {before!r}"
    path.write_text(text.replace(before, after, 1), "utf-8")
