"""Runs inside the runtime's own Python, with nothing but the package on its path: proves imports and byte code.

    python3.12 -I -S -B probe.py FOLDER MODULE NAME ...    what one function must have, and its imports
    python3.12 -I -S -B probe.py FOLDER                    byte code, and what no import names

Standard library alone, since the package must not find anything else here. Every import statement that can be reached from
the modules is carried out, also those inside functions: what loads when it is used must be there, too. Prints one JSON list
of sentences; empty when all is well.
"""

import ast
import importlib
import importlib.util
import json
import os
import sys
import sysconfig
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

BY_NAME = {
    "the address of a ledger": (
        "sqlalchemy.dialects.postgresql.psycopg",
        "sqlalchemy.dialects.sqlite.pysqlite",
        "psycopg",
    ),
    "the desk's server": (
        "uvicorn.lifespan.on",
        "uvicorn.loops.auto",
        "uvicorn.protocols.http.h11_impl",
        "uvicorn.protocols.websockets.auto",
        "anyio._backends._asyncio",
    ),
}
"""What no import statement names, by what does."""


class Probe:
    """One look at one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.faults: list[str] = []
        self._function = ""
        self._seen: set[str] = set()

    def function(self, name: str, wanted: list[str]) -> None:
        """The module of a function, what it must have, and everything that it can reach."""
        self._function = name
        module = self._import(name, "the runtime")
        for needed in wanted:
            if module is not None and not callable(getattr(module, needed, None)):
                self.faults.append(f"{name}.py has no function {needed}()")
        self._follow(name)
        while waiting := [module for module in sys.modules.values() if _waits(module)]:
            for module in waiting:
                self._load(module)

    def byte_code(self) -> None:
        """Each source against the byte code that is used instead of it, whatever the files' times."""
        for source in sorted(self.folder.rglob("*.py")):
            compiled = Path(importlib.util.cache_from_source(str(source)))
            shown = source.relative_to(self.folder).as_posix()
            if not compiled.is_file():
                self.faults.append(f"{shown} has no byte code: it would be compiled at every cold start")
                continue
            header = compiled.read_bytes()[:16]
            if header[8:] != importlib.util.source_hash(source.read_bytes()):
                self.faults.append(f"{shown} is not what its byte code was made from: the old code would run")

    def strangers(self) -> None:
        """Modules that came from elsewhere than the package and the interpreter's own library."""
        own = [str(self.folder), *(sysconfig.get_path(part) for part in ("stdlib", "platstdlib"))]
        for name, module in sorted(sys.modules.items()):
            file = getattr(module, "__file__", None)
            if (
                file is not None
                and name not in ("__main__", "__mp_main__")
                and not any(file.startswith(place + os.sep) for place in own)
            ):
                self.faults.append(f"{name} was imported from outside of the package")

    def named(self, name: str, whose: str) -> None:
        """A module that is looked up by its name only."""
        self._import(name, whose)

    def _follow(self, name: str) -> None:
        if name in self._seen:
            return
        self._seen.add(name)
        source = self._source(name)
        if source is None:
            return
        for module, attribute in _imports(source):
            found = self._import(module, source.relative_to(self.folder).as_posix())
            self._follow(module)
            if found is not None and attribute and not hasattr(found, attribute):
                self._import(f"{module}.{attribute}", source.relative_to(self.folder).as_posix())
            if attribute:
                self._follow(f"{module}.{attribute}")

    def _load(self, module: ModuleType) -> None:
        """What the gate to the cloud lets wait until it is used, now: otherwise it would be missed by the first who does."""
        if not _waits(module):
            return  # another one has loaded it meanwhile
        del module.__dict__["__getattr__"]
        try:
            SourceFileLoader(module.__name__, str(module.__file__)).exec_module(module)
        except Exception as problem:  # noqa: BLE001 - as for any import
            said = f"{type(problem).__name__}: {problem}"
            self.faults.append(f"{module.__name__}, which waits until it is used, cannot be loaded ({said})")

    def _source(self, name: str) -> Path | None:
        """The file of a module of ours: what dependencies import inside is theirs to keep right."""
        first = name.partition(".")[0]
        if first != "shared" and name != self._function:
            return None
        place = self.folder.joinpath(*name.split("."))
        file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        return file if file.is_file() else None

    def _import(self, name: str, whose: str) -> object | None:
        try:
            return importlib.import_module(name)
        except Exception as problem:  # noqa: BLE001 - whatever an import raises, it cannot be had
            said = f"{type(problem).__name__}: {problem}"
            self.faults.append(f"{whose} cannot import {name} from the package alone ({said})")
            return None


def _waits(module: ModuleType) -> bool:
    return getattr(vars(module).get("__getattr__"), "__module__", None) == "shared.cloud.lazy"


def _imports(source: Path) -> Iterator[tuple[str, str]]:
    """(module, name taken from it or nothing) of every import statement of a file."""
    for node in ast.walk(ast.parse(source.read_bytes())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from ((node.module, alias.name) for alias in node.names)


def main() -> None:
    """Look, and print what was found."""
    folder = Path(sys.argv[1]).resolve()
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    probe = Probe(folder)
    if len(sys.argv) > 2:
        probe.function(sys.argv[2], sys.argv[3:])
    else:
        for whose, names in BY_NAME.items():
            for name in names:
                probe.named(name, whose)
        probe.byte_code()
    probe.strangers()
    print(json.dumps(sorted(set(probe.faults))))


if __name__ == "__main__":
    main()
