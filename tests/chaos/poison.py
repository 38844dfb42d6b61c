"""Bad messages, generated: every way we could think of in which a message on the queue can be wrong.

Each comes with what its rejection has to say: the path of the field that is at fault, or, where there is no field to
speak of, what is wrong with the whole. The seed decides where texts are cut and which bytes are random; the kinds stay.
"""

from __future__ import annotations

import base64
import bz2
import contextlib
import copy
import gzip
import json
import quopri
import random
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from examples.keys import key as example_key
from examples.seal import sealed as seal
from tests.chaos.poison_fields import odd_fields
from tests.configured import DEPLOYMENT, kid_of

Json = dict[str, Any]

WHOLE = ("is not JSON", "is not a JSON object", "is not usable JSON")
SCHEMA = ("schema: ",)
HINTS = ("ecr-grants/wake/1", "ecr-grants/completion/1", "ecr-grants/again/1")
ISSUER = "self-service"
MOST = 44_000
"""Characters of one body: Base64 of it fits into a message of 64 KiB."""


@dataclass(frozen=True)
class Bad:
    """One bad message. ``body`` as it travels on the queue; ``told`` holds texts of which the reason has one."""

    kind: str
    name: str
    body: str
    told: tuple[str, ...]


def base64_of(raw: bytes) -> str:
    """Bytes as SDKs put them on the queue."""
    return base64.b64encode(raw).decode()


def corpus(good: Json, seed: int) -> list[Bad]:
    """All of them, made from one good approval for a VPC. Names are unique."""
    chance = random.Random(seed)  # noqa: S311  # repeatable, not a secret
    found: list[Bad] = []
    for kind, make in KINDS.items():
        found += [Bad(kind, f"{kind}: {name}", body, told) for name, body, told in make(copy.deepcopy(good), chance)]
    names = [one.name for one in found]
    assert len(set(names)) == len(names), sorted(name for name in names if names.count(name) > 1)
    return found


def as_sent(one: Bad) -> str:
    """The same as somebody sends it who has the key of an issuer: what is an object of JSON and no hint is sealed, its bytes as
    they are; the rest could not be, and travels as it is.
    """
    raw = one.body.encode(errors="surrogatepass")
    for packed in (False, True):
        with contextlib.suppress(ValueError, RecursionError):
            text = base64.b64decode(raw, validate=True) if packed else raw
            document = json.loads(text.decode())
            if isinstance(document, dict) and document.get("schema") not in HINTS:
                kid = kid_of(ISSUER)
                return json.dumps(seal(text, example_key(kid), kid, DEPLOYMENT, int(time.time())))
            break
    return one.body


Made = Iterator[tuple[str, str, tuple[str, ...]]]


def encodings(good: Json, chance: random.Random) -> Made:
    """The right text in the wrong bytes. Whoever sends UTF-16 does not get it repaired, he is told."""
    good = {**good, "reason": "für die Straße, 中文"}
    text = json.dumps(good, ensure_ascii=False)
    for name in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "gb18030"):
        yield name, base64_of(text.encode(name)), WHOLE
    latin = json.dumps({**good, "reason": "für die Straße"}, ensure_ascii=False)
    for name in ("cp037", "latin-1", "cp1252", "cp850", "iso8859_15"):
        yield name, base64_of(latin.encode(name)), WHOLE
    raw = text.encode()
    for name, packed in (
        ("gzip", gzip.compress(raw, mtime=0)),
        ("zlib", zlib.compress(raw)),
        ("bz2", bz2.compress(raw)),
        ("a Base64 of its Base64", base64.b64encode(raw)),
        ("a Base64 of a Base64 of its Base64", base64.b64encode(base64.b64encode(raw))),
        ("a JSON text of its JSON", json.dumps(text).encode()),
        ("hexadecimal", raw.hex().encode()),
        ("percent signs", quote(text).encode()),
        ("quoted printable", quopri.encodestring(raw)),
        ("a data URL", b"data:application/json;base64," + base64.b64encode(raw)),
        ("NUL behind it", raw + b"\x00"),
        ("NUL before it", b"\x00" + raw),
        ("every second byte", raw[::2]),
        ("backwards", raw[::-1]),
        ("upper case", text.upper().encode()),
    ):
        yield name, base64_of(packed), WHOLE + (SCHEMA if name == "upper case" else ())
    marked = "\ufeff\ufeff" + text
    yield "two byte order marks", base64_of(marked.encode()), WHOLE
    yield "two byte order marks, plain", marked, WHOLE
    lacking = base64_of(raw + b" " * (3 - len(raw) % 3) + b" ")
    yield "Base64 with half of its padding", lacking[:-1], WHOLE
    yield "Base64 with more than its padding", lacking + "=", WHOLE
    yield "Base64 with a blank in it", f"{lacking[:40]} {lacking[40:]}", WHOLE
    yield "Base64 with a letter too few", base64_of(raw)[1:], WHOLE
    yield "Base64 in both alphabets", f"+_{lacking}", WHOLE
    yield (
        "Base64 for URLs of no UTF-8",
        base64.urlsafe_b64encode(b'{"a":"???>>>~~~"}' + b"\xff\xfb\xff").decode(),
        WHOLE,
    )
    start = raw.index("für".encode()) + 1
    for number, broken in enumerate(
        (b"\xc3", b"\xc3\x28", b"\xe2\x82", b"\xf0\x28\x8c\xbc", b"\xff", b"\xc0\xaf", b"\xed\xa0\x80")
    ):
        yield f"broken UTF-8 {number}", base64_of(raw[:start] + broken + raw[start + 2 :]), WHOLE
    for number in range(40):
        size = chance.choice((1, 2, 3, 16, 100, 1000))
        yield f"random bytes {number}", base64_of(b"\x80" + chance.randbytes(size)), WHOLE


