"""What EventBridge makes of a queue's message before a function sees it (function-compute.md section 3.1).

Three shapes of a streamed batch appear in official material, so the shape is a switch: an array of objects, an array
of JSON texts, or one event at a time.
"""

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any, Literal

from localcloud.clock import iso_precise

Shape = Literal["objects", "strings", "single"]


@dataclass(frozen=True)
class Source:
    """Where events come from and how they are written."""

    region: str
    account: str
    queue: str
    function: str
    trigger: str
    decode: bool
    """``IsBase64Decode``: whether a Base64 body reaches the function decoded."""
    raw: bool
    """``eventSchema: RawData``: only the data part is delivered."""


def body_of(text: str, decode: bool) -> str:
    """A message's body as the function sees it; what is not the Base64 of text stays as it is."""
    if not decode:
        return text
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError):
        return text


def streamed(source: Source, message_id: str, body: str, enqueued_ms: float, request_id: str) -> dict[str, Any]:
    """One message as an event of a stream: few attributes, ``source`` is the product."""
    data = {"requestId": request_id, "messageId": message_id, "messageBody": body_of(body, source.decode)}
    if source.raw:
        return data
    return {
        "id": message_id,
        "source": "acs:mns",
        "specversion": "1.0",
        "type": "mns:Queue:SendMessage",
        "datacontenttype": "application/json;charset=utf-8",
        "time": iso_precise(enqueued_ms / 1000),
        "subject": _subject(source),
        "aliyunaccountid": source.account,
        "data": data,
    }


def driven(source: Source, message_id: str, body: str, enqueued_ms: float, now: float) -> dict[str, Any]:
    """One message as an event of a bus: all attributes, ``source`` names function and trigger."""
    bus = f"MNS-{source.function}-{source.trigger}"
    data = {"requestId": message_id, "messageId": message_id, "messageBody": body_of(body, source.decode)}
    return {
        "id": message_id,
        "source": bus,
        "specversion": "1.0",
        "type": "mns:Queue:SendMessage",
        "datacontenttype": "application/json;charset=utf-8",
        "subject": _subject(source),
        "time": iso_precise(enqueued_ms / 1000),
        "aliyunaccountid": source.account,
        "aliyunpublishtime": iso_precise(now),
        "aliyunoriginalaccountid": source.account,
        "aliyuneventbusname": bus,
        "aliyunregionid": source.region,
        "aliyunpublishaddr": "127.0.0.1",
        "data": data,
    }


def wanted(event: dict[str, Any], pattern: dict[str, list[str]]) -> bool:
    """Whether a filter of exact matches lets an event through."""
    return all(event.get(attribute) in allowed for attribute, allowed in pattern.items())


def item(event: dict[str, Any], shape: Shape) -> bytes:
    """One event as it will stand in the batch."""
    text = json.dumps(event, ensure_ascii=False)
    return (json.dumps(text, ensure_ascii=False) if shape == "strings" else text).encode()


def batch(items: list[bytes], shape: Shape) -> bytes:
    """The event that the handler gets."""
    return items[0] if shape == "single" else b"[" + b",".join(items) + b"]"


def _subject(source: Source) -> str:
    return f"acs:mns:{source.region}:{source.account}:queues/{source.queue}"
