"""Every field of every kind of message, each with every odd value; and what of that is taken after all.

A field that only people read may hold any text, and what is optional may be null. Which fields these are is written down
here, field by field: whoever adds a field to a message decides what may stand in it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]


def _nested(times: int) -> Any:
    value: Any = 1
    for _ in range(times):
        value = [value]
    return value


ODD: dict[str, Any] = {
    "empty": "",
    "a blank": " ",
    "a no-break space": "\u00a0",
    "null": None,
    "true": True,
    "zero": 0,
    "a negative number": -1,
    "a fraction": 0.5,
    "a huge number": 10**30,
    "a list": [],
    "an object": {},
    "a NUL": "x\x00x",
    "only a NUL": "\x00",
    "half a character": "x\ud800",
    "right to left": "x\u202ex",
    "a terminal's escape": "\x1b[31mx",
    "70 letters": "cn-" + "a" * 67,
    "10,000 letters": "x" * 10_000,
    "nested": _nested(60),
}
TEXTS = {name for name, value in ODD.items() if isinstance(value, str)} - {"half a character"}
SHORT = {"empty", "a blank", "a no-break space", "right to left", "70 letters"}
_NAMES = ("request_id", "requested_by", "approved_by.0", "reason")

# Fields in which some of it is taken, by the kind of message. Of everything else each odd value is refused.
TAKEN: dict[str, dict[str, set[str]]] = {
    "grant": {"ends_at": {"null"}, **{name: {"70 letters"} for name in _NAMES}},
    "revoke": {name: {"70 letters"} for name in (*_NAMES, "closes.0")},
    "wake": {},
    "again": {},
    "completion": {
        "number": {"null", "zero"},
        "generation": {"null", "zero"},
        "association_id": {"null"} | SHORT,
        "message_id": {"null"} | SHORT,
        "allowed_prefixes": {"null", "a list"},
        "allowed_prefixes.0": TEXTS,
        "request": {"null"},
        "request.request_id": {"70 letters"},
        "request.digest": {"empty"},
        "reason": {"null"},
        "reason.code": TEXTS,
        "reason.text": TEXTS,
        "reason.text_zh": {"null"} | TEXTS,
        "served": {"a list"},
        **{f"served.0.{name}": TEXTS for name in ("operation", "account", "session", "api_request_id")},
    },
}
NOBODY = "g-" + "0" * 24


def kinds(good: Json) -> dict[str, Json]:
    """One message of each kind with all its fields, about nobody's network. ``again`` has yet to be wrapped around one."""
    grant = copy.deepcopy(good)
    key = {
        "grant_id": NOBODY,
        "ecr_id": good["ecr"]["id"],
        "ecr_owner_uid": good["ecr"]["owner_uid"],
        **{f"instance_{name}": value for name, value in good["instance"].items()},
    }
    return {
        "grant": grant,
        "revoke": {
            name: value for name, value in grant.items() if name not in ("allowed_prefixes", "ends_at", "on_end")
        }
        | {"action": "revoke", "closes": ["REQ-NOBODYS"]},
        "wake": {"schema": "ecr-grants/wake/1", "grant_id": NOBODY},
        "again": {"schema": "ecr-grants/again/1", "message_id": "M", "body": {}},
        "completion": {
            "schema": "ecr-grants/completion/1",
            "id": "0" * 40,
            "event": "granted",
            "at": "2026-01-31T12:00:00Z",
            "grant": key,
            "number": 1,
            "generation": 1,
            "association_id": "ecr-assoc-1",
            "allowed_prefixes": ["10.20.0.0/16"],
            "request": {"issuer": "self-service", "request_id": "REQ-1", "digest": "0" * 64},
            "message_id": "M-1",
            "reason": {"code": "Done", "text": "done", "text_zh": "完成"},
            "served": [{"operation": "o", "account": "a", "session": "s", "api_request_id": "r"}],
        },
    }


def odd_fields(good: Json) -> Iterator[tuple[str, Json, tuple[str, ...]]]:
    """What is refused, each with the beginnings that the reason may have. A sent-again message names the one inside it."""
    for kind, path, name, document in _all(good):
        if name in TAKEN[kind].get(path, set()) or (kind == "again" and _well_formed(document)):
            continue
        told = ("schema: ",) if path == "schema" else (f"{path}: ", f"{path}.")
        yield f"{kind}.{path} is {name}", document, told


def taken(good: Json) -> Iterator[tuple[str, Json]]:
    """What is odd and taken all the same: hints about nobody's grant, which do nothing."""
    for kind, path, name, document in _all(good):
        if name in TAKEN[kind].get(path, set()) and kind == "completion":
            yield f"{kind}.{path} is {name}", document


def sent_again(good: Json) -> Iterator[tuple[str, Json]]:
    """Well-formed messages that were sent again: under odd ids, or with odd bodies. What is inside is refused."""
    for kind, path, name, document in _all(good):
        if kind == "again" and _well_formed(document):
            yield f"{kind}.{path} is {name}", document


def _well_formed(document: Json) -> bool:
    return (
        document["schema"] == "ecr-grants/again/1"
        and isinstance(document["message_id"], str)
        and (len(document["message_id"]) <= 1000)
    )


def _all(good: Json) -> Iterator[tuple[str, str, str, Json]]:
    for kind, message in kinds(good).items():
        for path in _paths(message, ""):
            for name, value in ODD.items():
                document = copy.deepcopy(message)
                *steps, last = path.split(".")
                place: Any = document
                for step in steps:
                    place = place[int(step) if isinstance(place, list) else step]
                place[int(last) if isinstance(place, list) else last] = value
                yield kind, path, name, document


def _paths(value: Any, path: str) -> Iterator[str]:
    """Every field, at any depth, and every place in a list."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, each in pairs:
        inner = f"{path}.{name}".lstrip(".")
        yield inner
        yield from _paths(each, inner)
