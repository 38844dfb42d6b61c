"""The forms of ids, people, times and prefixes: what is kept, and that two ways to write the same are one approval."""

from __future__ import annotations

import re
import typing
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sql
from pydantic import BaseModel

from shared.errors import BadInput
from shared.ledger.tables import approvals, events, grants
from shared.messages import forms
from shared.messages.approval import GrantApproval, RevokeApproval
from shared.messages.completion import Completion, Wake
from shared.messages.seal import approval_from
from tests.unit.conftest import MakeApproval, varied

SAME = {
    "approved_by": ["a@example.com", "b@example.com"],
    "approved_at": "2026-11-26T02:00:00Z",
    "allowed_prefixes": ["10.20.1.0/24", "10.20.2.0/24"],
    "reason": "a reason",
    "replaces": ["REQ-1", "REQ-2"],
}


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"approved_by": ["b@example.com", "a@example.com"]}, id="approvers in another order"),
        pytest.param({"approved_by": ["a@example.com", "b@example.com", "a@example.com"]}, id="an approver twice"),
        pytest.param({"approved_by": [" a@example.com", "b@example.com\n"]}, id="blanks around approvers"),
        pytest.param({"approved_at": "2026-11-26T10:00:00+08:00"}, id="another zone"),
        pytest.param({"approved_at": "2026-11-25T18:00:00-08:00"}, id="another zone, the day before"),
        pytest.param({"approved_at": "2026-11-26t02:00:00z"}, id="small letters"),
        pytest.param({"approved_at": "2026-11-26T02:00:00.000Z"}, id="milliseconds"),
        pytest.param({"approved_at": "2026-11-26T02:00:00.000999999+00:00"}, id="nanoseconds: milliseconds are kept"),
        pytest.param({"allowed_prefixes": ["10.20.2.0/24", "10.20.1.0/24", "10.20.2.0/24"]}, id="prefixes, one twice"),
        pytest.param({"replaces": ["REQ-2", "REQ-1", "REQ-2"]}, id="what is replaced, one twice"),
        pytest.param({"reason": " a reason \r\n"}, id="blanks around the reason"),
        pytest.param({"ends_at": None}, id="no end, said so"),
    ],
)
def test_the_same_written_differently_is_the_same_approval(approve: MakeApproval, changes: dict[str, Any]) -> None:
    """Its digest says so."""
    assert approve(**SAME | changes).digest == approve(**SAME).digest


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"approved_by": ["a@example.com"]}, id="an approver less"),
        pytest.param(
            {"approved_by": ["A@example.com", "b@example.com"]}, id="an approver in other letters: ids are exact"
        ),
        pytest.param({"approved_at": "2026-11-26T02:00:00.001Z"}, id="a millisecond later"),
        pytest.param({"allowed_prefixes": ["10.20.0.0/16"]}, id="a wider prefix"),
        pytest.param({"ends_at": "2026-11-27T02:00:00Z"}, id="an end"),
        pytest.param({"replaces": ["REQ-1"]}, id="it replaces one less"),
        pytest.param({"reason": "a\u00a0reason"}, id="another letter in the reason"),
    ],
)
def test_another_content_is_another_approval(approve: MakeApproval, changes: dict[str, Any]) -> None:
    """However little it differs."""
    assert approve(**SAME | changes).digest != approve(**SAME).digest


def test_what_a_revoke_closes_is_a_set() -> None:
    """Order and repetition do not count."""
    document = varied(action="revoke")
    del document["allowed_prefixes"]
    one, other = (approval_from(document | {"closes": closes}) for closes in (["A", "B"], ["B", "A", "B"]))
    assert isinstance(one, RevokeApproval)
    assert isinstance(other, RevokeApproval)
    assert one.digest == other.digest


