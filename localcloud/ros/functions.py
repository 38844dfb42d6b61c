"""The functions of ROS templates: what an expression comes to in one account and region."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from localcloud.mistakes import meant
from localcloud.yamlfile import Place, dotted

EMULATED = ("Fn::Equals", "Fn::GetAtt", "Fn::Join", "Fn::Split", "Fn::Sub", "Ref")
_BLANK = re.compile(r"\$\{([^}]*)\}")


class Unresolved(ValueError):
    """An expression that comes to nothing, and where it stands."""

    def __init__(self, place: Place, text: str) -> None:
        super().__init__(f"{dotted(place)}: {text}")
        self.place = place


@dataclass(frozen=True)
class Scope:
    """What expressions may name."""

    values: Mapping[str, Any]
    """Parameters and pseudo parameters."""
    attribute: Callable[[str, str, Place], Any]
    """An attribute of a resource; raises Unresolved with the place it was asked for at."""

    def resolve(self, raw: Any, place: Place) -> Any:
        """A value without functions in it. Raises Unresolved."""
        if isinstance(raw, list):
            return [self.resolve(each, (*place, number)) for number, each in enumerate(raw)]
        if not isinstance(raw, dict):
            return raw
        called = [key for key in raw if key == "Ref" or key.startswith("Fn::")]
        if not called:
            return {key: self.resolve(value, (*place, key)) for key, value in raw.items()}
        name = called[0]
        if len(raw) != 1:
            raise Unresolved(
                place, f"{name} stands alone in its mapping, found beside it: {', '.join(set(raw) - {name})}"
            )
        if name not in EMULATED:
            raise Unresolved((*place, name), f"not emulated{meant(name, EMULATED)}; {', '.join(EMULATED)} are")
        return _FUNCTIONS[name](self, raw[name], (*place, name))

    def value(self, name: object, place: Place) -> Any:
        """The value of a parameter. Raises Unresolved."""
        if name not in self.values:
            known = ", ".join(self.values)
            raise Unresolved(place, f"no such parameter: {name!r}{meant(str(name), self.values)}; there are {known}")
        return self.values[str(name)]


def _get_attribute(scope: Scope, raw: Any, place: Place) -> Any:
    if not (isinstance(raw, list) and len(raw) == 2 and all(isinstance(each, str) for each in raw)):
        raise Unresolved(place, f"[resource, attribute] is wanted, found {raw!r}")
    return scope.attribute(raw[0], raw[1], place)


def _substitute(scope: Scope, raw: Any, place: Place) -> str:
    if not isinstance(raw, str):
        raise Unresolved(place, "a text is wanted; the form with a map is not emulated")
    return _BLANK.sub(lambda found: _text(scope.value(found[1], place), place), raw)


def _join(scope: Scope, raw: Any, place: Place) -> str:
    delimiter, parts = _two(scope, raw, place)
    if not isinstance(parts, list):
        raise Unresolved(place, f"[delimiter, list] is wanted, found {parts!r}")
    return _text(delimiter, place).join(_text(each, place) for each in parts)


def _split(scope: Scope, raw: Any, place: Place) -> list[str]:
    delimiter, text = _two(scope, raw, place)
    if not delimiter:
        raise Unresolved(place, "a delimiter is wanted")
    return _text(text, place).split(_text(delimiter, place))


def _equals(scope: Scope, raw: Any, place: Place) -> bool:
    one, other = _two(scope, raw, place)
    return bool(one == other)


def _two(scope: Scope, raw: Any, place: Place) -> tuple[Any, Any]:
    if not (isinstance(raw, list) and len(raw) == 2):
        raise Unresolved(place, f"two values are wanted, found {raw!r}")
    one, other = scope.resolve(raw, place)
    return one, other


def _text(value: object, place: Place) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise Unresolved(place, f"a text is wanted, found {value!r}")
    return str(value)


_FUNCTIONS: dict[str, Callable[[Scope, Any, Place], Any]] = {
    "Fn::Equals": _equals,
    "Fn::GetAtt": _get_attribute,
    "Fn::Join": _join,
    "Fn::Split": _split,
    "Fn::Sub": _substitute,
    "Ref": lambda scope, raw, place: scope.value(raw, place),
}
