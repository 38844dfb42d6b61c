"""Asking on the page: what is typed is checked line by line, and asked once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.page.lines import Line, lines_of, prefixes_of
from tests.functional.desked import Browser, Desked, decided, desked
from tests.functional.world import HUB_ECR, REGION, SPOKE
from tests.page.reading import read

HTML = {"Accept": "text/html"}
FORM = {
    "kind": "grant",
    "account": SPOKE,
    "region": REGION,
    "router": HUB_ECR,
    "instances": "vpc-page1",
    "prefixes": "10.20.0.0/16",
    "end": "30",
    "on_end": "teardown",
    "reason": "A test needs it",
}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desked]:
    """One for all of them, where account B has a template."""
    with desked(tmp_path_factory.mktemp("page")) as made:
        template = {"ecr": HUB_ECR, "region": REGION, "prefixes": ["10.20.0.0/16"], "days": 7, "reason": "As always"}
        made.stage.listed[SPOKE]["templates"] = {"data centre": template}
        decided(made.ledger, made.stage, groups={"orders": ["owner", "second-owner", "requester"]})
        yield made


def send(browser: Browser, **changes: Any) -> Any:
    """The form, sent as a browser sends it."""
    said = {**FORM, "do": "send", **changes}
    return browser.call("POST", "/ask", data={name: value for name, value in said.items() if value}, headers=HTML)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("vpc-1\n\n vpc-2 ", [Line(1, "vpc-1"), Line(3, "vpc-2")]),
        (
            "vpc-1, 10.0.0.0/16 10.1.0.0/16, 2027-01-31, Because",
            [Line(1, "vpc-1", ("10.0.0.0/16", "10.1.0.0/16"), "2027-01-31", "Because")],
        ),
        ('vpc-1,"10.0.0.0/16,10.1.0.0/16"', [Line(1, "vpc-1", ("10.0.0.0/16", "10.1.0.0/16"))]),
        ("vpc-1\t10.0.0.0/16", [Line(1, "vpc-1", ("10.0.0.0/16",))]),
        ("instance,reason,end\nvpc-1,Because,30", [Line(2, "vpc-1", (), "30", "Because")]),
        (
            "vpc-1,a,b,c,d",
            [Line(1, "vpc-1", fault="has 5 columns, at most 4 are taken: put blanks between several prefixes")],
        ),
        ('vpc-1,"never ends\nvpc-2', [Line(1, "vpc-1", ("never", "ends")), Line(2, "vpc-2")]),
        ("", []),
    ],
)
def test_lines_are_read_each_by_itself(text: str, expected: list[Line]) -> None:
    """Pasted from a spreadsheet, from a file, or typed."""
    assert lines_of(text) == expected


def test_prefixes_are_apart_however_they_were_typed() -> None:
    """And each once."""
    assert prefixes_of(" 10.0.0.0/8,10.1.0.0/16;\n10.0.0.0/8 ") == ("10.0.0.0/8", "10.1.0.0/16")


def test_one_is_asked_and_its_page_is_next(desk: Desked) -> None:
    """The wish is what was typed."""
    browser = desk.browser("requester")
    answer = send(browser, ticket="REQ-1")
    assert answer.status_code == 303, answer.text
    request = browser.get("/api/v1" + answer.headers["Location"]).json()
    wish = request["wish"]
    assert (wish["instance"]["id"], wish["ecr"]["id"], wish["ticket"]) == ("vpc-page1", HUB_ECR, "REQ-1")
    assert (wish["allowed_prefixes"], wish["kind"], wish["on_end"]) == (["10.20.0.0/16"], "grant", "teardown")
    assert browser.get(answer.headers["Location"], headers=HTML).status_code == 200


def test_a_form_that_is_sent_twice_asks_once(desk: Desked) -> None:
    """Its name is in the form, another form has another. Its days count from when it was made, whenever it is sent."""
    browser = desk.browser("requester")
    forms = [
        {name: re.findall(rf'name="{name}" value="([^"]+)"', page)[0] for name in ("name", "begun")}
        for page in (browser.get("/ask", headers=HTML).text for _ in range(2))
    ]
    made = datetime.fromisoformat(forms[0]["begun"]) - timedelta(minutes=10)
    first = {**forms[0], "begun": made.isoformat()}
    sent = [send(browser, **form, instances="vpc-twice").headers["Location"] for form in (first, first, forms[1])]
    assert sent[0] == sent[1] != sent[2]
    ends_at = browser.get("/api/v1" + sent[0]).json()["wish"]["ends_at"]
    assert datetime.fromisoformat(ends_at) == made + timedelta(days=30)


@pytest.mark.parametrize("begun", ["2020-01-01T00:00:00Z", "2999-01-01T00:00:00Z", "2999-01-01T00:00:00", "soon"])
def test_a_form_that_was_made_at_no_such_time_counts_from_now(desk: Desked, begun: str) -> None:
    """An old one, or one that somebody made up."""
    browser = desk.browser("requester")
    answer = send(browser, instances="vpc-begun", begun=begun)
    ends_at = datetime.fromisoformat(browser.get("/api/v1" + answer.headers["Location"]).json()["wish"]["ends_at"])
    assert timedelta(days=29, hours=23) < ends_at - datetime.now(UTC) <= timedelta(days=30)


def test_each_line_is_told_what_is_wrong_with_it_and_nothing_is_asked(desk: Desked) -> None:
    """By its number, its field and what was found."""
    browser = desk.browser("requester")
    before = len(browser.get("/api/v1/requests").json()["requests"])
    lines = "vpc-good\nvpc-late, , 2020-01-01\nrouter-1\nvpc-far, 192.168.0.0/16\nvpc-when, , soon"
    answer = send(browser, instances=lines)
    assert answer.status_code == 422
    page = read(answer.text)
    assert "an owner" not in page.row("vpc-good")
    assert "owner" in page.row("vpc-good")
    assert "router-1" in page.row("3", "instance.id: must be the id of a VPC or VBR")
    assert "outside of the account's supernets" in page.row("vpc-far")
    assert "found soon" in page.row("vpc-when")
    assert "ends_at" in page.row("vpc-late")
    assert len(browser.get("/api/v1/requests").json()["requests"]) == before
    assert "vpc-late, , 2020-01-01" in answer.text


def test_the_good_lines_are_asked_alone_where_that_is_said(desk: Desked) -> None:
    """As a batch where there are several."""
    browser = desk.browser("requester")
    answer = send(browser, instances="vpc-some1\nrouter-1\nvpc-some2", partly="true")
    assert (answer.status_code, answer.headers["Location"][:11]) == (303, "/batches/b-")
    batch = answer.headers["Location"].rpartition("/")[2]
    found = browser.get(f"/api/v1/requests?batch={batch}").json()["requests"]
    assert len(found) == 2


def test_more_than_can_be_asked_at_once_is_said(desk: Desked) -> None:
    """And no line is left out in silence."""
    lines = "\n".join(f"vpc-many{number}" for number in range(203))
    answer = desk.browser("requester").call("POST", "/ask/check", data={**FORM, "instances": lines}, headers=HTML)
    assert "3 lines are left out" in answer.text
    assert "vpc-many199" in answer.text


def test_checking_asks_nothing_and_says_who_decides(desk: Desked) -> None:
    """With the sizes of what is asked, and what it overlaps."""
    browser = desk.browser("requester")
    before = len(browser.get("/api/v1/requests").json()["requests"])
    answer = browser.call("POST", "/ask/check", data=FORM, headers=HTML)
    row = read(answer.text).row("vpc-page1")
    assert "65,536 addresses" in row
    assert "account B (grant): owner , second-owner" in row
    assert len(browser.get("/api/v1/requests").json()["requests"]) == before


def test_the_api_says_the_same_as_the_page(desk: Desked) -> None:
    """And keeps names of those whose account the caller does not see to itself."""
    wish = {
        "kind": "grant",
        "ecr": {"id": HUB_ECR, "owner_uid": "1000000000000001"},
        "instance": {"type": "VPC", "id": "vpc-page1", "region": REGION, "owner_uid": SPOKE},
        "allowed_prefixes": ["10.20.0.0/16", "192.168.0.0/24"],
        "ends_at": "2999-01-01T00:00:00Z",
        "reason": "A test needs it",
    }
    [told] = desk.browser("requester").post("/api/v1/checks", {"wishes": [wish]}).json()["checks"]
    assert told["problem"]["code"] == "NobodyCanDecide"
    assert [one["outside"] for one in told["prefixes"]] == [False, True]
    [unseen] = (
        desk.browser("stranger").post("/api/v1/checks", {"wishes": [{**wish, "allowed_prefixes": []}]}).json()["checks"]
    )
    assert unseen["deciders"] == {}


def test_a_template_is_what_its_owners_begin_with(desk: Desked) -> None:
    """And nobody else."""
    path = f"/ask?template={SPOKE}%3Adata+centre"
    mine = desk.browser("requester").get(path, headers=HTML).text
    assert ("As always" in mine, HUB_ECR in mine) == (True, True)
    theirs = desk.browser("stranger").get(path, headers=HTML).text
    assert "As always" not in theirs


def test_what_was_asked_is_asked_again_changed_or_revoked(desk: Desked) -> None:
    """The form begins with it."""
    browser = desk.browser("requester")
    request_id = send(browser, instances="vpc-again").headers["Location"].rpartition("/")[2]
    for way, kind in (("again", "grant"), ("change", "change"), ("revoke", "revoke")):
        page = browser.get(f"/ask?{way}={request_id}", headers=HTML).text
        assert "vpc-again" in page
        assert f'name="kind" value="{kind}"' in page
    answer = send(browser, instances="vpc-again", kind="revoke", closes=request_id, prefixes="", end="", on_end="")
    assert answer.status_code == 303, answer.text
    wish = browser.get("/api/v1" + answer.headers["Location"]).json()["wish"]
    assert (wish["kind"], wish["closes"]) == ("revoke", [request_id])
    assert desk.browser("stranger").get(f"/ask?again={request_id}", headers=HTML).status_code == 404