def texts(good: Json, chance: random.Random) -> Made:
    """What is no JSON at all, or not quite."""
    text = json.dumps(good)
    for name, body in {
        "empty": "",
        "a blank": " ",
        "line ends": "\r\n\r\n",
        "XML": "<approval><id>1</id></approval>",
        "YAML": "schema: ecr-grants/approval/3\naction: grant\n",
        "CSV": "schema,action\necr-grants/approval/3,grant\n",
        "a form": "schema=ecr-grants%2Fapproval%2F3&action=grant",
        "Python": repr({**good, "x": None}),
        "single quotes": text.replace('"', "'"),
        "no quotes": text.replace('"', ""),
        "typographic quotes": text.replace('"', "\u201d"),
        "a comment": text[:-1] + "/* approved */}",
        "a comment behind it": text + " // approved",
        "a comma too many": text[:-1] + ",}",
        "a comma too few": text.replace(", ", " ", 1),
        "a colon too few": text.replace(": ", " ", 1),
        "one behind the other": text + text,
        "a line each": text + "\n" + text,
        "something behind it": text + "x",
        "something before it": "x" + text,
        "no end": text[:-1],
        "two ends": text + "}",
        "no start": text[1:],
        "NaN as a name": text.replace('"grant"', "NaN-grant"),
        "undefined": text.replace('"grant"', "undefined"),
        "None": text.replace('"grant"', "None"),
        "True": text.replace('"grant"', "True"),
        "hexadecimal number": text.replace('"grant"', "0x10"),
        "leading zero": text.replace('"grant"', "007"),
        "a plus sign": text.replace('"grant"', "+1"),
        "a real tab in a text": text.replace("grant", "gr\tant", 1),
        "a real line end in a text": text.replace("grant", "gr\nant", 1),
        "a wrong escape": text.replace("grant", r"gr\xant", 1),
        "half an escape": text.replace("grant", r"gr\u12", 1),
        "a number of ten thousand digits": text.replace('"grant"', "9" * 10_000),
    }.items():
        yield name, base64_of(body.encode()), WHOLE
    for number in range(40):
        yield f"cut off {number}", base64_of(text[: chance.randrange(1, len(text) - 1)].encode()), WHOLE
    for number in range(20):
        place = chance.randrange(1, len(text) - 1)
        yield (
            f"a brace in the middle {number}",
            base64_of((text[:place] + '"}' * 3 + text[place:]).encode()),
            (
                *WHOLE,
                ": is not a known field",
            ),
        )
    for opened, times in (("[", 100), ("[", 999), ("[", 20_000), ('{"a":', 100), ('{"a":', 5000)):
        yield f"{opened} open {times} times", base64_of((opened * times).encode()), WHOLE


