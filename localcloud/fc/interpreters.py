"""Which Python runs a function: this one, with its own packages standing for the vendored ones, or the runtime's.

A package that was built for a runtime is only proved where the runtime's version runs it with nothing beside it.
"""

import asyncio
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from localcloud.fc.errors import DeployError
from localcloud.fc.template.props import Props

_PLACES = (
    ".pyenv/versions/{version}*/bin/python{version}",
    ".local/share/uv/python/cpython-{version}*/bin/python{version}",
)
"""Where Pythons of several versions are kept, below the home folder."""


def wanted(props: Props) -> str:
    """The Python that a function runs on, such as python3.12: its runtime, or what its command names; empty without one."""
    if props.custom_runtime_config is not None:
        return props.custom_runtime_config.python
    return props.runtime


async def as_built(pythons: Iterable[str]) -> dict[str, Path]:
    """Where each Python is on this machine; a DeployError names the first that cannot be found here."""
    found: dict[str, Path] = {}
    for runtime in sorted({python for python in pythons if "." in python}):
        version = runtime.removeprefix("python")
        for candidate in _candidates(version):
            if await _version_of(candidate) == version:
                found[runtime] = candidate
                break
        else:
            raise DeployError(
                f"a package as built needs the Python of its runtime, and no Python {version} for {runtime} was found here "
                f"(looked for python{version} on the path, pyenv's and uv's)"
            )
    return found


def _candidates(version: str) -> Iterator[Path]:
    if "{}.{}".format(*sys.version_info) == version:
        yield Path(sys.executable)
    on_path = shutil.which(f"python{version}")
    if on_path is not None:
        yield Path(on_path)
    for place in _PLACES:
        yield from sorted(Path.home().glob(place.format(version=version)), reverse=True)


async def _version_of(python: Path) -> str:
    """Such as "3.12"; empty when it does not run, as a shim of a version that is not chosen."""
    try:
        process = await asyncio.create_subprocess_exec(
            *(str(python), "-I", "-S", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return ""
    output, _ = await process.communicate()
    return output.decode(errors="replace").strip() if process.returncode == 0 else ""
