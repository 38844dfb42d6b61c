"""Bodies as people send them: what means the same is read the same, everything else is named as what it is."""

from __future__ import annotations

import base64
import gzip
import json
import textwrap

import pytest

from shared.errors import BadInput
from shared.messages.completion import Completion, Request
from shared.messages.envelope import AGAIN, Item, again, parse, redrivable, request_named, unwrapped
from tests.unit.conftest import EXAMPLE as APPROVAL

MARK = "\ufeff"
EXAMPLE = {
    "schema": "ecr-grants/completion/1",
    "id": "0" * 40,
    "event": "rejected",
    "at": "2026-12-01T00:00:00Z",
    "reason": {"code": "BadInput", "text": "because"},
}
# With what needs the letters in which the two alphabets differ, and a length that needs padding.
REASON = {"code": "BadInput", "text": "why?? ~~~ >>> ~~ ÿþ 中文 ???"}
TEXT = json.dumps({**EXAMPLE, "reason": REASON}, ensure_ascii=False)
TEXT += " " * ((1 - len(TEXT.encode())) % 3)
RAW = TEXT.encode()
BASE64 = base64.b64encode(RAW).decode()
assert {"+", "/"} <= set(BASE64)
assert BASE64.endswith("==")


def in_lines(text: str, end: str) -> str:
    """A text in lines of 76 letters."""
    return "".join(line + end for line in textwrap.wrap(text, 76))


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(TEXT, id="plain"),
        pytest.param(
            json.dumps(json.loads(TEXT), indent=2).replace("\n", "\r\n") + "\r\n", id="plain, in lines of Windows"
        ),
        pytest.param(MARK + TEXT, id="a byte order mark"),
        pytest.param(BASE64, id="Base64"),
        pytest.param(base64.encodebytes(RAW).decode(), id="Base64 in lines, as MIME has it"),
        pytest.param(in_lines(BASE64, "\r\n"), id="Base64 in lines of Windows"),
        pytest.param(f"\n  {BASE64}\n", id="Base64 with blanks around it, as a formatted document has it"),
        pytest.param(BASE64.rstrip("="), id="Base64 without its padding"),
        pytest.param(in_lines(BASE64.rstrip("="), "\n"), id="Base64 without its padding, in lines"),
        pytest.param(base64.urlsafe_b64encode(RAW).decode(), id="Base64 for URLs"),
        pytest.param(base64.urlsafe_b64encode(RAW).decode().rstrip("="), id="Base64 for URLs without its padding"),
        pytest.param(base64.b64encode(MARK.encode() + RAW).decode(), id="a byte order mark inside Base64"),
        pytest.param(MARK + BASE64, id="a byte order mark before Base64"),
    ],
)
def test_what_means_the_same_is_read_the_same(body: str) -> None:
    """One message, however a client wrote it; also when it was sent again, or comes out of a dead letter."""
    read = parse(body)
    assert isinstance(read, Completion)
    assert read == parse(TEXT)
    assert unwrapped(Item("n", again(Item("m", body)))) == Item("m", body)
    assert parse(redrivable(body)) == read