def shapes(good: Json, chance: random.Random) -> Made:
    """JSON, but no object that says what it is."""
    bare: Json = {
        "null": None,
        "true": True,
        "a number": 12,
        "a fraction": 1.5,
        "a text": "grant it",
        "an empty list": [],
        "a list of one approval": [good],
        "a list of texts": ["a", "b"],
        "a list of lists": [[[[]]]],
        "a long list": list(range(5000)),
    }
    for name, value in bare.items():
        yield name, base64_of(json.dumps(value).encode()), WHOLE
    for times in (50, 900, 960, 985, 995, 3000, 20_000):
        yield f"a list {times} deep", base64_of(("[" * times + "]" * times).encode()), WHOLE
    objects: Json = {
        "an empty object": {},
        "an object of something else": {"hello": "world"},
        "an approval in an object": {"approval": good},
        "a CloudEvent": {"specversion": "1.0", "id": "1", "type": "x", "data": good},
        "a wrapped message": {"TopicName": "t", "Message": json.dumps(good)},
    }
    for name, value in objects.items():
        yield name, base64_of(json.dumps(value).encode()), SCHEMA
    text = json.dumps(good)
    for times in (50, 900, 960, 985, 995, 3000):
        deep = '{"a":' * times + "1" + "}" * times
        yield f"an object {times} deep", base64_of(deep.encode()), (*SCHEMA, *WHOLE)
        inside = text[:-1] + f', "more": {deep}}}'
        yield f"an object {times} deep inside", base64_of(inside.encode()), ("more: is not a known field", *WHOLE)
    for number, constant in enumerate(("NaN", "Infinity", "-Infinity")):
        yield f"{constant} as a value", base64_of(text.replace('"grant"', constant, 1).encode()), ("action", *WHOLE)
        extra = text[:-1] + f', "more{number}": {constant}}}'
        yield f"{constant} in a new field", base64_of(extra.encode()), (f"more{number}", *WHOLE)
    for field in ("request_id", "action", "schema", "reason", "instance", "approved_by", "allowed_prefixes"):
        twice = text[:-1] + f', "{field}": {json.dumps(good[field])}}}'
        yield f"{field} twice, alike", base64_of(twice.encode()), (f"{field}: is there twice",)
        other = {"instance": {}, "approved_by": ["another@example.com"]}.get(field, "another")
        different = text[:-1] + f', "{field}": {json.dumps(other)}}}'
        yield f"{field} twice, different", base64_of(different.encode()), (f"{field}: is there twice",)
    inner = text.replace('"type": "VPC"', '"type": "VPC", "type": "VBR"', 1)
    yield (
        "a field of a field twice",
        base64_of(inner.encode()),
        ("instance.type: is there twice", "type: is there twice"),
    )


SURROGATE = "\ud800"
FIELDS = [
    *("schema", "issuer", "request_id", "action", "ecr", "ecr.id", "ecr.owner_uid", "instance", "instance.type"),
    *("instance.id", "instance.region", "instance.owner_uid", "allowed_prefixes", "requested_by", "approved_by"),
    *("approved_at", "reason", "ends_at", "on_end"),
]
WRONG: dict[str, Any] = {
    "null": None,
    "true": True,
    "false": False,
    "zero": 0,
    "a number": 2000000000000002,
    "a negative number": -1,
    "a fraction": 1.5,
    "a number beyond 64 bits": 10**30,
    "an empty text": "",
    "blanks": "   ",
    "a long text": "x" * 20_000,
    "an empty list": [],
    "an empty object": {},
    "a list of nulls": [None, None],
    "a list of objects": [{"a": 1}],
    "an object": {"a": {"b": [1, 2]}},
    "half a surrogate pair": f"x{SURROGATE}x",
    "control characters": "\x00\x01\x1b[31m\x7f",
}
# What is allowed after all: an approval may be without an end.
FINE = {("ends_at", "null")}


# Beside those: values that are nearly right.
MORE: tuple[tuple[str, Any, str], ...] = (
    ("approved_by", [""], "approved_by.0: "),
    ("approved_by", ["a@example.com", 7], "approved_by.1: "),
    ("approved_by", ["a@example.com"] * 21, "approved_by: "),
    ("allowed_prefixes", ["10.0.0.0/8", "x"], "allowed_prefixes.1: "),
    ("allowed_prefixes", ["10.0.0.1/8"], "allowed_prefixes.0: "),
    ("allowed_prefixes", ["10.0.0.0/33"], "allowed_prefixes.0: "),
    ("allowed_prefixes", ["2001:db8::/32"], "allowed_prefixes.0: "),
    ("allowed_prefixes", [f"10.{n}.0.0/16" for n in range(101)], "allowed_prefixes: "),
    ("approved_at", "yesterday", "approved_at: "),
    ("approved_at", "2026-02-30T00:00:00Z", "approved_at: "),
    ("approved_at", "2026-01-31T12:00:00", "approved_at: "),
    ("approved_at", "2026-01-31", "approved_at: "),
    ("approved_at", "10000-01-01T00:00:00Z", "approved_at: "),
    ("approved_at", 1_700_000_000, "approved_at: "),
    ("ends_at", "2000-01-01T00:00:00Z", "ends_at: "),
    ("ends_at", "0001-01-01T00:00:00+23:59", "ends_at: "),
    ("on_end", "Teardown", "on_end: "),
    ("action", "Grant", "action: "),
    ("action", "delete", "action: "),
    ("issuer", "Self Service", "issuer: "),
    ("issuer", "../../etc", "issuer: "),
    ("request_id", "-starts-with-a-sign", "request_id: "),
    ("request_id", "has a blank", "request_id: "),
    ("request_id", "r" * 129, "request_id: "),
    ("request_id", "REQ-1\n", "request_id: "),
    ("request_id", "REQ-\u0661\u0662", "request_id: "),
    ("request_id", "'; DROP TABLE grants; --", "request_id: "),
)
OF_THE_INSTANCE = (
    ("id", "vpc_1"),
    ("id", "VPC-ABC"),
    ("id", "vbr-instead"),
    ("id", "vpc-"),
    ("id", "vpc-a\n"),
    ("type", "vpc"),
    ("type", "TR"),
    ("region", "cn_hangzhou"),
    ("region", "CN-HANGZHOU"),
    ("owner_uid", "2000"),
    ("owner_uid", "\uff12" * 16),
    ("owner_uid", "9999999999999999"),
)