@pytest.mark.parametrize(
    "written",
    [
        pytest.param("20261126T020000Z", id="the basic format"),
        pytest.param("2026-W48-4T02:00:00Z", id="a week date"),
        pytest.param("2026-330T02:00:00Z", id="a day of the year"),
        pytest.param("2026-11-26", id="only a date"),
        pytest.param("2026-11-26T02:00Z", id="no seconds"),
        pytest.param("2026-11-26T02Z", id="no minutes"),
        pytest.param("2026-11-26T02:00:00", id="no zone"),
        pytest.param("2026-11-26 02:00:00Z", id="a blank for the T"),
        pytest.param("2026-11-26T02:00:00+0800", id="a zone without its colon"),
        pytest.param("2026-11-26T02:00:00+08", id="a zone of hours"),
        pytest.param("2026-11-26T02:00:00+24:00", id="a zone beyond a day"),
        pytest.param("2026-11-26T02:00:00,5Z", id="a comma"),
        pytest.param("2026-11-26T02:00:00.Z", id="a point and nothing behind it"),
        pytest.param("2026-11-26T24:00:00Z", id="hour 24"),
        pytest.param("2026-06-30T23:59:60Z", id="a leap second"),
        pytest.param("2026-02-29T00:00:00Z", id="a day that the year does not have"),
        pytest.param("0001-01-01T00:00:00+08:00", id="before the calendar"),
        pytest.param(" 2026-11-26T02:00:00Z", id="a blank before it"),
        pytest.param("2026-11-26T02:00:00Z\n", id="a line end behind it"),
        pytest.param("\uff12026-11-26T02:00:00Z", id="digits that are not ASCII"),
        pytest.param("now", id="a word"),
        pytest.param(1795658400, id="seconds as a number"),
        pytest.param("1795658400", id="seconds as a text"),
        pytest.param(None, id="null"),
    ],
)
def test_a_time_is_written_in_one_way(written: object) -> None:
    """RFC 3339: date, T, time with seconds, zone. The rest is refused with what was found."""
    with pytest.raises(BadInput, match=r"approved_at: must be an ISO 8601 time with its zone, .*RFC 3339"):
        approval_from(varied(approved_at=written))


def test_the_last_moment_of_the_calendar_can_be_kept(approve: MakeApproval) -> None:
    """People write it for "never"; rounded up it would be in a year that nothing can print."""
    last = approve(ends_at="9999-12-31T23:59:59.999999999Z").ends_at
    assert last is not None
    assert datetime.fromtimestamp(int(last.timestamp() * 1000) / 1000, UTC).year == 9999


@pytest.mark.parametrize(
    ("written", "told"),
    [
        pytest.param("10.20.3.4", "has no mask: for this one address write 10.20.3.4/32", id="no mask"),
        pytest.param("10.0.0.1/8", "10.0.0.1/8 has host bits set", id="host bits"),
        pytest.param("10.20.1.0/255.255.255.0", "not in a netmask or hostmask", id="a netmask"),
        pytest.param("10.20.1.0/0.0.0.255", "not in a netmask or hostmask", id="a hostmask"),
        pytest.param("2001:db8::/32", "must be an IPv4 prefix", id="IPv6"),
        pytest.param("::ffff:10.20.0.0/112", "must be an IPv4 prefix", id="IPv4 in IPv6"),
        pytest.param("010.020.000.000/16", "without leading zeros", id="leading zeros"),
        pytest.param("10.20.0.0/016", "without leading zeros", id="leading zeros in the length"),
        pytest.param("10.20.0.0/33", "must be an IPv4 prefix", id="a length that is too long"),
        pytest.param("10.20.0.0/", "must be an IPv4 prefix", id="a slash and no length"),
        pytest.param("10.20.0.0/+16", "must be an IPv4 prefix", id="a sign"),
        pytest.param("10.20.0.0/16/16", "must be an IPv4 prefix", id="two lengths"),
        pytest.param("10.20/16", "must be an IPv4 prefix", id="two numbers"),
        pytest.param("256.0.0.0/8", "must be an IPv4 prefix", id="a number that is too large"),
        pytest.param("0x0a.0.0.0/8", "must be an IPv4 prefix", id="hexadecimal"),
        pytest.param("10.20.0.0-10.20.0.255", "must be an IPv4 prefix", id="a range"),
        pytest.param("10.20.0.0/16,10.21.0.0/16", "must be an IPv4 prefix", id="two in one"),
        pytest.param(" 10.20.0.0/16", "or blanks", id="a blank before it"),
        pytest.param("10.20.0.0/16\n", "or blanks", id="a line end behind it"),
        pytest.param("\u0661\u0660.20.0.0/16", "must be an IPv4 prefix", id="Arabic digits"),
        pytest.param("\uff11\uff10.20.0.0/16", "must be an IPv4 prefix", id="full-width digits"),
        pytest.param("", "must be an IPv4 prefix", id="nothing"),
        pytest.param("any", "must be an IPv4 prefix", id="a word"),
        pytest.param(10, "valid string", id="a number"),
        pytest.param(None, "valid string", id="null"),
    ],
)
def test_a_prefix_is_written_in_one_way(written: object, told: str) -> None:
    """The fault names the place in the list and what was found."""
    with pytest.raises(BadInput, match=r"^allowed_prefixes\.1: ") as caught:
        approval_from(varied(allowed_prefixes=["10.8.0.0/16", written]))
    assert told in str(caught.value)
    assert "(found " in str(caught.value)


