"""The JSON Schemas: whoever checks an approval before it is sent is told what we would tell, and of the right field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from shared.errors import BadInput
from shared.messages.completion import Completion, EventKind
from shared.messages.envelope import parse
from shared.messages.schemas import message_schemas
from shared.messages.seal import approval_from
from tests.unit.conftest import EXAMPLE, varied

ROOT = Path(__file__).parents[2]
SCHEMAS = {file: json.loads(text) for file, text in message_schemas().items()}
APPROVAL = Draft202012Validator(SCHEMAS["approval.json"], format_checker=Draft202012Validator.FORMAT_CHECKER)
COMPLETION = Draft202012Validator(SCHEMAS["completion.json"], format_checker=Draft202012Validator.FORMAT_CHECKER)

VBR = {"instance__type": "VBR", "instance__id": "vbr-1"}
REVOKE = json.loads((ROOT / "examples" / "revoke.json").read_text("utf-8"))


def told(document: Any) -> str:
    """What a validator says first, with the path of the field; empty where it finds nothing."""
    error = best_match(APPROVAL.iter_errors(document))
    return "" if error is None else f"{'.'.join(map(str, error.absolute_path))}: {error.message}"


def accepted(document: Any) -> bool:
    """Whether our own parser takes it."""
    try:
        approval_from(document)
    except BadInput:
        return False
    return True


def without(document: dict[str, Any], *names: str) -> dict[str, Any]:
    """The document without some fields."""
    return {name: value for name, value in document.items() if name not in names}


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
def test_a_schema_is_a_schema(schema: Any) -> None:
    """Of the draft that it names."""
    Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.json")), ids=lambda path: path.name)
def test_the_examples_are_valid(path: Path) -> None:
    """For the schema as for the parser."""
    document = json.loads(path.read_text("utf-8"))
    assert told(document) == ""
    assert accepted(document)


@pytest.mark.parametrize("name", list(EXAMPLE))
def test_a_missing_field_is_named_as_missing(name: str) -> None:
    """Also an approver, and the prefixes of a VPC; nobody is told of another action instead."""
    document = without(EXAMPLE, name)
    assert told(document) == f": '{name}' is a required property"
    with pytest.raises(BadInput, match=f"^{name}: (is missing|must)"):
        approval_from(document)


@pytest.mark.parametrize("name", list(REVOKE))
def test_a_missing_field_of_a_revoke_is_named_as_missing(name: str) -> None:
    """Above all what it closes."""
    document = without(REVOKE, name)
    assert told(document) == f": '{name}' is a required property"
    assert not accepted(document)


@pytest.mark.parametrize(
    ("document", "field"),
    [
        pytest.param(varied(), None, id="a VPC with a prefix"),
        pytest.param(varied(allowed_prefixes=[]), "allowed_prefixes", id="a VPC with no prefix in the list"),
        pytest.param(varied(**VBR, allowed_prefixes=[]), None, id="a VBR with an empty list"),
        pytest.param(without(varied(**VBR), "allowed_prefixes"), None, id="a VBR and nothing about prefixes"),
        pytest.param(varied(**VBR), "allowed_prefixes", id="a VBR with a prefix"),
        pytest.param(varied(instance__id="vbr-1"), "instance.id", id="the id of a VBR for a VPC"),
        pytest.param(
            without(varied(instance__type="VBR"), "allowed_prefixes"), "instance.id", id="the id of a VPC for a VBR"
        ),
        pytest.param(varied(approved_by=[]), "approved_by", id="nobody approved it"),
        pytest.param(varied(approved_by=["a@example.com"] * 2), None, id="the same approver twice: a set"),
        pytest.param(varied(approved_by=["a@example.com"] * 21), "approved_by", id="more approvers than are kept"),
        pytest.param(varied(approved_by="a@example.com"), "approved_by", id="an approver who is no list"),
        pytest.param(varied(approved_by=["\u00a0"]), "approved_by.0", id="an approver whom nobody can see"),
        pytest.param(varied(requested_by=" "), "requested_by", id="a requester who is a blank"),
        pytest.param(varied(reason="\t\n\u3000"), "reason", id="a reason of blanks"),
        pytest.param(varied(reason="两行\r\n的原因\u00a0"), None, id="a reason in two lines"),
        pytest.param(varied(reason="a\x00b"), "reason", id="a reason with a NUL"),
        pytest.param(varied(ends_at=None), None, id="no end, said so"),
        pytest.param(varied(ends_at="2090-01-01T00:00:00Z", on_end="teardown"), None, id="an end"),
        pytest.param(varied(approved_at="2026-11-24T08:00:00"), "approved_at", id="a time without its zone"),
        pytest.param(varied(approved_at="2026-11-24 08:00:00Z"), "approved_at", id="a blank for the T"),
        pytest.param(varied(approved_at="2026-11-24t16:00:00.5+08:00"), None, id="small letters, parts of a second"),
        pytest.param(varied(replaces=["REQ-1", "REQ-1"]), None, id="what it replaces: a set"),
        pytest.param(varied(replaces=[]), None, id="it replaces nothing, said so"),
        pytest.param(varied(replaces=["REQ-1"] * 101), "replaces", id="more replaced than are kept"),
        pytest.param(varied(replaces="REQ-1"), "replaces", id="what it replaces is no list"),
        pytest.param(varied(replaces=["-"]), "replaces.0", id="what it replaces is no request id"),
        pytest.param(REVOKE | {"replaces": ["REQ-1"]}, "replaces", id="a revoke that replaces"),
        pytest.param(varied(closes="all"), "closes", id="a grant that closes"),
        pytest.param(varied(colour="red"), "colour", id="a field that nobody knows"),
        pytest.param(varied(allowed_prefixes=["10.0.0.0"]), "allowed_prefixes.0", id="a prefix without its mask"),
        pytest.param(
            varied(allowed_prefixes=["10.0.0.0/8"] * 101), "allowed_prefixes", id="more prefixes than are kept"
        ),
        pytest.param(varied(instance__region="cn-" + "a" * 62), "instance.region", id="a region that no column holds"),
        pytest.param(REVOKE | {"closes": "all"}, None, id="a revoke of all"),
        pytest.param(REVOKE | {"closes": "everyone"}, None, id="a revoke of everyone's"),
        pytest.param(REVOKE | {"closes": []}, "closes", id="a revoke of nothing"),
        pytest.param(REVOKE | {"closes": "some"}, "closes", id="a revoke of some"),
        pytest.param(REVOKE | {"ends_at": None}, "ends_at", id="a revoke with an end"),
        pytest.param(REVOKE | {"allowed_prefixes": []}, "allowed_prefixes", id="a revoke with prefixes"),
        pytest.param(REVOKE | {"action": "delete"}, "action", id="an action that nobody knows"),
    ],
)
def test_schema_and_parser_agree_and_name_the_field(document: dict[str, Any], field: str | None) -> None:
    """What one accepts or refuses, the other does too."""
    assert accepted(document) is (field is None)
    found = told(document)
    if field is None:
        assert found == ""
    else:
        assert found.startswith((f"{field}: ", f": '{field}' ")) or f"('{field}' was " in found
        with pytest.raises(BadInput, match=f"(^|; ){field}: ".replace(".", r"\.")):
            approval_from(document)


FACT: dict[str, Any] = {
    "schema": "ecr-grants/completion/1",
    "id": "0" * 40,
    "event": "granted",
    "at": "2026-01-31T12:00:00Z",
    "grant": {
        "grant_id": "g-" + "0" * 24,
        "ecr_id": "ecr-aaaaaa",
        "ecr_owner_uid": "1000000000000001",
        "instance_type": "VPC",
        "instance_id": "vpc-1",
        "instance_region": "cn-hangzhou",
        "instance_owner_uid": "2000000000000002",
    },
    "request": {"issuer": "self-service", "request_id": "REQ-1", "digest": "0" * 64},
    "reason": {"code": "Done", "text": "done"},
    "served": [{"operation": "o", "account": "a", "session": "s", "api_request_id": "r"}],
}


@pytest.mark.parametrize(
    "more",
    [
        pytest.param({}, id="as this version writes it"),
        pytest.param({"weather": "fine"}, id="a new field"),
        pytest.param({"grant": {**FACT["grant"], "zone": "b"}}, id="a new field of the grant"),
        pytest.param({"request": {**FACT["request"], "seal": "x"}}, id="a new field of the request"),
        pytest.param({"reason": {"code": "New", "text": "t", "hint": "h"}}, id="a new field of the reason"),
        pytest.param({"served": [{**FACT["served"][0], "ms": 7}]}, id="a new field of a call"),
        pytest.param({"event": "grant-moved"}, id="a new event"),
    ],
)
def test_readers_of_completions_pass_over_what_a_later_version_tells(more: dict[str, Any]) -> None:
    """The grant to look at is all that a reader needs."""
    document = FACT | more
    assert list(COMPLETION.iter_errors(document)) == []
    read = parse(document)
    assert isinstance(read, Completion)
    assert read.grant is not None
    assert read.grant.grant_id == "g-" + "0" * 24


def test_known_events_are_read_as_such() -> None:
    """Each kind by its own name."""
    for kind in EventKind:
        read = parse(FACT | {"event": kind.value})
        assert isinstance(read, Completion)
        assert read.event is kind
