"""The error catalogue: complete against the reference, in two languages, and one answer for every code."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from shared.cloud.errors import check_envelope, made
from shared.errors import (
    CloudTrouble,
    CloudUnreachable,
    GrantError,
    Locked,
    NeedsSomebody,
    PermanentError,
    PermissionMissing,
    TemporaryError,
    Throttled,
)
from shared.messages.catalogue import by_status, entries, find, table, unknown_codes
from shared.messages.codes import NOBODY, Entry, what_next

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT.parent / "shared" / "reference"

# Dotted words of the reference that are not codes: wrapped lists, a retry helper's name, a sister product's quota.
NOT_CODES = frozenset(
    {
        "AssociatedCens.AssociatedCen",
        "AssociatedPhysicalConnections.AssociatedPhysicalConnection",
        "AssociatedPropagationSources.AssociatedPropagationSources",
        "Client.Timeout",
        "CloudResources.CloudResourceSetType",
        "NatGatewayIds.NatGatewayIds",
        "RouterTableIds.RouterTableIds",
        "SecondaryCidrBlocks.SecondaryCidrBlock",
        "Tags.Tag",
        "Tags.Tags",
        "UserCidrs.UserCidr",
        "VSwitchIds.VSwitchId",
    }
)
# Codes without a dot, which only their place in the text tells from other words.
GATEWAY = [
    "Throttling",
    "SignatureDoesNotMatch",
    "SignatureNonceUsed",
    "MissingSecurityToken",
    "NoPermission",
    "Forbidden",
    "ServiceUnavailable",
    "InternalError",
    "DryRunOperation",
    "IncorrectVpcStatus",
    "UnsupportedRegion",
    "InvalidAliuid",
    "InvalidResourceGroupId",
    "InvalidTagKey",
    "InvalidTagValue",
    "IdempotentParameterMismatch",
    "InvalidCredentials",
]


def openapi_codes(text: str) -> set[str]:
    """Every code that the document about the OpenAPIs names."""
    dotted = set(re.findall(r"\b([A-Z][A-Za-z]+\.(?:[A-Z][A-Za-z]+|%s))", text)) - NOT_CODES
    families = {
        f"{head}{one}" for head, ones in re.findall(r"([A-Z]\w+\.\w+)\{([\w,]+)\}", text) for one in ones.split(",")
    }
    short = {
        f"{code}.{word}"
        for code, rest in re.findall(r"\| \d{3} \| (\w+)\.\w+((?: / \.\w+)+) \|", text)
        for word in re.findall(r"\.(\w+)", rest)
    }
    return {code.replace("%s", "EcrId") for code in dotted | families | short} | {
        word for word in GATEWAY if word in text
    }


def mns_codes(text: str) -> set[str]:
    """Every code in the document's table of MNS errors, and those in the line below it."""
    section = text[text.index("### 5.3 Codes") : text.index("## 6. ")]
    rows = [line.split("|")[2] for line in section.splitlines() if re.match(r"\| \d{3} \|", line)]
    known = re.findall(r"Also known to SDKs[^:]*: ([^.]*)\.", section)
    return set(re.findall(r"\b[A-Z][a-z]+[A-Z]\w+", " ".join([*rows, *known])))


@pytest.mark.parametrize(
    ("file", "codes", "least"),
    [
        pytest.param("openapi-ecr-vpc-sts.md", openapi_codes, 80, id="the APIs' codes"),
        pytest.param("mns.md", mns_codes, 35, id="the queues' codes"),
    ],
)
def test_every_code_of_the_reference_is_in_the_catalogue(
    file: str, codes: Callable[[str], set[str]], least: int
) -> None:
    """A code that the vendor documents never comes as a surprise."""
    path = REFERENCE / file
    if not path.exists():
        pytest.skip(f"{path.name} is not beside this copy of the project")
    named = codes(path.read_text("utf-8"))
    assert len(named) >= least
    assert sorted(code for code in named if find(code) is None) == []


