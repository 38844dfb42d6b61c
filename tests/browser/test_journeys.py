"""Ten journeys in a real browser, as the people would make them who have never read anything."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.browsing import Visitors
from tests.functional.desked import Desked, decided, desked, wish
from tests.functional.world import HUB_ECR
from tests.page.test_operate import VPC

PageOf = Callable[..., Page]
Calm = Callable[[Page], None]
Screenshot = Callable[[Page, str], Path]


def said_yes(desk: Desked, person: str, request_id: str, side: str = "grant") -> None:
    """Somebody agrees, somewhere else."""
    browser = desk.browser(person)
    snapshot = browser.get(f"/api/v1/requests/{request_id}").json()["snapshot"]
    body = {"side": side, "agrees": True, "snapshot": snapshot}
    answer = browser.post(f"/api/v1/requests/{request_id}/decisions", body)
    assert answer.status_code == 201, answer.text


def id_in(page: Page) -> str:
    """The id in a page's address."""
    return page.url.rpartition("/")[2].partition("?")[0]


def test_first_run(chromium: Browser, tmp_path: Path, calm: Calm, visitors: Visitors) -> None:
    """Without a configuration one page says what to do next; once there is one, people sign in."""
    with desked(tmp_path, configured=False) as fresh:
        here = Visitors(chromium, fresh)
        page = here.page_of()
        page.goto("/")
        expect(page.get_by_role("heading", level=1)).to_have_text("Not set up yet")
        expect(page.get_by_text("ecr-grants config init")).to_be_visible()
        visitors.troubles[page] = here.troubles[page]
        calm(page)
        decided(fresh.ledger, fresh.stage)
        page.get_by_role("link", name="Look again").click()
        page.get_by_role("link", name="Sign in").first.click()
        page.get_by_role("button", name="owner", exact=True).click()
        expect(page.get_by_role("heading", level=1)).to_have_text("What is open")
        here.leave()


def test_ask_for_one(page_of: PageOf, desk: Desked, calm: Calm, screenshot: Screenshot) -> None:
    """By the team's template; what preflight finds comes by itself, and who will decide was said before."""
    page = page_of("requester")
    page.goto("/")
    page.get_by_role("link", name="Ask", exact=True).click()
    page.get_by_role("link", name="data centre").click()
    page.get_by_label("Instance; one a line for many").fill("vpc-journey1")
    page.get_by_label("Ticket").fill("REQ-77")  # leaving the field before has it checked
    expect(page.locator("#found")).to_contain_text("All of it can be asked")
    expect(page.locator("#found")).to_contain_text("owner")
    calm(page)
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.get_by_text("has not looked yet").first).to_be_visible()
    desk.look(id_in(page))
    expect(page.get_by_text("has not looked yet")).to_have_count(0)
    screenshot(page, "journey-ask-one")
    calm(page)


@pytest.mark.parametrize("javascript", [True, False], ids=["scripts", "no scripts"])
def test_ask_for_fifty_and_decide_for_all_but_one(
    page_of: PageOf, desk: Desked, calm: Calm, screenshot: Screenshot, javascript: bool
) -> None:
    """A pasted list with a mistake in it is mended line by line; a batch is one table."""
    page = page_of("requester", javascript=javascript)
    page.goto("/ask?template=2000000000000002%3Adata+centre")
    mark = "y" if javascript else "n"
    lines = [f"vpc-fifty{mark}{number}" for number in range(49)]
    field = page.get_by_label("Instance; one a line for many")
    field.fill("\n".join([*lines, "router-1"]))
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.get_by_text("1 line cannot be asked.")).to_be_visible()
    expect(page.get_by_role("row", name="router-1")).to_contain_text("instance.id")
    calm(page)
    field.fill("\n".join([*lines, f"vpc-fifty{mark}49"]))
    page.get_by_role("button", name="Ask", exact=True).click()
    batch = id_in(page)
    for one in desk.browser("requester").get(f"/api/v1/requests?batch={batch}").json()["requests"]:
        desk.look(one["request_id"])
    deciding = page_of("owner", javascript=javascript)
    deciding.goto(f"/batches/{batch}")
    boxes = deciding.locator("input[type=checkbox][name=about]")
    if boxes.count() == 0:
        boxes = deciding.locator("tbody input[type=checkbox]")
    expect(boxes).to_have_count(50)
    boxes.nth(7).uncheck()
    screenshot(deciding, f"journey-fifty-{mark}")
    calm(deciding)
    deciding.get_by_role("button", name="Yes").first.click()
    expect(deciding.get_by_text("49").first).to_be_visible()
    calm(deciding)
    desk.hear()
    found = desk.browser("requester").get(f"/api/v1/requests?batch={batch}").json()["requests"]
    assert sorted(one["stage"] for one in found) == ["approved"] * 49 + ["open"]


