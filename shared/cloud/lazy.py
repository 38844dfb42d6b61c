"""Lets the SDKs load when they are used: an import of one loads a thousand models, and a cold start uses ten of them.

Installed before the first SDK is imported; no file of theirs is touched. A package of models that only collects its modules'
classes gives each class when it is asked for. A product's client, of which the one for VPC alone is two megabytes, and what the
SDKs import and our calls never use (asynchronous calls, keys renewed in the background, web sockets, guesses at encodings), is a
stand-in until somebody calls it: then it is loaded, and is itself.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.metadata import version
from importlib.util import find_spec
from threading import RLock
from types import ModuleType
from typing import Any

UNUSED = frozenset(
    {"aiofiles", "aiohttp", "apscheduler", "apscheduler.schedulers.background", "charset_normalizer", "websocket"}
    | {"cryptography.hazmat.primitives.serialization.ssh"}
)
_CLIENT = re.compile(r"alibabacloud_\w+\d{8}\.client")
"""A product's, by the date of its version; what they inherit from has none."""
_MODELS = re.compile(r"alibabacloud_\w+\.models")
_CLASS = re.compile(r"^from \.(_\w+) import (\w+)\n", re.MULTILINE)
_BESIDE = re.compile(r"\s*(?:#[^\n]*\n\s*)*(?:from __future__ import annotations\s*)?(?:__all__ = \[[\w\s,]*\]\s*)?")
"""What else may stand in a package that only collects."""


class _Models(SourceFileLoader):
    """Loads a package of models: names first, classes when they are asked for."""

    def exec_module(self, module: ModuleType) -> None:
        """Read which class is where; run the package as it is when there is more in it than that."""
        text = self.get_data(self.path).decode().replace("\r\n", "\n")
        places = {name: f"{module.__name__}.{file}" for file, name in _CLASS.findall(text)}
        if not places or _BESIDE.fullmatch(_CLASS.sub("", text)) is None:
            super().exec_module(module)
            return

        def get(name: str) -> Any:
            if name not in places:
                raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")
            found = getattr(import_module(places[name]), name)
            setattr(module, name, found)
            return found

        module.__dict__.update(__getattr__=get, __dir__=lambda: sorted(places), __all__=sorted(places))


class _Waiting(SourceFileLoader):
    """Leaves a module empty until a name that was taken from it is used."""

    def exec_module(self, module: ModuleType) -> None:
        """Every name can be taken, as an annotation takes it, and is a stand-in."""

        waiting, lock = [True], RLock()

        def load() -> ModuleType:
            with lock:  # whoever comes while another thread loads it must not see half of it
                if waiting:
                    waiting.clear()
                    del module.__dict__["__getattr__"]
                    super(_Waiting, self).exec_module(module)
            return module

        def get(name: str) -> Any:
            if name == "__version__":
                return version(module.__name__)
            if name.startswith("__"):
                raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")
            return later.setdefault(name, _Later(load, name))

        later: dict[str, _Later] = {}
        module.__dict__["__getattr__"] = get


class _Later:
    """Something of a module that waits: called, looked into or compared with, it is the thing itself."""

    def __init__(self, load: Any, name: str) -> None:
        self._load, self._name = load, name

    def _itself(self) -> Any:
        """The name's value, or the module inside the module that has this name."""
        module = self._load()
        inside = f"{module.__name__}.{self._name}"
        if not hasattr(module, self._name) and hasattr(module, "__path__") and find_spec(inside) is not None:
            return import_module(inside)
        return getattr(module, self._name)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._itself()(*arguments, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._itself(), name)

    def __instancecheck__(self, instance: object) -> bool:
        return isinstance(instance, self._itself())


class _Finder:
    """Finds as usual, and changes how it is loaded."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of what may wait; None for everything else."""
        kind = (
            _Waiting
            if fullname in UNUSED or _CLIENT.fullmatch(fullname)
            else _Models
            if _MODELS.fullmatch(fullname)
            else None
        )
        if kind is None:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = kind(spec.loader.name, spec.loader.path)
        return spec


def install() -> None:
    """From now on, for this process. What was imported before stays as it is; a second time changes nothing."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
