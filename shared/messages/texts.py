"""What the messages share as texts: the canonical form of a document, and how what was found is shown in an error."""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError

# A reason must fit into a completion, and a completion into a message, however much was wrong.
_FAULTS = 20
_SHOWN = 80
_COUNTS = {
    "too_short": "must have at least {min_length} of them",
    "too_long": "must have at most {max_length} of them, not {actual_length}",
}


def faults(error: ValidationError, tags: tuple[str, ...] = (), hidden: str | None = None) -> str:
    """The faults as ``field: what is wrong (found what)``, fields as a person writes them; of very many, the first.

    ``tags`` are pydantic's own names of union branches; they are left out of a field's path: people write no unions.
    ``hidden`` names a field whose values are never shown, nor is any list or object that may have one in it.
    """
    found = error.errors(include_url=False)
    more = [f"and {len(found) - _FAULTS} more"] if len(found) > _FAULTS else []
    return "; ".join([*(fault(one, tags, hidden) for one in found[:_FAULTS]), *more])


def fault(one: Any, tags: tuple[str, ...] = (), hidden: str | None = None) -> str:
    """One fault, as pydantic tells it, in the same form."""
    kind, parts = one["type"], [name(str(part)) for part in one["loc"]]
    if kind == "union_tag_not_found":
        return "action: is missing"
    if kind == "union_tag_invalid":
        return f"action: must be 'grant' or 'revoke' (found {shown(one['ctx']['tag'])})"
    if len(parts) > 1 and parts[0] in tags:
        parts = parts[1:]
    field = ".".join(part for part in parts if "[" not in part) or "the message"
    if kind == "missing":
        return f"{field}: is missing"
    if kind == "extra_forbidden":
        return f"{field}: is not a known field"
    text = _COUNTS.get(kind, "{msg}").format(msg=str(one["msg"]).removeprefix("Value error, "), **one.get("ctx", {}))
    value = one["input"]
    if hidden is not None and (hidden in one["loc"] or not isinstance(value, str | int | float | None)):
        return f"{field}: {text} (what was found is not shown: it may be a secret)"
    return f"{field}: {text} (found {shown(value)})"


def name(text: str) -> str:
    """A field's name in an error text, short and printable."""
    return text if text.isprintable() and len(text) <= _SHOWN else shown(text)


def shown(value: object) -> str:
    """A value in an error text, short and printable."""
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=True)
    text = text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
    return repr(text) if isinstance(value, str) else text


def canonical(document: object) -> bytes:
    """One byte string per meaning: sorted keys, no blanks, ASCII."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
