"""Everything that is wrong with a document, not only what a validator sees first.

A validator stops early: rules between fields are not asked while a field is wrong, and a part with a misspelt key is
not looked into. So what is wrong is noted and taken out, and the rest is looked at again, until nothing more comes.
What follows only from something taken out is not told: it would be noise.
"""

import copy
import difflib
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticCustomError

from localcloud.yamlfile import Mistake, Place, dotted

Model = TypeVar("Model", bound=BaseModel)
Error = dict[str, Any]

MOST_ROUNDS = 200
_NOTHING = "\0"
"""A key that no document has: taking it out changes nothing."""


def unknown_keys(problems: Iterable[tuple[str, str]]) -> PydanticCustomError:
    """Keys that do not belong into a part, each with what is wrong with it: they are left out, the part is read on."""
    listed = list(problems)
    text = "; ".join(text for _, text in listed)
    return PydanticCustomError("unknown_keys", "{text}", {"text": text, "keys": listed})


def broken_rules(rules: Iterable[tuple[tuple[str, ...], str]]) -> PydanticCustomError:
    """Rules between fields that do not hold, each with the fields it is about."""
    listed = list(rules)
    text = "; ".join(text for _, text in listed)
    return PydanticCustomError("broken_rules", "{text}", {"text": text, "rules": listed})


def meant(key: str, known: Iterable[str]) -> str:
    """A hint at the key or value that was probably meant."""
    near = difflib.get_close_matches(key, list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


class Findings(Generic[Model]):
    """One document under one model."""

    def __init__(
        self,
        model: type[Model],
        data: Any,
        wording: Callable[[Error], str],
        *,
        root: Place = (),
        stand_ins: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self._model = model
        self._data = copy.deepcopy(data)
        self._wording = wording
        self._root = root
        self._stand_ins = stand_ins
        """For keys that must be there: with one of these the rest can be looked at all the same."""
        self._kept: dict[Place, list[int]] = {}
        self._gone: set[Place] = set()
        self._told: set[tuple[Place, str]] = set()
        self.mistakes: list[Mistake] = []
        self.value: Model | None = None
        """The document without what is wrong with it; None when too little is left."""

    def look(self, unread: Iterable[Place] = ()) -> "Findings[Model]":
        """Find everything; ``unread`` are places about which enough has been said already."""
        for place in unread:
            self._gone.add(place)
            self._take_out(place)
        for _ in range(MOST_ROUNDS):
            try:
                self.value = self._model.model_validate(self._data)
                break
            except ValidationError as invalid:
                errors: list[Error] = [dict(error) for error in invalid.errors(include_url=False)]
            # Positions in lists shift when an item goes, so all places are worked out first.
            taken = [out for error in errors for out in self._note(error, self._place(error))]
            if not taken or () in taken:
                break
            for place in sorted(set(taken), key=lambda each: [str(step) for step in each]):
                self._take_out(place)
        return self

    def _note(self, error: Error, place: Place) -> list[Place]:
        """Put an error on record; what has to be taken out so that the rest can be seen."""
        kind, context = error["type"], error.get("ctx", {})
        if kind == "literal_error" and isinstance(error["input"], dict):
            return [(_NOTHING,)]  # a word was possible there too, but a mapping was meant
        if kind == "unknown_keys":
            for key, text in context["keys"]:
                self._tell((*place, key), f"{dotted(self._root + place)}: {text}" if self._root + place else text)
            return [(*place, key) for key, _ in context["keys"]]
        if kind == "broken_rules":
            for fields, text in context["rules"]:
                if not any((*place, name) in self._gone for name in fields):
                    self._tell(place, f"{dotted(self._root + place)}: {text}")
            concerned = [(*place, name) for fields, _ in context["rules"] for name in fields]
            # Without its fields the part still breaks the rule: then the part has to go.
            return self._lose([place] if self._gone.issuperset(concerned) else concerned)
        if kind == "extra_forbidden":
            self._tell(place, f"{dotted(self._root + place)}: {self._wording(error)}")
            return [place]
        if kind == "missing":
            if place not in self._gone:
                self._tell(place, f"{dotted(self._root + place)}: {self._wording(error)}")
            if len(place) == 1 and place[0] in self._stand_ins:
                self._gone.add(place)
                self._data[place[0]] = copy.deepcopy(self._stand_ins[str(place[0])])
                return [(_NOTHING,)]
            return self._lose([place[:-1]])
        if not (kind in {"value_error", "assertion_error"} and self._lost_inside(place)):
            shown = dotted(self._root + place) or "(the file)"
            self._tell(place, f"{shown}: {self._wording(error)}")
        return self._lose([place])

    def _lose(self, places: list[Place]) -> list[Place]:
        self._gone.update(places)
        return places

    def _lost_inside(self, place: Place) -> bool:
        """Whether a rule about a part cannot be trusted, because something of the part was taken out."""
        return any(gone[:-1] == place for gone in self._gone if gone)

    def _tell(self, place: Place, text: str) -> None:
        if (place, text) not in self._told:
            self._told.add((place, text))
            self.mistakes.append(Mistake(self._root + place, text))

    def _place(self, error: Error) -> Place:
        """Where an error is in the document as it was given: without the validator's own steps."""
        node = self._data
        place: Place = ()
        steps = [step for step in error["loc"] if step != "[key]"]
        for number, step in enumerate(steps):
            if isinstance(node, dict) and step in node:
                node, place = node[step], (*place, step)
            elif isinstance(node, list) and isinstance(step, int) and step < len(node):
                kept = self._kept.get(place)
                node, place = node[step], (*place, kept[step] if kept is not None else step)
            elif error["type"] == "missing" and number == len(steps) - 1:
                place = (*place, step)
        return place

    def _take_out(self, place: Place) -> None:
        node = self._data
        here: Place = ()
        for number, step in enumerate(place):
            last = number == len(place) - 1
            if isinstance(node, dict) and step in node:
                if last:
                    del node[step]
                    return
                node = node[step]
            elif isinstance(node, list) and isinstance(step, int):
                kept = self._kept.setdefault(here, list(range(len(node))))
                if step not in kept:
                    return
                if last:
                    del node[kept.index(step)]
                    kept.remove(step)
                    return
                node = node[kept.index(step)]
            else:
                return
            here = (*here, step)
