"""Messages: what is understood, and what a person is told when one is not."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import BadInput
from shared.messages.approval import GrantApproval, RevokeApproval
from shared.messages.completion import Wake
from shared.messages.envelope import items, parse
from shared.messages.seal import Sealed, approval_from, open_seal
from tests.seals import parts, public_x
from tests.unit.conftest import EXAMPLE, MakeApproval, varied


def event(data: object, **more: object) -> dict[str, object]:
    return {
        "id": "e-1",
        "source": "acs:mns",
        "specversion": "1.0",
        "type": "mns:Queue:SendMessage",
        "data": data,
        **more,
    }


SEALED = parts(EXAMPLE).form()
DATA = {"requestId": "r", "messageId": "m-1", "messageBody": json.dumps(SEALED)}


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param(event(DATA), id="one CloudEvent"),
        pytest.param([event(DATA)], id="array of objects"),
        pytest.param([json.dumps(event(DATA))], id="array of JSON strings"),
        pytest.param([DATA], id="bare data, as RawData delivers"),
        pytest.param([event({**DATA, "messageBody": SEALED})], id="body already an object"),
        pytest.param(
            [event({**DATA, "messageBody": base64.b64encode(json.dumps(SEALED).encode()).decode()})], id="Base64 body"
        ),
    ],
)
def test_every_event_shape_carries_the_same_approval(shape: object) -> None:
    """Whatever shape the platform chooses, the approval and its message id arrive."""
    [item] = items(json.dumps(shape).encode())
    assert item.message_id == "m-1"
    sealed = parse(item.body)
    assert isinstance(sealed, Sealed)
    approval = open_seal(sealed, public_x("self-service-1"))
    assert approval.grant.instance_id == EXAMPLE["instance"]["id"]


def test_a_field_that_is_there_twice_is_seen_also_without_an_envelope() -> None:
    """Readers differ in which of the two they take, so the platform's way of delivering must not decide."""
    twice = json.dumps(SEALED)[:-1] + ', "payload": "another"}'
    [item] = items(json.dumps([twice]).encode())
    with pytest.raises(BadInput, match="payload: is there twice"):
        parse(item.body)


def test_a_rotten_element_does_not_stop_its_neighbours() -> None:
    """Each element of a batch becomes an item, readable or not."""
    batch = [json.dumps(event(DATA)), "{rotten", 7, None, [], event("no object"), {}]
    found = list(items(json.dumps(batch).encode()))
    assert len(found) == len(batch)
    assert isinstance(parse(found[0].body), Sealed)
    for item in found[1:]:
        with pytest.raises(BadInput):
            parse(item.body)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        pytest.param(
            {"replaces": ["REQ-0", EXAMPLE["request_id"]]},
            "replaces: must name other requests than this one",
            id="a request that replaces itself",
        ),
        pytest.param(
            {"instance__id": "vpc_1"},
            "instance.id: must be the id of a VPC or VBR",
            id="no id that an instance can have",
        ),
        pytest.param(
            {"instance__id": "vbr-1"},
            "instance.id: is not the id of a VPC (found 'vbr-1')",
            id="the id of another kind of instance",
        ),
        pytest.param(
            {"instance__owner_uid": "12"},
            "instance.owner_uid: must be an account uid: a text of 15 to 20 digits (found '12')",
            id="a uid that is too short",
        ),
        pytest.param(
            {"instance__owner_uid": 2000000000000002},
            "instance.owner_uid: Input should be a valid string",
            id="a uid as a number, which JSON rounds",
        ),
        pytest.param(
            {"instance__region": "Hangzhou"},
            "instance.region: must be a region id, such as cn-hangzhou (found 'Hangzhou')",
            id="a region by its name",
        ),
        pytest.param(
            {"instance__type": "ENI"},
            "instance.type: Input should be 'VPC' or 'VBR' (found 'ENI')",
            id="a kind of instance that nobody grants",
        ),
        pytest.param(
            {"ecr__id": "ecr-assoc-9p2qxx5phpca2m"},
            "ecr.id: must be the id of a router",
            id="the id of an association, which begins like a router's",
        ),
        pytest.param({"colour": "red"}, "colour: is not a known field", id="a field that nobody knows"),
        pytest.param({"approved_by": []}, "approved_by: ", id="nobody approved it"),
        pytest.param(
            {"approved_at": "2026-11-24T08:00:00"},
            "approved_at: must be an ISO 8601 time with its zone",
            id="a time without its zone",
        ),
        pytest.param(
            {"approved_at": 5}, "approved_at: must be an ISO 8601 time with its zone", id="a time as a number"
        ),
        pytest.param(
            {"ends_at": "2020-01-01T00:00:00Z"},
            "ends_at: must be later than approved_at",
            id="an end before its approval",
        ),
        pytest.param(
            {"allowed_prefixes": ["10.0.0.1/16"]},
            "allowed_prefixes.0: 10.0.0.1/16 has host bits set",
            id="host bits in a prefix",
        ),
        pytest.param(
            {"allowed_prefixes": ["fd00::/64"]}, "allowed_prefixes.0: must be an IPv4 prefix", id="an IPv6 prefix"
        ),
        pytest.param(
            {"allowed_prefixes": []},
            "allowed_prefixes: must name at least one prefix for a VPC",
            id="a VPC without a prefix",
        ),
        pytest.param({"request_id": "-"}, "request_id: must be 1 to 128", id="a request id without a letter"),
        pytest.param(
            {"on_end": "explode"}, "on_end: Input should be 'report' or 'teardown'", id="an end that nobody knows"
        ),
    ],
)
def test_bad_input_names_the_field_and_what_was_found(changes: dict[str, Any], told: str) -> None:
    """A person can mend the message from the error alone."""
    with pytest.raises(BadInput) as caught:
        approval_from(varied(**changes))
    assert told in str(caught.value)


