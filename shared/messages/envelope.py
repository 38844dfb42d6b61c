"""Envelopes: what the platform wraps around a message, and the way from an event's bytes to a message of ours.

Lenient with the platform's envelope, strict with what is in it. What arrives on a queue is an approval, a completion (a wake
from the other side) or a wake of our own.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from shared.errors import BadInput
from shared.messages.approval import (
    APPROVAL,
    APPROVAL_BEFORE,
    Action,
    Approval,
    GrantApproval,
    RevokeApproval,
    upgraded,
)
from shared.messages.completion import COMPLETION, WAKE, Completion, Wake
from shared.messages.texts import faults, name, shown

AGAIN = "ecr-grants/again/1"

Body = GrantApproval | RevokeApproval | Completion | Wake
_BODIES: dict[str, TypeAdapter[Any]] = {
    APPROVAL: TypeAdapter(Approval),
    COMPLETION: TypeAdapter(Completion),
    WAKE: TypeAdapter(Wake),
}


@dataclass(frozen=True)
class Item:
    """One message out of an event: its platform id, and its body as text or as the object the platform made of it.

    ``subject`` is where the event says that the message lay; None where it does not say so.
    """

    message_id: str
    body: object
    subject: str | None = None


def message_schemas() -> dict[str, str]:
    """The JSON Schemas of the public messages, by file name, as text ready to be written."""
    public = {"approval.json": APPROVAL, "completion.json": COMPLETION}
    return {
        name: json.dumps(_BODIES[schema].json_schema(by_alias=True), indent=2, sort_keys=True) + "\n"
        for name, schema in public.items()
    }


def items(event: bytes) -> Iterator[Item]:
    """The messages in an event, whatever its shape (function-compute.md section 3.1).

    One CloudEvent, an array of objects, an array of JSON strings, or bare ``data`` objects. An element that cannot be
    read becomes an item of its own, so that its neighbours are not stopped by it.
    """
    try:
        document = json.loads(event)
    except (ValueError, RecursionError):
        document = [event.decode("utf-8", "replace")]
    for element in document if isinstance(document, list) else [document]:
        yield _item(element)


def again(item: Item) -> str:
    """A message that could not be taken in, ready to be sent again under the id that its sender knows."""
    return json.dumps({"schema": AGAIN, "message_id": item.message_id, "body": item.body})


def unwrapped(item: Item) -> Item:
    """The message that was sent again, as it was; any other one as it is. It came in where its wrapping came in."""
    try:
        document = _decoded(item.body) if isinstance(item.body, str) else item.body
    except BadInput:
        return item
    if (
        isinstance(document, dict)
        and document.keys() == {"schema", "message_id", "body"}
        and document["schema"] == AGAIN
    ):
        return Item(str(document["message_id"]), document["body"], item.subject)
    return item


def redrivable(body: str) -> str:
    """The message in a dead letter, ready to be sent again: the platform may have parked it with its envelope around it."""
    try:
        document = json.loads(_from_base64(body) or body)
    except (ValueError, RecursionError):
        return body
    if isinstance(document, list) and len(document) == 1:
        document = document[0]
    data = document.get("data") if isinstance(document, dict) else None
    inner = data.get("messageBody") if isinstance(data, dict) else None
    if inner is None:
        return _from_base64(body) or body
    return inner if isinstance(inner, str) else json.dumps(inner)


def _item(element: object) -> Item:
    inner = element
    if isinstance(element, str):
        try:
            inner = json.loads(element)
        except (ValueError, RecursionError):
            inner = element
    if isinstance(inner, dict):
        data = inner.get("data", inner)
        if isinstance(data, dict) and "messageBody" in data:
            subject = inner.get("subject") if data is not inner else None
            name = str(data.get("messageId") or inner.get("id") or "")
            return Item(name, data["messageBody"], subject if isinstance(subject, str) else None)
        return Item(str(inner.get("id") or ""), inner)
    return Item("", element)


def parse(body: object) -> Body:
    """The message in a body: JSON text, Base64 of it, or an object. Raises BadInput that names each faulty field."""
    document = _decoded(body) if isinstance(body, str) else body
    if not isinstance(document, dict):
        raise BadInput(f"the message is not a JSON object (found {shown(document)})")
    document = upgraded(document)
    schema = document.get("schema")
    model = _BODIES.get(schema) if isinstance(schema, str) else None
    if model is None:
        known = ", ".join([APPROVAL_BEFORE, *sorted(_BODIES)])
        found = shown(schema) if "schema" in document else "nothing"
        raise BadInput(f"schema: must be one of {known} (found {found})")
    try:
        parsed: Body = model.validate_json(json.dumps(document))
        return parsed
    except ValidationError as error:
        [first, *_] = error.errors(include_url=False)
        if first["type"] == "json_invalid":
            raise BadInput(_unusable(document, str(first["msg"]))) from None
        raise BadInput(faults(error, tags=tuple(Action) if schema == APPROVAL else ())) from None
    except (ValueError, RecursionError) as error:
        raise BadInput(f"the message is not usable JSON ({type(error).__name__})") from None


def _unusable(document: object, why: str) -> str:
    """Why a document that Python reads is no JSON: where half a character stands, else what the parser says."""
    waiting: list[tuple[str, object]] = [("", document)]
    while waiting:
        path, value = waiting.pop()
        inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        waiting += [(f"{path}.{name(str(key))}".lstrip("."), each) for key, each in inner]
        texts = [value] if isinstance(value, str) else list(value) if isinstance(value, dict) else []
        if any("\ud800" <= letter <= "\udfff" for text in texts for letter in text):
            return f"{path or 'the message'}: holds half a character, a lone surrogate (found {shown(value)})"
    return f"the message is not usable JSON ({why})"


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object, unless a field is there twice: readers differ in which of the two they take."""
    found = dict(pairs)
    if len(found) < len(pairs):
        [(twice, _)] = Counter(field for field, _ in pairs).most_common(1)
        raise BadInput(f"{name(twice)}: is there twice")
    return found


def _decoded(text: str) -> object:
    for candidate in (text, _from_base64(text)):
        if candidate is None:
            continue
        try:
            document = json.loads(candidate, object_pairs_hook=_once)
        except (ValueError, RecursionError):
            continue
        if isinstance(document, dict | list) or candidate is text:
            return document
    raise BadInput(f"the message is not JSON, nor Base64 of JSON (found {shown(_from_base64(text) or text)})")


def _from_base64(text: str) -> str | None:
    try:
        return base64.b64decode(text, validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        return None
