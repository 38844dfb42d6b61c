"""Parameters of an RPC request, read with the error codes of the product they belong to."""

import functools
import re
from collections.abc import Mapping

from localcloud.refusal import Refusal

INT64 = 2**63 - 1


_compiled = functools.lru_cache(maxsize=256)(re.compile)


class Params:
    """Business parameters as flat text; how a bad one is refused is up to the product."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self.values = values

    def missing(self, name: str) -> Refusal:
        """The refusal for a required parameter that is absent (section 4.5)."""
        return Refusal(400, f"Missing{name}", f"{name} is mandatory for this action.")

    def malformed(self, name: str) -> Refusal:
        """The refusal for a value of the wrong form."""
        return Refusal(400, f"InvalidParameter.{name}", f"The parameter {name} is wrongly formed.")

    def illegal(self, name: str) -> Refusal:
        """The refusal for a value of the right form that is not allowed."""
        return self.malformed(name)

    def text(self, name: str, pattern: str | None = None, *, longest: int = 4096) -> str:
        """An optional text; empty when absent, as an empty value is."""
        value = self.values.get(name, "")
        if value and (len(value) > longest or (pattern is not None and not _compiled(pattern).fullmatch(value))):
            raise self.malformed(name)
        return value

    def required(self, name: str, pattern: str | None = None, *, longest: int = 4096) -> str:
        """A text that must be there."""
        value = self.values.get(name)
        if not value:
            raise self.missing(name)
        if len(value) > longest or (pattern is not None and not _compiled(pattern).fullmatch(value)):
            raise self.malformed(name)
        return value

    def choice(self, name: str, *choices: str) -> str:
        """An optional text out of a few."""
        value = self.text(name)
        if value and value not in choices:
            raise self.illegal(name)
        return value

    def integer(self, name: str, low: int = 0, high: int = INT64) -> int | None:
        """An optional whole number within bounds."""
        value = self.text(name, r"-?[0-9]{1,19}")
        if not value:
            return None
        if not low <= int(value) <= high:
            raise self.illegal(name)
        return int(value)

    def uid(self, name: str) -> str:
        """An optional account id: int64 on the wire, text in here."""
        return self.text(name, r"[1-9][0-9]{14,18}")

    def flag(self, name: str) -> bool:
        """An optional boolean; clients write True, true, False or false."""
        value = self.text(name).lower()
        if value not in {"", "true", "false"}:
            raise self.malformed(name)
        return value == "true"

    def many(self, name: str) -> list[str]:
        """A list, on the wire Name.1, Name.2, …"""
        return [value for _, value in self._numbered(name)]

    def tags(self, name: str, key: str = "Key", value: str = "Value", *, most: int = 20) -> list[tuple[str, str]]:
        """A list of key and value pairs, on the wire Name.1.Key, Name.1.Value, …"""
        pairs: dict[int, dict[str, str]] = {}
        for index, text in self._numbered(name, f"({re.escape(key)}|{re.escape(value)})"):
            member, number = index.rsplit(".", 1)[1], int(index.split(".")[1])
            pairs.setdefault(number, {})[member] = text
        if len(pairs) > most or any(key not in pair for pair in pairs.values()):
            raise self.malformed(name)
        return [(pairs[number][key], pairs[number].get(value, "")) for number in sorted(pairs)]

    def _numbered(self, name: str, rest: str = "") -> list[tuple[str, str]]:
        pattern = re.compile(rf"{re.escape(name)}\.([1-9][0-9]{{0,3}})" + (rf"\.{rest}" if rest else ""))
        found = [
            (int(matched.group(1)), key, value)
            for key, value in self.values.items()
            if (matched := pattern.fullmatch(key))
        ]
        return [(key, value) for _, key, value in sorted(found)]
