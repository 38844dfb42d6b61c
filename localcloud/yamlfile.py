"""YAML that people write by hand: read with line numbers, and read on behind a mistake.

A reader that stops at the first mistake makes people repair a file one message at a time. So a key given twice, a key
that is no text or a tag nobody knows is noted, and what can be understood is read all the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml

MOST_NODES = 500_000
"""More than any file of ours has; aliases can make a small file very large."""
_MERGE = "tag:yaml.org,2002:merge"

Place = tuple[str | int, ...]
"""Where something stands: the keys and positions that lead to it."""


class Mistake(NamedTuple):
    """Something that is wrong, and where."""

    place: Place
    text: str
    line: int = 0
    """0: wherever the place is."""


def dotted(place: Place) -> str:
    """A place as people read it."""
    return ".".join(str(step) for step in place)


@dataclass
class Source:
    """What a file says, and on which line it says it."""

    data: Any = None
    lines: dict[Place, int] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)
    unread: set[Place] = field(default_factory=set)
    """Values that could not be read; what is said about them further on is no news."""

    def line(self, place: Place) -> int:
        """The line of a place, or of the nearest thing around it that is there."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)

    def told(self, mistakes: list[Mistake], name: str) -> list[str]:
        """Mistakes as lines of text in the order of the file; ``name`` is the file's, or empty."""
        placed = sorted({(found.line or self.line(found.place), found.text) for found in mistakes})
        return [f"{name}:{line}: {text}" if name else f"line {line}: {text}" for line, text in placed]


def read(path: Path, loader: type[yaml.SafeLoader]) -> Source:
    """Read a file; one that cannot be read at all is a mistake like others."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        return Source(mistakes=[Mistake((), f"cannot be read: {error.strerror}", 1)])
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        return Source(mistakes=[Mistake((), f"not UTF-8: {error.reason}", line)])
    return parse(text, loader)


def parse(text: str, loader: type[yaml.SafeLoader]) -> Source:
    """Read a text with the scalars of this loader."""
    source = Source()
    try:
        reader = loader(text)
        node = reader.get_single_node()
        if node is not None:
            source.data = _Reading(reader, source).value(node, ())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        source.mistakes.append(Mistake((), f"not YAML: {error.problem or error.context}", mark.line + 1 if mark else 1))
    except (yaml.YAMLError, RecursionError) as error:
        source.mistakes.append(Mistake((), f"not YAML: {' '.join(str(error).split())}", 1))
    return source


class _Reading:
    """One pass over the nodes of a document."""

    def __init__(self, reader: yaml.SafeLoader, source: Source) -> None:
        self._reader = reader
        self._source = source
        self._around: list[yaml.Node] = []
        self._nodes = 0

    def value(self, node: yaml.Node, place: Place) -> Any:
        """What a node says."""
        self._nodes += 1
        if self._nodes > MOST_NODES:
            raise yaml.YAMLError(f"more than {MOST_NODES} values")
        self._source.lines.setdefault(place, _line(node))
        if node in self._around:
            return self._unread(node, place, "an alias to something around it")
        self._around.append(node)
        try:
            if isinstance(node, yaml.MappingNode) and node.tag == "tag:yaml.org,2002:map":
                return self._mapping(node, place)
            if isinstance(node, yaml.SequenceNode) and node.tag == "tag:yaml.org,2002:seq":
                return [self.value(item, (*place, index)) for index, item in enumerate(node.value)]
            return self._reader.construct_object(node, deep=True)
        except (yaml.constructor.ConstructorError, ValueError, TypeError, OverflowError) as error:
            return self._unread(node, place, getattr(error, "problem", None) or str(error))
        finally:
            self._around.pop()

    def _unread(self, node: yaml.Node, place: Place, why: str) -> None:
        where = f"{dotted(place)}: " if place else ""
        self._source.unread.add(place)
        self._source.mistakes.append(Mistake(place, f"{where}not YAML that can be read here: {why}", _line(node)))

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        for key, key_node, value_node in self._keys(node, place):
            if key in found:
                before = self._source.lines.get((*place, key))
                inside = f" in {dotted(place)}" if place else ""
                text = f"the key {key!r} is given twice{inside}, first on line {before}: which one is meant?"
                self._source.mistakes.append(Mistake(place, text, _line(key_node)))
                continue
            self._source.lines[*place, key] = _line(key_node)
            found[key] = self.value(value_node, (*place, key))
        merged: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                merged |= self._merged(value_node, place)
        return {**merged, **found}

    def _keys(self, node: yaml.MappingNode, place: Place) -> Iterator[tuple[str, yaml.Node, yaml.Node]]:
        """The keys of a mapping, merges aside; a key that is no text is noted and taken as text."""
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                continue
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else "?"
            if key_node.tag != "tag:yaml.org,2002:str":
                inside = f" (in {dotted(place)})" if place else ""
                text = f"the key {key} must be a string: quote it{inside}"
                self._source.mistakes.append(Mistake(place, text, _line(key_node)))
            yield key, key_node, value_node

    def _merged(self, node: yaml.Node, place: Place) -> dict[Any, Any]:
        """What << brings in; its lines are those of the place it comes from."""
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        merged: dict[Any, Any] = {}
        for each in reversed(nodes):
            if not isinstance(each, yaml.MappingNode):
                self._source.mistakes.append(
                    Mistake(place, f"{dotted(place)}: not YAML: << wants a mapping", _line(each))
                )
                continue
            known = dict(self._source.lines)
            merged |= self._mapping(each, place)
            self._source.lines.update(known)
        return merged


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