@pytest.mark.parametrize("javascript", [True, False], ids=["scripts", "no scripts"])
def test_refuse(page_of: PageOf, desk: Desked, calm: Calm, javascript: bool) -> None:
    """A no wants a reason; whoever asked reads it, and asks again with one click."""
    request_id = desk.browser("requester").ask(wish(601 + javascript))["request_id"]
    desk.look(request_id)
    page = page_of("owner", javascript=javascript)
    page.goto("/decide")
    page.get_by_role("link", name=f"vpc-desk{601 + javascript}").click()
    page.get_by_role("button", name="No, refuse").click()
    expect(page.get_by_text("Say why not: whoever asked reads it.")).to_be_visible()
    page.get_by_label("Reason").first.fill("It is the wrong network")
    page.get_by_role("button", name="No, refuse").click()
    expect(page.get_by_text("It is the wrong network").first).to_be_visible()
    calm(page)
    theirs = page_of("requester", javascript=javascript)
    theirs.goto(f"/requests/{request_id}")
    expect(theirs.get_by_text("It is the wrong network").first).to_be_visible()
    theirs.get_by_role("link", name="Ask again").click()
    expect(theirs.get_by_label("Instance; one a line for many")).to_have_value(f"vpc-desk{601 + javascript}")
    calm(theirs)


def test_a_new_round_after_a_change(page_of: PageOf, desk: Desked, calm: Calm, screenshot: Screenshot) -> None:
    """Whoever says yes to what is not so any more is told what changed, and asked again."""
    request_id = desk.browser("requester").ask(wish(611))["request_id"]
    desk.look(request_id, world={"cidrs": ["10.20.0.0/16"]})
    page = page_of("owner")
    page.goto(f"/requests/{request_id}")
    desk.look(request_id, world={"cidrs": ["10.20.0.0/16", "10.30.0.0/16"]})
    page.get_by_role("button", name="Yes, agree").click()
    expect(page.get_by_text("changed").first).to_be_visible()
    screenshot(page, "journey-new-round")
    page.goto(f"/requests/{request_id}")
    page.get_by_role("button", name="Yes, agree").click()
    expect(page.get_by_text("You agreed").first).to_be_visible()
    calm(page)


def test_an_emergency_and_its_review(page_of: PageOf, desk: Desked, calm: Calm) -> None:
    """One owner suffices, a day at most; somebody who took no part reviews it."""
    page = page_of("requester")
    page.goto("/ask?template=2000000000000002%3Adata+centre")
    page.get_by_label("Instance; one a line for many").fill("vpc-urgent1")
    page.get_by_label("1 day", exact=True).check()
    page.get_by_label("It is an emergency").check()
    page.get_by_label("Reason").fill("The line is down")
    page.get_by_role("button", name="Ask", exact=True).click()
    request_id = id_in(page)
    desk.look(request_id)
    agreeing = page_of("owner")
    agreeing.goto("/decide")
    expect(agreeing.get_by_role("row", name="vpc-urgent1")).to_contain_text("emergency")
    agreeing.get_by_role("link", name="vpc-urgent1").click()
    agreeing.get_by_role("button", name="Yes, agree").click()
    desk.hear()
    reviewing = page_of("second-owner")
    reviewing.goto("/decide")
    reviewing.get_by_role("link", name="vpc-urgent1").click()
    reviewing.get_by_label("What you found").fill("The line was down, and is up again")
    reviewing.get_by_role("button", name="In order", exact=True).click()
    expect(reviewing.get_by_text("The line was down, and is up again").first).to_be_visible()
    expect(reviewing.get_by_role("button", name="In order", exact=True)).to_have_count(0)
    calm(reviewing)


