"""Finds a Python of the runtime's version on this machine: its byte code is what ships, and it proves the imports."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from uv import find_uv_bin

VERSION = "3.12"
"""Of the runtime python3.12."""


class NoInterpreterError(Exception):
    """No Python of the runtime's version can be had here; the text says what to do."""


def find(named: Path | None = None) -> Path:
    """A Python 3.12 that really runs: the one that is named, this one, one on the path, uv's, or pyenv's.

    Raises NoInterpreterError.
    """
    candidates = [named] if named is not None else list(_candidates())
    for candidate in candidates:
        if version_of(candidate) == VERSION:
            return candidate
    if named is not None:
        found = version_of(named) or "none that runs"
        raise NoInterpreterError(f"{named} is no Python {VERSION} (found: {found})")
    raise NoInterpreterError(
        f"a Python {VERSION} is needed, as the runtime has it, and none was found (looked for python{VERSION} on the path, "
        f"uv's and pyenv's): install one, such as with `uv python install {VERSION}`, or name one with --python"
    )


def version_of(python: Path) -> str:
    """Such as "3.12"; empty when it does not run, as a shim of a version that is not chosen."""
    command = [str(python), "-I", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def runs_as_deployed() -> bool:
    """Whether what is built for the runtime, x86_64 Linux with the GNU C library, can be loaded on this machine."""
    return sys.platform == "linux" and platform.machine() == "x86_64" and platform.libc_ver()[0] == "glibc"


def _candidates() -> Iterator[Path]:
    if sys.version_info[:2] == (3, 12):
        yield Path(sys.executable)
    on_path = shutil.which(f"python{VERSION}")
    if on_path is not None:
        yield Path(on_path)
    command = [find_uv_bin(), "python", "find", "--no-python-downloads", "--no-project", "--system", VERSION]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if found.returncode == 0:
        yield Path(found.stdout.strip())
    yield from sorted((Path.home() / ".pyenv" / "versions").glob(f"{VERSION}*/bin/python{VERSION}"), reverse=True)
