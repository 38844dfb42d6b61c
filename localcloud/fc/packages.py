"""What is in a function's package: the code folder without what ``.fcignore`` leaves out (section 2.2).

A function that only works because of a file that is never shipped works nowhere else. So a folder with a
``.fcignore`` is laid out once more, with links to what would be shipped and nothing beside it. A folder is linked
whole when nothing in it is left out. Code that resolves links can still find its way out.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from localcloud.fc.errors import DeployError

MOST_FILES = 20_000
"""More than any package should have; a virtual environment in the code folder is found out this way."""


class Ignored:
    """The rules of one ``.fcignore``, with the meaning they have in a ``.gitignore``."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._rules: list[tuple[re.Pattern[str], bool, bool]] = []
        for line in lines:
            pattern = line.strip()
            if not pattern or pattern.startswith("#"):
                continue
            kept = pattern.startswith("!")
            pattern = pattern.removeprefix("!")
            folders_only = pattern.endswith("/")
            pattern = pattern.rstrip("/")
            anchored = "/" in pattern
            expression = _translated(pattern.removeprefix("/"))
            try:
                matcher = re.compile(expression if anchored else f"(?:.*/)?{expression}")
            except re.error as problem:
                raise DeployError(f".fcignore: cannot read {line.strip()!r}: {problem}") from None
            self._rules.append((matcher, kept, folders_only))

    def ignores(self, path: str, *, folder: bool) -> bool:
        """Whether a path, relative and with slashes, is left out; the last rule that matches decides."""
        verdict = False
        for pattern, kept, folders_only in self._rules:
            if (folder or not folders_only) and pattern.fullmatch(path):
                verdict = not kept
        return verdict


def rules_of(code: Path) -> list[str] | None:
    """The lines of a folder's ``.fcignore``; None without one."""
    rules = code / ".fcignore"
    return rules.read_text(encoding="utf-8").splitlines() if rules.is_file() else None


def lay_out(code: Path, place: Path) -> Path:
    """Where the function finds its code: the folder itself, or ``place`` with what ``.fcignore`` lets through."""
    rules = rules_of(code)
    if rules is None:
        return code
    ignored = Ignored(rules)
    counted = [0]
    _link(code, code, place, ignored, counted)
    return place


def _link(root: Path, here: Path, place: Path, ignored: Ignored, counted: list[int]) -> bool:
    """Lay out one folder; False when something in it was left out, so that it cannot be linked whole."""
    place.mkdir(parents=True)
    whole = True
    for entry in sorted(here.iterdir()):
        if entry.name == "__pycache__":
            continue  # made anew wherever the code runs
        folder = entry.is_dir()
        if ignored.ignores(entry.relative_to(root).as_posix(), folder=folder):
            whole = False
            continue
        counted[0] += 1
        if counted[0] > MOST_FILES:
            raise DeployError(f"{root}: more than {MOST_FILES} files to ship; .fcignore leaves out too little")
        there = place / entry.name
        if not folder or entry.is_symlink():
            there.symlink_to(entry)
        elif _link(root, entry, there, ignored, counted):
            _empty(there)
            there.symlink_to(entry)
        else:
            whole = False
    return whole


def _empty(folder: Path) -> None:
    """Remove a folder that holds links only."""
    for entry in folder.iterdir():
        entry.unlink()
    folder.rmdir()


def _translated(pattern: str) -> str:
    """A shell pattern as an expression: stars stop at slashes, two stars do not."""
    parts: list[str] = []
    position = 0
    while position < len(pattern):
        if pattern.startswith("**/", position):
            parts.append("(?:.*/)?")
            position += 3
        elif pattern.startswith("**", position):
            parts.append(".*")
            position += 2
        elif pattern[position] == "*":
            parts.append("[^/]*")
            position += 1
        elif pattern[position] == "?":
            parts.append("[^/]")
            position += 1
        elif pattern[position] == "[" and "]" in pattern[position + 1 :]:
            end = pattern.index("]", position + 1)
            inside = pattern[position + 1 : end].replace("\\", "\\\\")
            parts.append(f"[{'^' + inside[1:] if inside.startswith('!') else inside}]")
            position = end + 1
        else:
            parts.append(re.escape(pattern[position]))
            position += 1
    return "".join(parts)
