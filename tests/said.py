"""What a log says, judged by the words that are declared: for every test that has a function's log before it."""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Iterable
from typing import Any

from deploy.facts import Kind, facts_of
from shared import words
from shared.log import ALWAYS, CARRIED, LONGEST, TRACEBACK, Word
from shared.words import WORDS

_BY_NAME = {word.name: word for word in WORDS}
_TYPES = {Kind.TEXT: (str, bool), Kind.LONG: (int,), Kind.DOUBLE: (int, float), Kind.NOT: (dict, list)}


def lines_of(texts: Iterable[str]) -> list[dict[str, Any]]:
    """The lines that are of ours: JSON objects with a word. What the platform or a dying process prints is passed over."""
    found = []
    for text in texts:
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict) and "event" in line:
            found.append(line)
    return found


def strange(texts: Iterable[str]) -> list[str]:
    """Lines that are not as their word is declared, and why."""
    texts = list(texts)
    found = [f"{len(text)} bytes: {text[:100]}" for text in texts if len(text) > LONGEST]
    return found + [f"{fault}: {line}" for line in lines_of(texts) for fault in _faults(line)]


def _faults(line: dict[str, Any]) -> list[str]:
    word = _BY_NAME.get(line["event"])
    if word is None:
        return ["no such word"]
    found = [] if line.get("level") == word.level else [f"not the level {word.level}"]
    facts = {fact.name: fact for fact in facts_of(word)}
    known = {*facts, *ALWAYS, *CARRIED, *([TRACEBACK] if word.traceback else [])}
    found += [f"{name} is not declared" for name in line.keys() - known]
    found += [f"{name} is missing" for name in {*facts, *ALWAYS} - line.keys()]
    for name in facts.keys() & line.keys():
        value = line[name]
        if value is not None and not isinstance(value, _TYPES[facts[name].kind]):
            found.append(f"{name} is {value!r}, not {facts[name].kind}")
    return found


def misuses(source: str) -> list[str]:
    """Where source text says a word that is not declared, or not with its facts by name. The type checker sees the rest."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        if not isinstance(node.func.value, ast.Name) or node.func.value.id != "words":
            continue
        word = getattr(words, node.func.attr, None)
        if not isinstance(word, Word):
            found.append(f"line {node.lineno}: {node.func.attr} is no word")
        elif node.args or {each.arg for each in node.keywords} != set(inspect.signature(word.facts).parameters):
            found.append(f"line {node.lineno}: {word.name} is not said with its facts")
    return found