def fields(good: Json, chance: random.Random) -> Made:
    """Each field with each wrong value."""
    for path in FIELDS:
        for name, value in WRONG.items():
            if (path, name) in FINE:
                continue
            document = copy.deepcopy(good)
            *steps, last = path.split(".")
            place = document
            for step in steps:
                place = place[step]
            place[last] = value
            told = SCHEMA if path == "schema" else (f"{path}: ", f"{path}.")
            yield f"{path} is {name}", base64_of(json.dumps(document).encode()), told
    for where, value, at in MORE:
        yield f"{where} is {str(value)[:40]}", base64_of(json.dumps({**good, where: value}).encode()), (at,)
    for inner, value in OF_THE_INSTANCE:
        document = {**good, "instance": {**good["instance"], inner: value}}
        told_as = "instance.id: " if (inner, value) == ("type", "VBR") else f"instance.{inner}: "
        yield f"instance.{inner} is {value!r}", base64_of(json.dumps(document).encode()), (told_as,)


def missing(good: Json, chance: random.Random) -> Made:
    """Each field left out, and several at once: all are named."""
    for path in FIELDS:
        if path in ("ends_at", "on_end"):
            continue
        document = copy.deepcopy(good)
        *steps, last = path.split(".")
        place = document
        for step in steps:
            place = place[step]
        del place[last]
        told = SCHEMA if path == "schema" else (f"{path}: ",)
        yield path, base64_of(json.dumps(document).encode()), told
    without = [name for name in good if name not in ("schema", "action", "allowed_prefixes")]
    for number in range(10):
        gone = chance.sample(without, 3)
        document = {name: value for name, value in good.items() if name not in gone}
        yield f"three fields {number}", base64_of(json.dumps(document).encode()), (f"{gone[0]}: is missing",)
    yield "all but two", base64_of(json.dumps({"schema": good["schema"], "action": "grant"}).encode()), ("issuer: ",)


def unknown(good: Json, chance: random.Random) -> Made:
    """Fields that nobody knows, in names that nobody would choose."""
    names = [
        "colour",
        "Reason",
        "REQUEST_ID",
        "requestId",
        "ends",
        "approver",
        "__proto__",
        "constructor",
        "grant",
        "revoke",
    ]
    names += [
        "a.b",
        "a[0]",
        "$ref",
        "@type",
        "with blank",
        "tab\there",
        "line\nend",
        "nul\x00",
        "\x1b[2J",
        "中文",
        "emoji😀",
    ]
    names += [
        "\u202eright to left",
        "x" * 200,
        "x" * 30_000,
        "'quoted'",
        '"quoted"',
        "{brace}",
        "%s%n",
        "{0}",
        "\\",
        "/",
    ]
    for name in names:
        body = json.dumps({**good, name: 1})
        yield f"{name[:20]!r} ({len(name)})", base64_of(body.encode()), ("is not a known field",)
    yield "an empty name", base64_of(json.dumps({**good, "": 1}).encode()), ("is not a known field",)
    lone = json.dumps({**good, SURROGATE: 1})
    yield "half a surrogate pair as a name", base64_of(lone.encode()), ("is not a known field", "surrogate", *WHOLE)
    for name in ("ecr", "instance"):
        inside = {**good, name: {**good[name], "colour": "red"}}
        yield f"colour in {name}", base64_of(json.dumps(inside).encode()), (f"{name}.colour: is not a known field",)
    many = {**good, **{f"field{number}": number for number in range(2000)}}
    yield "two thousand", base64_of(json.dumps(many).encode()), ("is not a known field",)
    yield "an end of a revoke", base64_of(json.dumps({**good, "closes": "all"}).encode()), ("closes: ",)