def test_every_entry_is_told_in_both_languages() -> None:
    """English for whoever reads logs, Chinese for whoever reads the page; neither stands in for the other."""
    for entry in entries():
        assert re.fullmatch(r"[\x20-\x7e]{8,}", entry.en), entry
        assert re.search(r"[\u4e00-\u9fff]{2,}", entry.zh), entry


def test_every_code_stands_once() -> None:
    """Two entries for one code could say two things."""
    assert [code for code, count in Counter(entry.code for entry in entries()).items() if count > 1] == []


def test_what_nobody_has_to_act_on_may_pass() -> None:
    """Where no person is named, time alone must be able to help."""
    for entry in entries():
        if entry.who == NOBODY:
            assert entry.may_pass, entry


@pytest.mark.parametrize(
    ("code", "entry"),
    [
        pytest.param("Throttling", "Throttling*", id="the family's own name is of the family"),
        pytest.param("Throttling.User", "Throttling*", id="no entry of its own: the family's"),
        pytest.param(
            "IllegalParam.EcrOwnerAliUid", "IllegalParam.EcrOwnerAliUid", id="its own entry, though the family fits too"
        ),
        pytest.param("IllegalParam.InstanceId", "IllegalParam.*", id="a parameter without an entry: the family's"),
        pytest.param(
            "ResourceNotFound.AssociationId",
            "ResourceNotFound.AssociationId",
            id="its own entry, though not found is a family",
        ),
        pytest.param("ResourceNotFound.CenId", "ResourceNotFound.*", id="a resource without an entry: the family's"),
        pytest.param(
            "InvalidSecurityToken.Expired",
            "InvalidSecurityToken.Expired",
            id="an expired token has its own entry: a new session helps",
        ),
        pytest.param(
            "InvalidSecurityToken.Malformed", "InvalidSecurityToken.*", id="any other fault of a token: the family's"
        ),
        pytest.param(
            "MissingSecurityToken", "MissingSecurityToken", id="a whole code, though Missing is a family without a dot"
        ),
        pytest.param("MissingRegionId", "Missing*", id="a family without a dot"),
        pytest.param("MissingParam.EcrId", "MissingParam.*", id="the longer of two families that fit"),
        pytest.param(
            "OperationFailed.RejectedByEcYaochi", "OperationFailed.RejectedBy*", id="a family in the middle of a code"
        ),
    ],
)
def test_a_code_is_found_by_itself_before_its_family(code: str, entry: str) -> None:
    """The closest entry answers: the code's own, else the longest family that fits."""
    found = find(code)
    assert found is not None
    assert found.code == entry


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(None, id="no code at all"),
        pytest.param("", id="an empty one"),
        pytest.param("Brand.New", id="one that the vendor adds tomorrow"),
        pytest.param("throttling", id="another case is another code"),
        pytest.param("Conflict", id="half of a code"),
        pytest.param("Conflict.LockX", id="more than a code"),
    ],
)
def test_what_is_not_in_the_catalogue_is_unknown(code: str | None) -> None:
    """Nothing is guessed from a resemblance."""
    assert find(code) is None