@pytest.mark.parametrize(
    ("body", "told"),
    [
        pytest.param(base64.b64encode(TEXT.encode("utf-16")).decode(), "Base64 of UTF-16 or UTF-32", id="UTF-16"),
        pytest.param(
            base64.b64encode(json.dumps(EXAMPLE).encode("utf-16-le")).decode(),
            "UTF-16 or UTF-32",
            id="UTF-16, unmarked",
        ),
        pytest.param(base64.b64encode(TEXT.encode("utf-32")).decode(), "Base64 of UTF-16 or UTF-32", id="UTF-32"),
        pytest.param(
            base64.b64encode(TEXT.replace("ÿþ", "").encode("gbk")).decode(),
            "bytes that are not UTF-8, the first 0xd6 at ",
            id="GBK",
        ),
        pytest.param(base64.b64encode(BASE64.encode()).decode(), "it was encoded twice", id="Base64 twice"),
        pytest.param(base64.b64encode(gzip.compress(RAW)).decode(), "gzip data", id="packed"),
        pytest.param(MARK + MARK + TEXT, "a second byte order mark", id="two byte order marks"),
        pytest.param(
            base64.b64encode((MARK * 2).encode() + RAW).decode(), "a second byte order mark", id="two inside Base64"
        ),
        pytest.param(BASE64[:-1], "found '", id="half its padding"),
        pytest.param(BASE64 + "=", "found '", id="more than its padding"),
        pytest.param(BASE64[:8] + " " + BASE64[8:], "found '", id="a blank inside Base64: it may have been a plus"),
        pytest.param(BASE64[:8] + "*" + BASE64[8:], "found '", id="a letter that no Base64 has"),
        pytest.param("+_" + BASE64, "found '", id="letters of both alphabets"),
        pytest.param(BASE64 + BASE64, "found '", id="two behind each other"),
        pytest.param("e31", "found '", id="bits left over"),
        pytest.param("", "found ''", id="nothing"),
        pytest.param("approved", "found 'approved'", id="a word that could be Base64"),
        pytest.param(base64.b64encode(b"12").decode(), "Base64 of '12'", id="Base64 of a number"),
        pytest.param(json.dumps(TEXT), "a JSON text that holds JSON", id="JSON twice"),
        pytest.param(json.dumps([EXAMPLE]), "an array of one", id="an array of one"),
        pytest.param(json.dumps([EXAMPLE, EXAMPLE]), "an array of 2", id="an array of two"),
        pytest.param(
            json.dumps({"TopicName": "t", "Message": TEXT}), "notify format SIMPLIFIED", id="a topic's envelope"
        ),
        pytest.param(TEXT.replace('"event"', '"reason": "x", "event"'), "reason: is there twice", id="a field twice"),
    ],
)
def test_what_cannot_be_read_is_named_as_what_it_is(body: str, told: str) -> None:
    """Nothing is guessed at, and whoever sent it knows what to change."""
    with pytest.raises(BadInput) as caught:
        parse(body)
    assert told in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        pytest.param({"message_id": 7}, "message_id: must be a text", id="an id that is a number"),
        pytest.param({"message_id": "x" * 2000}, "message_id: must be a text", id="an id that is too long"),
        pytest.param({"more": 1}, "more: is not a known field", id="a field more"),
        pytest.param({"body": None}, "is not a JSON object", id="nothing in it"),
        pytest.param(
            {"body": {"schema": AGAIN, "message_id": "m", "body": EXAMPLE}},
            "was itself sent again",
            id="sent again twice",
        ),
        pytest.param({"body": again(Item("m", EXAMPLE))}, "was itself sent again", id="sent again twice, as a text"),
    ],
)
def test_a_message_that_was_sent_again_is_checked_too(changes: dict[str, object], told: str) -> None:
    """We write these ourselves; whoever else does is told what is wrong."""
    document = {"schema": AGAIN, "message_id": "m-1", "body": json.dumps(EXAMPLE)}
    assert unwrapped(Item("n", document)) == Item("m-1", json.dumps(EXAMPLE))
    with pytest.raises(BadInput) as caught:
        parse(unwrapped(Item("n", document | changes)).body)
    assert told in str(caught.value)


@pytest.mark.parametrize("missing", ["message_id", "body"])
def test_a_message_that_was_sent_again_has_an_id_and_a_body(missing: str) -> None:
    """Else nobody can be answered."""
    document = {"schema": AGAIN, "message_id": "m-1", "body": json.dumps(EXAMPLE)}
    del document[missing]
    with pytest.raises(BadInput, match=f"{missing}: is missing"):
        parse(unwrapped(Item("n", document)).body)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        pytest.param(APPROVAL | {"colour": "red"}, ("self-service", "REQ-2026-0001"), id="an unknown field"),
        pytest.param(APPROVAL | {"issuer": 7}, None, id="an issuer that cannot be one"),
        pytest.param(APPROVAL | {"request_id": "x" * 129}, None, id="a request id that no column holds"),
        pytest.param(APPROVAL | {"request_id": "\x00"}, None, id="a NUL"),
        pytest.param([APPROVAL], None, id="a list"),
        pytest.param(7, None, id="a number"),
    ],
)
def test_a_refused_message_names_its_request_where_that_can_be_read(
    body: object, named: tuple[str, str] | None
) -> None:
    """So that whoever asked can be told; of content that its issuer sealed and that says too much or too little."""
    wanted = None if named is None else Request(issuer=named[0], request_id=named[1])
    assert request_named(json.dumps(body).encode()) == wanted
    assert request_named(b"{rotten") is None
