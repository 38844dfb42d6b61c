"""What auditors ask on the page: who may what, who decided what, how it is proven; and figures over time."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from shared.ledger.figures import note_figures
from shared.ledger.heads import note_head
from shared.rules.figures import Figure
from tests.functional.desked import Desked, decided, desked, wish
from tests.functional.world import HUB, HUB_ECR, SPOKE
from tests.page.reading import Page, read


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desked]:
    """One for all of them, at which one request was agreed to and another refused."""
    with desked(tmp_path_factory.mktemp("page")) as made:
        decided(made.ledger, made.stage)
        for number, agrees, reason in ((1, True, "Looks right"), (2, False, "<b>Not</b> now")):
            request_id = made.browser("requester").ask(wish(number))["request_id"]
            body = {"side": "grant", "agrees": agrees, "snapshot": made.look(request_id), "reason": reason}
            answer = made.browser("owner").post(f"/api/v1/requests/{request_id}/decisions", body)
            assert answer.status_code < 300, answer.text
        made.hear()
        yield made


def shown(desk: Desked, path: str, person: str = "auditor") -> Page:
    """A page, as somebody reads it."""
    answer = desk.browser(person).get(path, headers={"Accept": "text/html"})
    assert answer.status_code == 200, answer.text
    return read(answer.text)


def test_who_decided_what_is_told_with_why_and_how_sure_it_is(desk: Desked) -> None:
    """The newest first; what was said is text."""
    page = shown(desk, "/decisions")
    assert [one.split("UTC")[1].split()[0] for one in page.rows[1:]] == ["owner", "owner"]
    assert "<b>Not</b> now" in page.row("no account B (grant)")
    assert "just signed in" in page.row("Looks right")
    assert "Looks right" in shown(desk, "/audit").text


@pytest.mark.parametrize(
    ("asked", "rows"),
    [
        ("person=owner", 2),
        ("person=router-owner", 0),
        ("side=associate", 0),
        (f"account={SPOKE}", 2),
        (f"account={HUB}&side=grant&person=owner", 2),
        ("since=2020-01-01&until=2020-12-31", 0),
        ("since=2020-01-01&until=9999-12-31", 2),
        ("person=&account=&side=&grant=&request=&since=&until=", 2),
    ],
)
def test_a_list_is_narrowed_and_its_csv_is_the_same(desk: Desked, asked: str, rows: int) -> None:
    """A form sends all its fields: what nobody filled in narrows nothing."""
    page = shown(desk, f"/decisions?{asked}")
    assert max(0, len(page.rows) - 1) == rows
    [csv] = [link for link in page.links if "format=csv" in link]
    assert len(desk.browser("auditor").get(csv).text.splitlines()) - 1 == rows


def test_until_a_day_has_that_day_in_it(desk: Desked) -> None:
    """In UTC."""
    today = time.strftime("%Y-%m-%d", time.gmtime())
    assert len(shown(desk, f"/decisions?since={today}&until={today}").rows) - 1 in (0, 2)  # midnight may come between
    assert len(shown(desk, f"/decisions?until={today}").rows) - 1 == 2


def test_every_filter_of_a_page_may_be_left_blank(desk: Desked) -> None:
    """As a browser sends a form that nobody filled in; the API is told what is wrong."""
    for path in ("/grants?instance=&ecr=&account=", "/leases?text=&open=", "/requests?stage="):
        shown(desk, path)
    assert desk.browser("auditor").get("/api/v1/grants?account=").status_code == 422


def test_who_may_what_is_told_for_a_person_and_for_an_account(desk: Desked) -> None:
    """The same as the API says."""
    mine = shown(desk, "/audit?person=owner")
    assert "account B (grant)" in mine.row(SPOKE, "owner: orders")
    on_it = shown(desk, f"/audit?account={SPOKE}")
    assert on_it.row("second-owner", "account B (grant)")
    people = {one["person"] for one in desk.browser("auditor").get(f"/api/v1/rights?account={SPOKE}").json()["rights"]}
    listed = [row for row in on_it.rows if "owner: orders" in row]
    assert {row.split()[0] for row in listed} == people
    assert "may nothing" in shown(desk, "/audit?person=nobody-at-all").text


def test_who_sees_no_account_is_told_of_nobody(desk: Desked) -> None:
    """Neither decisions nor people."""
    for path in ("/audit", "/decisions", f"/audit?account={SPOKE}", "/figures"):
        text = shown(desk, path, "stranger").text
        for one in ("Looks right", "second-owner", SPOKE, HUB_ECR):
            assert one not in text


def test_the_record_is_shown_with_the_last_signed_head_and_how_to_prove_it(desk: Desked) -> None:
    """Or that there is none yet; as the API has it."""
    assert ("Last signed head", "none yet: set HEAD_KEY, and run reconcile") in shown(desk, "/audit").facts
    end = desk.browser("auditor").get("/api/v1/record").json()["end"]
    desk.ledger.write(note_head, end, int(time.time() * 1000))
    found = desk.browser("auditor").get("/api/v1/record").json()
    assert (found["head"], found["head_hash"]) == (end, found["end_hash"])
    page = shown(desk, "/audit")
    assert found["head_hash"] in dict(page.facts)["Last signed head"]
    assert ("Events since then", "0") in page.facts
    assert "ecr-grants ledger verify --heads" in page.text


def test_figures_are_drawn_and_told_as_numbers(desk: Desked) -> None:
    """Those of the whole deployment to whoever may see everything; what there is none of is said."""
    assert "Nothing of that in these days." in shown(desk, "/figures?days=7").text
    counted = {Figure.UNSETTLED: 4, Figure.DEAD: 1, Figure.OUTBOX: 0, Figure.UNSETTLED_AGE: 60_000}
    desk.ledger.write(note_figures, counted, int(time.time() * 1000))
    for days in (7, 30, 90):
        page = shown(desk, f"/figures?days={days}")
        assert "Open work" in page.text
        rows = [row for row in page.rows if row.startswith("Day not as wanted dead open requests")]
        assert len(rows) == 1
        assert page.rows[page.rows.index(rows[0]) + 1].split()[1:3] == ["4", "1"]
    asked = [row for row in page.rows if row.startswith("Day asked approved")]
    assert page.rows[page.rows.index(asked[0]) + 1].split()[1] in ("2", "0")
    assert "Open work" not in shown(desk, "/figures", "owner").text
    answer = desk.browser("auditor").get("/figures?days=8", headers={"Accept": "text/html"})
    assert answer.status_code == 422
