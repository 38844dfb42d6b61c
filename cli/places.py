"""YAML read with the place of everything in it, so that a fault can be pointed at.

Stricter than YAML: no anchors, aliases or tags, since what somebody reads in a file and then signs must be what stands there; no
key twice; keys are texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from yaml.constructor import SafeConstructor

from shared.messages.texts import name

_TAG = "tag:yaml.org,2002:"
_PLAIN = {f"{_TAG}{kind}" for kind in ("int", "float", "bool", "null")}
_TEXTS = {f"{_TAG}{kind}" for kind in ("str", "timestamp")}


@dataclass(frozen=True, order=True)
class Fault:
    """What is wrong or odd at a place of a file. Lines and columns count from 1.

    ``meant``: what was probably meant, where that can be guessed. ``odd``: it is told, and stops nothing.
    """

    file: str
    line: int
    column: int
    found: str
    meant: str = ""
    odd: bool = False

    @property
    def text(self) -> str:
        """As compilers write it."""
        guess = f"; meant was probably {self.meant}" if self.meant else ""
        return f"{self.file}:{self.line}:{self.column}: {self.found}{guess}"


class Places:
    """One YAML text: its value, and the places of its parts. ``faults`` has what is wrong with it as YAML."""

    def __init__(self, file: str, text: str) -> None:
        self._file = file
        self.faults: list[Fault] = []
        self.root: yaml.Node | None = None
        self.value: object = None
        try:
            self._refuse_cleverness(text)
            if not self.faults:
                self.root = yaml.compose(text, Loader=yaml.SafeLoader)
                self.value = None if self.root is None else self._plain(self.root)
        except yaml.MarkedYAMLError as error:
            # Not the line itself: an external id may stand in it.
            problem = re.sub(r"(['\"])(.*?)\1", _short, error.problem or type(error).__name__)
            self._add(error.problem_mark, f"is not YAML: {problem}")
        except yaml.reader.ReaderError as error:
            lines = text[: error.position].split("\n")
            found = f"is not YAML: the character {int(error.character):#04x} may not stand in it"
            self.faults.append(Fault(file, len(lines), len(lines[-1]) + 1, found))
        except (RecursionError, yaml.YAMLError) as error:
            self.faults.append(Fault(file, 1, 1, f"is not YAML ({type(error).__name__})"))

    def _add(self, mark: Any, found: str, meant: str = "") -> None:
        line, column = (0, 0) if mark is None else (mark.line, mark.column)
        self.faults.append(Fault(self._file, line + 1, column + 1, found, meant))

    def _refuse_cleverness(self, text: str) -> None:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
                self._add(event.start_mark, "anchors and aliases are not read here: write out what is meant")
            elif getattr(event, "tag", None) is not None:
                self._add(event.start_mark, "tags are not read here")

    def _plain(self, node: yaml.Node) -> object:
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node)
        if isinstance(node, yaml.SequenceNode):
            return [self._plain(one) for one in node.value]
        if node.tag in _PLAIN:
            try:
                return SafeConstructor().construct_object(node)
            except ValueError:  # a number of thousands of digits
                pass
        return node.value

    def _mapping(self, node: yaml.MappingNode) -> dict[str, object]:
        found: dict[str, object] = {}
        lines: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._add(key.start_mark, "must be a text, since it is a key")
                continue
            if key.tag not in _TEXTS:
                kind = key.tag.removeprefix(_TAG)
                self._add(
                    key.start_mark, f"{name(key.value)} is read as YAML's {kind}, not as a text", f'"{key.value}"'
                )
            if key.value in lines:
                self._add(key.start_mark, f"{name(key.value)} is there twice (first in line {lines[key.value]})")
            lines.setdefault(key.value, key.start_mark.line + 1)
            found[key.value] = self._plain(value)
        return found

    def walk(self, path: Sequence[str | int]) -> tuple[list[str | int], yaml.Node]:
        """As far as a path leads: the parts that are there, and the node at their end. The others are not names of this file."""
        assert self.root is not None  # noqa: S101  # who asks for a place has read a value
        node, walked = self.root, list[str | int]()
        for part in path:
            inner = self._inner(node, part)
            if inner is not None:
                node = inner
                walked.append(part)
        return walked, node

    @staticmethod
    def _inner(node: yaml.Node, part: str | int) -> yaml.Node | None:
        if isinstance(node, yaml.MappingNode):
            return next((value for key, value in reversed(node.value) if key.value == part), None)
        if isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            return node.value[part] if part < len(node.value) else None
        return None

    def key(self, path: Sequence[str | int]) -> yaml.Node:
        """The key that a path ends with, or the node where it leads to none."""
        walked, node = self.walk(path)
        _, outer = self.walk(walked[:-1])
        for key, value in outer.value if isinstance(outer, yaml.MappingNode) else ():
            if value is node:
                return key  # type: ignore[no-any-return]
        return node

    def fault(self, node: yaml.Node, found: str, meant: str = "", *, odd: bool = False) -> Fault:
        """A fault at the place of a node."""
        return Fault(self._file, node.start_mark.line + 1, node.start_mark.column + 1, found, meant, odd)


def scalars(node: yaml.Node) -> Iterator[yaml.ScalarNode]:
    """The texts in a list, the last first; of anything else nothing."""
    for one in reversed(node.value) if isinstance(node, yaml.SequenceNode) else ():
        if isinstance(one, yaml.ScalarNode):
            yield one


def _short(quoted: re.Match[str]) -> str:
    return quoted[0] if len(quoted[2]) < 3 or quoted[2].startswith("<") else "a text"
