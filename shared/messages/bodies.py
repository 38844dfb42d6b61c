"""How a message's text may be written: JSON, or Base64 of it, as clients of many languages put them on a queue.

What means the same is read: line breaks in Base64, its alphabet for URLs, no padding, one byte order mark. Nothing else is
guessed at, since a guess can turn one meaning into another; what cannot be read is named as what it is.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections import Counter
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from shared.errors import BadInput
from shared.messages.texts import faults, name, shown

T = TypeVar("T")

_MARK = "\ufeff"
_BLANKS = " \t\r\n"
_PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\x78\x01": "zlib", b"\x78\x9c": "zlib", b"\x78\xda": "zlib"}
_WIDE = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")


def decoded(text: str) -> object:
    """The JSON in a body. Raises BadInput that says what was found instead."""
    body = plain(text)
    try:
        return once(body)
    except (ValueError, RecursionError):
        pass
    try:
        inner = plain(from_base64(body))
    except BadInput as why:
        raise BadInput(f"the message is not JSON, nor Base64 of JSON ({why})") from None
    try:
        document = once(inner)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, dict | list | str):
        return document
    raise BadInput(f"the message is not JSON, nor Base64 of JSON (found Base64 of {_unread(inner)})")


def once(text: str) -> object:
    """The JSON in a text, each field of which is there once: readers differ in which of two they take.

    Raises BadInput that names a field that is there twice; ValueError or RecursionError for what is no JSON.
    """
    return json.loads(text, object_pairs_hook=_once)


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        [(twice, _)] = Counter(field for field, _ in pairs).most_common(1)
        raise BadInput(f"{name(twice)}: is there twice")
    return found


def modelled(adapter: TypeAdapter[T], document: object, tags: tuple[str, ...] = ()) -> T:
    """A JSON document as what it must be, with JSON's strictness. Raises BadInput that names each faulty field.

    ``tags``: as ``texts.faults`` takes them.
    """
    try:
        return adapter.validate_json(json.dumps(document))
    except ValidationError as error:
        [first, *_] = error.errors(include_url=False)
        if first["type"] == "json_invalid":
            raise BadInput(_unusable(document, str(first["msg"]))) from None
        raise BadInput(faults(error, tags)) from None
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


def plain(text: str) -> str:
    """The text without its byte order mark. A second one belongs to the text, and no JSON begins with one."""
    return text.removeprefix(_MARK)


def from_base64(text: str) -> str:
    """The UTF-8 text in a Base64 text of either alphabet, padded or not, in lines or not. Raises BadInput with what was found."""
    raw = _unpacked(text)
    if raw is None:
        raise BadInput(f"found {_written(text)}")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadInput(f"found {shown(text)}, which is Base64 of {_bytes(raw, error.start)}") from None


def _unpacked(text: str) -> bytes | None:
    """The bytes in a Base64 text; None where it is none, to the last bit: there is one way to write bytes."""
    letters = re.sub(r"[\r\n]+", "", text.strip(_BLANKS))
    if re.fullmatch(r"[A-Za-z0-9_-]+={0,2}", letters):
        letters = letters.translate({ord("-"): "+", ord("_"): "/"})
    padded = letters if letters.endswith("=") else letters + "=" * (-len(letters) % 4)
    try:
        raw = base64.b64decode(padded, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if raw and base64.b64encode(raw).decode() == padded else None


def _bytes(raw: bytes, place: int) -> str:
    """What bytes are that are not UTF-8."""
    packed = next((kind for start, kind in _PACKED.items() if raw.startswith(start)), None)
    if packed is not None:
        return f"{packed} data: messages are not packed"
    if raw.startswith(_WIDE) or b"\x00" in raw[:4]:
        return "UTF-16 or UTF-32: messages are UTF-8"
    return (
        f"bytes that are not UTF-8, the first 0x{raw[place]:02x} at {place}: another encoding, such as GBK or Latin-1"
    )


def _written(text: str) -> str:
    """A text that is no JSON, with what is known of it."""
    if text.startswith(_MARK):
        return f"a second byte order mark, {shown(text)}"
    if "\x00" in text[:4]:
        return f"UTF-16 or UTF-32, {shown(text)}: messages are UTF-8"
    return shown(text)


def _unread(text: str) -> str:
    """What was in a Base64 text, where it is no JSON."""
    again = _unpacked(text)
    if again is not None and again.startswith((b"{", b"[", _MARK.encode(), *_WIDE)):
        return f"Base64 once more, {shown(text)}: it was encoded twice"
    return _written(text)