def test_every_fault_is_told_at_once() -> None:
    """Nobody mends one field to be told of the next."""
    document = varied(instance__id="nonsense", ecr__owner_uid="1")
    del document["reason"]
    with pytest.raises(BadInput) as caught:
        approval_from(document)
    assert [part.split(":")[0] for part in str(caught.value).split("; ")] == ["ecr.owner_uid", "instance.id", "reason"]


def test_a_vbr_takes_no_prefixes(approve: MakeApproval) -> None:
    """Attaching a VBR has no prefixes, so approving some would promise what cannot be kept."""
    assert approve(instance__type="VBR", instance__id="vbr-1", allowed_prefixes=[]).allowed_prefixes == []
    with pytest.raises(BadInput, match="allowed_prefixes: must be left out"):
        approve(instance__type="VBR", instance__id="vbr-1")


def test_the_digest_is_of_the_content_not_of_its_spelling(approve: MakeApproval) -> None:
    """Order of keys and prefixes, and the zone a time is written in, do not make another approval; a new reason does."""
    one = approve(allowed_prefixes=["10.20.0.0/16", "10.8.0.0/16"], approved_at="2026-11-24T08:00:00Z")
    other = varied(allowed_prefixes=["10.8.0.0/16", "10.20.0.0/16"], approved_at="2026-11-24T16:00:00+08:00")
    same = approval_from(dict(reversed(other.items())))
    assert isinstance(same, GrantApproval)
    assert one.digest == same.digest
    assert one.digest != approve(reason="another").digest


def test_a_wake_names_only_a_grant() -> None:
    """A wake carries no fact, so nothing can be ordered through it."""
    wake = {"schema": "ecr-grants/wake/1", "grant_id": "g-0123456789abcdef01234567"}
    assert isinstance(parse(wake), Wake)
    with pytest.raises(BadInput, match="action: is not a known field"):
        parse(wake | {"action": "revoke"})
    for odd in ("g-1", "g-0123456789ABCDEF01234567", "g-0123456789abcdef01234567\n", "g-\x00", "x" * 10_000, ""):
        with pytest.raises(BadInput, match="grant_id: must be the id of a grant"):
            parse(wake | {"grant_id": odd})


@pytest.mark.parametrize("version", [1, 2, 4])
def test_other_versions_are_not_understood(version: int) -> None:
    """Whether they are sealed or not; those of before seals least of all."""
    document = varied(schema=f"ecr-grants/approval/{version}")
    with pytest.raises(BadInput, match=f"schema: must be ecr-grants/approval/3 .found 'ecr-grants/approval/{version}'"):
        approval_from(document)
    with pytest.raises(BadInput, match="the approval is not sealed"):
        parse(document)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        pytest.param({"closes": "all"}, None, id="all leases"),
        pytest.param({"closes": "everyone"}, None, id="everyone's leases, which the inventory has to allow"),
        pytest.param({"closes": ["REQ-1", "REQ-2"]}, None, id="some by name"),
        pytest.param({"closes": []}, "closes: ", id="none: that would close nothing"),
        pytest.param({"closes": "some"}, "closes: ", id="a word that is not all"),
        pytest.param({}, "closes: is missing", id="not said"),
        pytest.param(
            {"closes": "all", "ends_at": None}, "ends_at: is not a known field", id="a lease's end: a revoke has none"
        ),
        pytest.param(
            {"closes": "all", "action": "explode"},
            "action: must be 'grant' or 'revoke' (found 'explode')",
            id="an action that nobody knows",
        ),
    ],
)
def test_a_revoke_names_leases_or_says_all(changes: dict[str, Any], told: str | None) -> None:
    """What it closes is part of what was approved."""
    document = varied(action="revoke")
    del document["allowed_prefixes"]
    if told is None:
        assert isinstance(approval_from(document | changes), RevokeApproval)
    else:
        with pytest.raises(BadInput) as caught:
            approval_from(document | changes)
        assert told in str(caught.value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(
    st.one_of(
        st.binary(),
        st.text().map(lambda text: text.encode("utf-8", "surrogatepass")),
        json_values.map(lambda v: json.dumps(v).encode()),
    )
)
def test_no_event_breaks_the_reader(raw: bytes) -> None:
    """Any bytes give items, and each item an approval, a wake or a BadInput; nothing else escapes."""
    told = []
    for item in items(raw):
        try:
            parse(item.body)
        except BadInput as error:
            told.append(str(error))
    assert all(told)


@pytest.mark.parametrize(
    "raw",
    [b"[" * 100_000, b'{"a":' * 50_000, b"1" * 10_000, b"\xff\xfe"],
    ids=["deep", "deep objects", "digits", "no UTF-8"],
)
def test_hostile_bytes_are_one_bad_item(raw: bytes) -> None:
    """Nesting and size do not bring the reader down."""
    for item in items(raw):
        with pytest.raises(BadInput):
            parse(item.body)