@pytest.mark.parametrize(
    ("status", "kind", "after"),
    [
        pytest.param(None, CloudUnreachable, "look again", id="no answer: it may have been executed"),
        pytest.param(400, PermanentError, "rejected", id="a mistake of the request: asking again does not help"),
        pytest.param(403, PermissionMissing, "dead", id="forbidden: somebody has to give a permission"),
        pytest.param(404, PermanentError, "rejected", id="not found: asking again does not help"),
        pytest.param(409, PermanentError, "rejected", id="a conflict that nobody knows: asking again does not help"),
        pytest.param(429, Throttled, "later", id="too many: there is room later"),
        pytest.param(500, CloudTrouble, "look again", id="the platform's own fault: it may have been executed"),
        pytest.param(503, CloudTrouble, "look again", id="the platform is away: it may have been executed"),
    ],
)
def test_an_unknown_code_is_treated_by_its_http_class(status: int | None, kind: type[GrantError], after: str) -> None:
    """Every status has an answer, so that a code that the vendor adds tomorrow stops nothing."""
    assert by_status(status) is kind
    assert what_next(kind) == after


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        pytest.param("IncorrectStatus.Whatever", 400, Locked, id="a status that is not right now"),
        pytest.param("IncorrectStatus", 400, Locked, id="the same without saying of what"),
        pytest.param("IncorrectStatusOfVpc", 409, Locked, id="the same in one word"),
        pytest.param("OperationConflict", 409, Locked, id="an operation in the way"),
        pytest.param("OperationConflict.Ecr", 400, Locked, id="the same, saying of what"),
        pytest.param("TaskInProgress", 400, Locked, id="something in progress"),
        pytest.param("Task.InProgress", 403, Locked, id="something in progress, whatever the status says"),
        pytest.param("SystemBusy", 400, Locked, id="somebody is busy"),
        pytest.param("OperationConflict", 503, CloudTrouble, id="but a failure of the platform may have been executed"),
        pytest.param("OperationConflict", None, Locked, id="inside HTTP 200, where there is no status"),
        pytest.param("InProgressOrNot", 400, PermanentError, id="not at the word's end: it says something else"),
        pytest.param("NotIncorrectStatus", 400, PermanentError, id="not at its beginning"),
        pytest.param("Busyness", 404, PermanentError, id="a word that only begins like it"),
    ],
)
def test_an_unknown_code_that_looks_transient_is_tried_again(
    code: str, status: int | None, kind: type[GrantError]
) -> None:
    """C11: a passing 400 rejects no approval for good. What certainly was not executed is tried again within bounds."""
    assert find(code) is None
    assert by_status(status, code) is kind
    assert type(made(code, status, "a write", "")) is kind


@pytest.mark.parametrize("entry", list(entries()), ids=lambda entry: entry.code)
def test_an_error_says_its_code_and_its_meaning_in_both_languages(entry: Entry) -> None:
    """Whatever the code, the error carries the catalogue's words, and what happens next is its class."""
    code = entry.code.replace("*", "Something")
    error = made(code, 400, "GrantInstance in account 2", f"{code}: told by the platform; API request R-1")
    assert type(error) is entry.kind
    assert error.code == code
    assert entry.en in str(error)
    assert entry.zh in error.text_zh
    for text in (str(error), error.text_zh):
        assert "GrantInstance in account 2" in text
        assert "API request R-1" in text
    assert {"rejected": PermanentError, "dead": NeedsSomebody}.get(entry.next, TemporaryError) in type(error).__mro__


def test_only_a_platform_that_failed_may_have_executed_a_refused_write() -> None:
    """A refusal is certain: nothing was done. Only trouble of the platform's own leaves the question open."""
    for entry in entries():
        error = made(entry.code, 400, "a write", "")
        assert error.executed == issubclass(entry.kind, CloudTrouble | CloudUnreachable)


def test_a_refusal_inside_http_200_is_the_same_error() -> None:
    """ECR may refuse in its response envelope, where the SDK raises nothing; words and class are the catalogue's."""
    body = SimpleNamespace(
        success=False, code="Conflict.Lock", http_status_code=400, message="There are others.", request_id="R-2"
    )
    with pytest.raises(Locked, match=r"another operation on this router is unfinished .*R-2") as caught:
        check_envelope("Grant", "2", body)
    assert "该专线网关有其他操作尚未完成" in caught.value.text_zh


def test_unknown_codes_are_counted() -> None:
    """Each function instance knows which codes it met that the catalogue lacks, and how often."""
    before = unknown_codes["Brand.New"]
    for _ in range(3):
        assert "unknown error" in str(made("Brand.New", 400, "a write", "Brand.New: text"))
    assert unknown_codes["Brand.New"] == before + 3


def test_the_document_shows_every_entry() -> None:
    """docs/errors.md is the catalogue, as it is now."""
    text = (ROOT / "docs" / "errors.md").read_text("utf-8")
    assert text == table()
    for entry in entries():
        assert f"| `{entry.code}` | {entry.en} | {entry.zh} | {entry.who} |" in text
