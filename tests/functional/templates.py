"""The project's own s.yaml with a few more variables for the functions, for what tests need and deployments do not."""

from __future__ import annotations

from pathlib import Path

from tests.functional.deployment import TEMPLATE
from tests.functional.world import ROOT

_ANCHOR = "    PYTHONPATH: /code/python\n"


def template_with(folder: Path, *, timeout: int | None = None, **variables: str) -> Path:
    """A copy of s.yaml in a folder, in which all functions have these variables too (and this time limit)."""
    text = TEMPLATE.read_text("utf-8")
    assert _ANCHOR in text, "s.yaml has no common environment to add to"
    more = "".join(f"    {name}: '{value}'\n" for name, value in variables.items())
    text = text.replace(_ANCHOR, _ANCHOR + more).replace("code: ./", f"code: {ROOT}")
    if timeout is not None:
        text = "\n".join(
            f"      timeout: {timeout}" if line.startswith("      timeout: ") else line for line in text.split("\n")
        )
    path = folder / "s.yaml"
    path.write_text(text, "utf-8")
    return path