def test_overlapping_prefixes_and_single_addresses_are_fine(approve: MakeApproval) -> None:
    """Each is a route that somebody approved; a hundred at most."""
    many = ["10.0.0.0/8", "10.20.0.0/16", "10.20.3.4/32", *(f"172.16.{n}.0/24" for n in range(97))]
    assert len(approve(allowed_prefixes=many).allowed_prefixes) == 100
    with pytest.raises(BadInput, match="allowed_prefixes: must have at most 100 of them, not 101"):
        approve(allowed_prefixes=[*many, "10.0.0.0/8"])


ODD = {
    "a NUL": "x\x00x",
    "an escape": "\x1b[31mred",
    "a delete": "x\x7f",
    "a control of the second kind": "x\x9bx",
    "right to left": "x\u202ex",
    "an isolate": "x\u2066x",
    "nothing": "",
    "a blank": " ",
    "a no-break space": "\u00a0",
    "an ideographic space": "\u3000",
    "a zero-width space": "\u200b",
    "a byte order mark": "\ufeff",
    "a tab and a line end": "\t\n",
    "a filler": "\u3164",
    "a lone surrogate": "x\ud800x",
    "too long": "x" * 1001,
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
@pytest.mark.parametrize("field", ["requested_by", "reason", "approved_by"])
def test_people_and_reasons_can_be_seen(field: str, odd: str) -> None:
    """Nobody approves for nobody, or in letters that turn the line."""
    with pytest.raises(BadInput, match=rf"^{field}(\.0)?: "):
        approval_from(varied(**{field: [odd] if field == "approved_by" else odd}))


@pytest.mark.parametrize("odd", ["two\nlines", "a\ttab", "zero\u200bwidth", "no-break\u00a0space", "soft\u00adhyphen"])
def test_a_person_is_one_line_of_letters_that_are_seen(odd: str) -> None:
    """Two names that look alike would be two people."""
    with pytest.raises(BadInput, match="requested_by: "):
        approval_from(varied(requested_by=odd))


@pytest.mark.parametrize(
    "reason",
    [
        "two\r\nlines",
        "a\ttab",
        "no-break\u00a0space",
        "👩\u200d🚒 🚀" * 100,
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "全角\u3000空格",
        "x" * 1000,
    ],
)
def test_a_reason_may_be_in_any_language_and_in_lines(approve: MakeApproval, reason: str) -> None:
    """It is kept as it was written."""
    assert approve(reason=reason).reason == reason


@pytest.mark.parametrize("name", ["张三", "Zoë O\u2019Brien", "李 四 (网络)", "requester@example.com"])
def test_a_person_may_have_any_letters(approve: MakeApproval, name: str) -> None:
    """And plain blanks between them."""
    assert approve(requested_by=f" {name} ").requested_by == name


IDS: dict[str, list[Any]] = {
    "issuer": ["Self-Service", "self-service ", "x" * 65, "", "x\x00", "-x", "自助"],
    "request_id": ["R ", " R", "R" * 129, "", "R\x00", "R\n", "\u0661"],
    "ecr.id": ["ECR-7VRBQV9LCGVZQBWWKM", "ecr-7vrbqv9lcgvzqbwwkm ", "ecr-" + "a" * 33, "ecr-aaaaa\x00"],
    "ecr.owner_uid": [1000000000000001, "1" * 21, "1000000000000001 ", "\uff11" * 16, "100000000000000\x00"],
    "instance.id": ["vpc-1 ", "VPC-1", "vpc-" + "a" * 61, "vpc-\x00"],
    "instance.region": ["cn-" + "a" * 62, "cn-hangzhou ", "CN-HANGZHOU", "cn-hangzhou\x00", "cn-" + "-".join("a" * 40)],
    "instance.owner_uid": [2.0, "2" * 21, "2000000000000002\n"],
}


@pytest.mark.parametrize(
    ("field", "odd"), [pytest.param(field, odd, id=f"{field} {odd!r:.30}") for field in IDS for odd in IDS[field]]
)
def test_ids_are_exact(field: str, odd: object) -> None:
    """Nothing is made smaller, trimmed or converted: whoever writes another id may mean another thing."""
    with pytest.raises(BadInput, match=f"^{re.escape(field)}: "):
        approval_from(varied(**{field.replace(".", "__"): odd}))


COLUMNS = {
    "EcrId": grants.c.ecr_id,
    "AccountId": grants.c.ecr_owner_uid,
    "InstanceId": grants.c.instance_id,
    "RegionId": grants.c.instance_region,
    "GrantId": grants.c.grant_id,
    "RequestId": approvals.c.request_id,
    "Issuer": approvals.c.issuer,
    "Digest": approvals.c.digest,
    "EventId": events.c.event_id,
    "EventName": events.c.kind,
    "Shown": approvals.c.message_id,
}


@pytest.mark.parametrize("name", COLUMNS)
def test_no_form_is_longer_than_its_column(name: str) -> None:
    """SQLite keeps what is too long, PostgreSQL raises; nothing that is too long gets that far."""
    column = COLUMNS[name].type
    assert isinstance(column, sql.String)
    assert column.length is not None
    assert _form(getattr(forms, name)).longest <= column.length


def _form(annotated: Any) -> forms.Form:
    [form] = [each for each in typing.get_args(annotated) if isinstance(each, forms.Form)]
    return form


@pytest.mark.parametrize("model", [GrantApproval, RevokeApproval, Wake])
def test_every_text_of_what_is_taken_in_has_a_form(model: type[BaseModel]) -> None:
    """No field lets a text through that nobody has looked at."""
    bare = [
        path for path, schema in _texts(model.model_json_schema(), "") if not schema.keys() & {"maxLength", "pattern"}
    ]
    assert bare == []


def test_the_ids_of_completions_have_forms() -> None:
    """What only people read has none; what leads to a grant or a request does."""
    bare = [path for path, schema in _texts(Completion.model_json_schema(), "") if "pattern" not in schema]
    assert {path.rpartition(".")[2] for path in bare} == {
        *("code", "text", "text_zh", "items", "operation", "account", "session", "api_request_id")
    }


def _texts(schema: Any, path: str) -> list[tuple[str, dict[str, Any]]]:
    """Every free text in a JSON Schema, by where it stands."""
    found = []
    if isinstance(schema, dict):
        if schema.get("type") == "string" and not schema.keys() & {"const", "enum"}:
            found.append((path, schema))
        for name, each in schema.items():
            found += _texts(each, f"{path}.{name}" if name not in ("anyOf", "properties") else path)
    elif isinstance(schema, list):
        for each in schema:
            found += _texts(each, path)
    return found
