"""XML in and out: what is refused, what survives the round trip."""

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.mns.markup import clean, document, escape, leaf, parse, writable
from localcloud.refusal import Refusal


def refused(body: bytes) -> str:
    with pytest.raises(Refusal) as refusal:
        parse(body)
    assert refusal.value.status == 400
    return refusal.value.code


@pytest.mark.parametrize(
    "namespace", ["", ' xmlns="http://mns.aliyuncs.com/doc/v1"', ' xmlns="http://mns.aliyuncs.com/doc/v1/"']
)
def test_every_clients_namespace_is_read(namespace: str) -> None:
    """Three namespaces are in use among official clients, and prefixes are legal XML too."""
    root = parse(f"<Message{namespace}><MessageBody> kept </MessageBody></Message>".encode())

    assert root.name == "Message"
    body = root.child("MessageBody")
    assert body is not None
    assert body.scalar() == " kept "
    assert parse(b'<m:Message xmlns:m="urn:x"><m:Priority>1</m:Priority></m:Message>').value("Priority") == "1"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not xml",
        b"<a>",
        b"<a></b>",
        b"<a>&unknown;</a>",
        b"<a>\x01</a>",
        b"<a>\xff</a>",
        b"<a/><b/>",
        b"<x:a/>",
        b'<!DOCTYPE a [<!ENTITY e "x">]><a>&e;</a>',
        b'<!DOCTYPE a SYSTEM "http://example.com/a.dtd"><a/>',
        "<a>ä</a>".encode("utf-16"),
        b"<a>" * 9 + b"</a>" * 9,
        b"<a>" + b"<b/>" * 10_000 + b"</a>",
    ],
)
def test_what_no_message_needs_is_malformed(body: bytes) -> None:
    """Document types, entities, other encodings, control characters, endless nesting: MalformedXML, never more."""
    assert refused(body) == "MalformedXML"


def test_saying_a_thing_twice_is_malformed() -> None:
    """An element that counts once may not be given twice."""
    root = parse(b"<Message><Priority>1</Priority><Priority>2</Priority></Message>")
    with pytest.raises(Refusal):
        root.value("Priority")


def test_text_with_children_is_malformed() -> None:
    """A body that was not escaped, so that it became elements, is noticed."""
    root = parse(b"<Message><MessageBody>a<b/>c</MessageBody></Message>")
    with pytest.raises(Refusal):
        root.value("MessageBody")


@given(st.text())
def test_round_trip(text: str) -> None:
    """Whatever XML can carry comes back unchanged, carriage returns included; the rest is known beforehand."""
    if writable(text):
        read = ET.fromstring(document("a", leaf("b", text)))  # noqa: S314 - an independent reader of our own text
        assert read[0].text == (text or None)
    assert writable(clean(text))
    assert "<" not in escape(text)