def test_renew_many(page_of: PageOf, desk: Desked, calm: Calm, screenshot: Screenshot) -> None:
    """What ends is ticked, and asked for together."""
    for number in (621, 622):
        request_id = desk.browser("requester").ask(wish(number))["request_id"]
        desk.look(request_id)
        said_yes(desk, "owner", request_id)
    desk.hear()
    page = page_of("owner")
    page.goto("/")
    page.get_by_role("link", name="What ends next week").click()
    for number in (621, 622):
        page.get_by_role("row", name=f"vpc-desk{number}").get_by_role("checkbox").check()
    page.get_by_label("From today on").select_option(index=1)
    page.get_by_label("Reason").fill("Orders go on")
    calm(page)
    page.get_by_role("button", name="Ask for all of them").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("2 requests asked together")
    for number in (621, 622):
        expect(page.get_by_text(f"vpc-desk{number}").first).to_be_visible()
    screenshot(page, "journey-renew")
    calm(page)


def test_dead_work_is_redriven_and_drift_adopted(
    page_of: PageOf, desk: Desked, calm: Calm, screenshot: Screenshot
) -> None:
    """Each word is shown as said, and as done when it is."""
    page = page_of("router-owner")
    page.goto("/operate")
    screenshot(page, "journey-operate")
    calm(page)
    for row, word, reason in (
        (
            page.get_by_role("row", name="PermissionMissing").filter(has_text=VPC),
            "Redrive",
            "The role has the right again",
        ),
        (
            page.get_by_role("row", name="an association of another hand").filter(has_text=VPC),
            "Adopt",
            "It is ours to keep",
        ),
    ):
        offered = row.locator("details").filter(has_text=word).first
        offered.locator("summary").click()
        offered.get_by_label("Reason").fill(reason)
        offered.get_by_role("button").click()
        expect(page.get_by_text("Your word is recorded").first).to_be_visible()
        desk.hear()
        expect(page.get_by_text("Your word was carried out").first).to_be_visible()
        calm(page)
        page.goto("/operate")


def test_an_auditor_finds_who_decided_and_takes_it_along(page_of: PageOf, desk: Desked, calm: Calm) -> None:
    """What was exported is what is shown; and it is said what proves it."""
    request_id = desk.browser("requester").ask(wish(631))["request_id"]
    desk.look(request_id)
    said_yes(desk, "owner", request_id)
    desk.hear()
    page = page_of("auditor")
    page.goto("/audit")
    expect(page.get_by_text("ecr-grants ledger verify")).to_be_visible()
    calm(page)
    page.goto(f"/decisions?request={request_id}")
    expect(page.get_by_role("row", name=request_id)).to_contain_text("owner")
    with page.expect_download() as downloading:
        page.get_by_role("link", name="CSV").click()
    with Path(downloading.value.path()).open(encoding="utf-8", newline="") as table:
        rows = list(csv.DictReader(table))
    assert [(row["person"], row["request_id"]) for row in rows] == [("owner", request_id)]
    calm(page)


# -- found within three clicks -------------------------------------------------------------------------------------------


def test_who_approved_a_grant_is_found_by_whoever_knows_nothing(page_of: PageOf, desk: Desked) -> None:
    """Search, the grant: its leases say who."""
    request_id = desk.browser("requester").ask(wish(641))["request_id"]
    desk.look(request_id)
    said_yes(desk, "owner", request_id)
    desk.hear()
    page = page_of("auditor")
    page.goto("/")
    page.get_by_role("link", name="What stands, and why not as wanted").click()
    page.get_by_role("link", name="vpc-desk641").click()
    expect(page.get_by_text("approved by owner").first).to_be_visible()
    page.goto("/")
    page.get_by_role("link", name="Who approved what").click()
    expect(page.get_by_role("row", name=request_id)).to_contain_text("owner")


def test_what_is_exposed_outside_a_list_is_found_by_whoever_knows_nothing(page_of: PageOf) -> None:
    """The link, the router, the list."""
    page = page_of("auditor")
    page.goto("/")
    page.get_by_role("link", name="What is exposed to a router").click()
    page.get_by_role("link", name=HUB_ECR).click()
    page.get_by_label("Compare with a list of ranges").fill("192.168.0.0/16")
    page.get_by_role("button", name="Show what is outside of it").click()
    expect(page.get_by_role("status")).to_contain_text("outside of the list")
    expect(page.get_by_role("status")).to_contain_text("10.20.0.0/16")


def test_what_ends_next_week_is_found_by_whoever_knows_nothing(page_of: PageOf) -> None:
    """One click."""
    page = page_of("auditor")
    page.goto("/")
    page.get_by_role("link", name="What ends next week").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Ends within 7 days")
    expect(page.get_by_role("row").nth(1)).to_be_visible()
