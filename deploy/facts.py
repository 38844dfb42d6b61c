"""The facts of the log's words, as Log Service has to know them: which fields a line has, and how each is indexed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from shared.log import ALWAYS, CARRIED, TRACEBACK, Word
from shared.words import WORDS


class Kind(StrEnum):
    """How Log Service indexes a fact (SLS, CreateIndex, ``JsonKeyIndices``)."""

    TEXT = "text"
    LONG = "long"
    DOUBLE = "double"
    NOT = "not indexed"  # it has facts of its own


@dataclass(frozen=True)
class Fact:
    """One fact of a line."""

    name: str
    kind: Kind
    meaning: str


_KINDS = {str: Kind.TEXT, bool: Kind.TEXT, int: Kind.LONG, float: Kind.DOUBLE, dict: Kind.NOT, list: Kind.NOT}
_AROUND = {
    "event": "the word",
    "level": "how much it matters",
    "time": "when, in UTC",
    "invocation": "the platform's request id of the invocation",
    "grant": "the grant that is being worked on, `g-…`",
    "side": "the side of it that is being worked on",
    TRACEBACK: "where a fault of ours came from",
}


def facts_of(word: Word[...]) -> tuple[Fact, ...]:
    """The facts that a word declares, in their order."""
    hints = get_type_hints(word.facts, include_extras=True)
    return tuple(_fact(name, hint) for name, hint in hints.items() if name != "return")


def _fact(name: str, hint: Any) -> Fact:
    meaning = next((note for part in _parts(hint) for note in _notes(part)), "")
    types = {get_origin(part) or part for whole in _parts(hint) for part in _parts(_bare(whole))}
    (kind,) = (_KINDS[one] for one in types - {type(None)})
    return Fact(name, kind, meaning)


def _parts(hint: Any) -> tuple[Any, ...]:
    """The members of a union, or the type alone."""
    return get_args(hint) if type(None) in get_args(hint) else (hint,)


def _bare(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _notes(hint: Any) -> tuple[str, ...]:
    return get_args(hint)[1:] if get_origin(hint) is Annotated else ()


def around() -> tuple[Fact, ...]:
    """The facts that stand around those of a word."""
    return tuple(Fact(name, Kind.TEXT, _AROUND[name]) for name in (*ALWAYS, *CARRIED, TRACEBACK))


def index() -> dict[str, Kind]:
    """Every fact that can be searched and counted by, and how: the keys under the field ``message``."""
    found = {fact.name: fact.kind for fact in around() if fact.name != TRACEBACK}
    return found | {name: fact.kind for name, fact in declared().items() if fact.kind is not Kind.NOT}


def declared(among: Iterable[Word[...]] = WORDS) -> dict[str, Fact]:
    """Every fact of every word. Raises ValueError where two words mean different things by one name."""
    found: dict[str, Fact] = {}
    for word in among:
        for fact in facts_of(word):
            if found.setdefault(fact.name, fact) != fact:
                raise ValueError(
                    f"{fact.name} of {word.name} means {fact.meaning!r}, of another word {found[fact.name]!r}"
                )
    return found