def versions(good: Json, chance: random.Random) -> Made:
    """Schemas of other times and other people."""
    known = "ecr-grants/approval/3"
    for name in (
        *(f"ecr-grants/approval/{number}" for number in ("0", "1", "2", "4", "10", "99", "3.0", "03", "-3", "v3", "")),
        "ecr-grants/approval",
        "ecr-grants/completion/0",
        "ecr-grants/completion/2",
        "ecr-grants/wake/2",
        "ecr-grants/Approval/3",
        "other/approval/3",
        known.upper(),
        f" {known}",
        f"{known} ",
        f"{known}\n",
        f"https://example.com/{known}",
        f"{known}/",
    ):
        yield repr(name), base64_of(json.dumps({**good, "schema": name}).encode()), SCHEMA
    for value in (2, [known], {"name": known}, None, True, ""):
        yield f"schema {value!r}", base64_of(json.dumps({**good, "schema": value}).encode()), SCHEMA


def others(good: Json, chance: random.Random) -> Made:
    """Revokes, completions and wakes that are not well formed."""
    revoke = {name: value for name, value in good.items() if name != "allowed_prefixes"} | {"action": "revoke"}
    for value in (None, "", "ALL", "everything", [], [""], [7], ["a b"], ["r"] * 101, {"all": True}, 1, True):
        body = json.dumps({**revoke, "closes": value})
        yield f"closes is {str(value)[:20]}", base64_of(body.encode()), ("closes: ", "closes.")
    yield "no closes", base64_of(json.dumps(revoke).encode()), ("closes: is missing",)
    wake: Json = {"schema": "ecr-grants/wake/1", "grant_id": "g-" + "0" * 24}
    for name, grant in (("no grant", None), ("a number", 7), ("a list", ["g"]), ("nobody", "g-nobody")):
        yield f"wake with {name}", base64_of(json.dumps({**wake, "grant_id": grant}).encode()), ("grant_id: ",)
    yield "wake with more", base64_of(json.dumps({**wake, "more": 1}).encode()), ("more: is not a known field",)
    completion: Json = {
        "schema": "ecr-grants/completion/1",
        "id": "0" * 40,
        "event": "granted",
        "at": "2026-01-31T12:00:00Z",
    }
    yield "completion without a grant", base64_of(json.dumps(completion).encode()), ("grant: is missing",)
    changes: Json = {"event": "It exploded", "at": "now", "id": 7, "grant": {}, "served": [1], "number": "1"}
    for name, value in changes.items():
        body = json.dumps({**completion, name: value})
        yield f"completion with {name} {value!r}", base64_of(body.encode()), (f"{name}: ", f"{name}.")


def every_field(good: Json, chance: random.Random) -> Made:
    """Each odd value in each field of each kind of message."""
    for name, document, told in odd_fields(good):
        yield name, base64_of(json.dumps(document).encode()), (*told, *WHOLE)


def huge(good: Json, chance: random.Random) -> Made:
    """As large as a message can be."""
    yield "a reason", base64_of(json.dumps({**good, "reason": "x" * MOST}).encode()), ("reason: ",)
    yield (
        "a list of people",
        base64_of(json.dumps({**good, "approved_by": ["a@b"] * 5000}).encode()),
        ("approved_by: ",),
    )
    yield "a list of faults", base64_of(json.dumps({**good, "approved_by": [7] * 10_000}).encode()), ("approved_by",)
    yield "a text", base64_of(json.dumps("x" * MOST).encode()), WHOLE
    yield "blanks", base64_of(b" " * MOST), WHOLE
    yield "zeros", base64_of(b"\x00" * MOST), WHOLE
    yield "noise", base64_of(b"\xff" + chance.randbytes(MOST)), WHOLE
    yield (
        "prefixes",
        base64_of(json.dumps({**good, "allowed_prefixes": ["10.0.0.0/8"] * 3000}).encode()),
        ("allowed_prefixes",),
    )


KINDS: dict[str, Callable[[Json, random.Random], Made]] = {
    "encoding": encodings,
    "text": texts,
    "shape": shapes,
    "field": fields,
    "missing": missing,
    "unknown field": unknown,
    "version": versions,
    "other message": others,
    "every field": every_field,
    "huge": huge,
}
