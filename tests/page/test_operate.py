"""Operating on the page: what needs an operator, words that are said there, and what became of them."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from shared.ledger.admission import Judged, admit
from shared.ledger.configuration import newest_number
from shared.ledger.operating_seen import say_found
from shared.ledger.tables import sides
from shared.messages.completion import Reason
from shared.messages.forms import GrantKey, InstanceType
from shared.messages.seal import approval_from
from tests.functional.approvals import approval
from tests.functional.desked import Browser, Desked, decided, desked
from tests.functional.world import HUB, HUB_ECR, REGION, SPOKE
from tests.page.reading import read

HTML = {"Accept": "text/html"}
VPC = "vpc-operated"
GRANT = GrantKey(HUB_ECR, HUB, InstanceType.VPC, VPC, REGION, SPOKE).grant_id
REDRIVE = {"word": "redrive", "name": GRANT, "side": "grant", "reason": "The role has the right again"}


def broken(desk: Desked) -> None:
    """One grant, a side of which is dead, the other drifted."""
    document = approval_from(
        approval(
            SPOKE, VPC, ecr={"id": HUB_ECR, "owner_uid": HUB}, request_id="REQ-1", approved_at="2026-01-01T00:00:00Z"
        )
    )
    judged = Judged(configuration=desk.ledger.read(newest_number))
    desk.ledger.write(admit, document, "message-1", int(time.time() * 1000), desk.ledger.timing, judged)
    why = Reason(code="PermissionMissing", text="the role lacks a right").model_dump_json()
    drift = json.dumps({"class": "foreign-association", "text": "nobody asked us for it", "at": 1})
    with desk.ledger.engine.begin() as connection:
        one, other = sides.c.side == "grant", sides.c.side == "associate"
        connection.execute(sides.update().where(one).values(dead_at=1_000, trouble=why, attempts=3))
        connection.execute(sides.update().where(other).values(drift=drift, state="ACTIVE", ours=False))


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desked]:
    """One for all of them, at which the router's owner is an operator."""
    with desked(tmp_path_factory.mktemp("page")) as made:
        decided(made.ledger, made.stage, groups={"operators": ["router-owner"]})
        broken(made)
        yield made


def shown(browser: Browser, path: str = "/operate") -> Any:
    """A page, as somebody reads it."""
    answer = browser.get(path, headers=HTML)
    assert answer.status_code == 200, answer.text
    return read(answer.text)


def said(browser: Browser, **word: Any) -> Any:
    """A word's form, sent as a browser sends it."""
    return browser.call("POST", "/operate", data=word, headers=HTML)


def words(browser: Browser) -> list[dict[str, Any]]:
    """What the API has of what was said."""
    found: list[dict[str, Any]] = browser.get("/api/v1/operations").json()["operations"]
    return found


def test_what_is_dead_and_what_drifted_is_told_with_the_word_that_helps(desk: Desked) -> None:
    """Why, since when, what the code means, and what would happen."""
    page = shown(desk.browser("router-owner"))
    dead = page.row("PermissionMissing", "account B (grant)")
    assert "a permission is missing" in dead
    assert "the role lacks a right" in dead
    assert "tried again at once" in dead
    drifted = page.row("an association of another hand")
    assert "nobody asked us for it" in drifted
    assert "where no lease is live, that is next" in drifted


def test_the_meaning_of_a_code_is_told_in_chinese(desk: Desked) -> None:
    """To whoever reads that."""
    browser = desk.browser("router-owner")
    browser.cookies["language"] = "zh"
    assert "缺少权限" in shown(browser).row("PermissionMissing")


def test_a_word_is_recorded_shown_as_waiting_and_then_as_what_became_of_it(desk: Desked) -> None:
    """Never as done before it is; and sent twice it is said once."""
    browser = desk.browser("router-owner")
    key = re.findall(r'name="key" value="([0-9a-f-]{36})"', browser.get("/operate", headers=HTML).text)[0]
    answers = [said(browser, **REDRIVE, key=key) for _ in range(2)]
    assert [one.status_code for one in answers] == [303, 303], answers[0].text
    assert answers[0].headers["Location"] == answers[1].headers["Location"]
    [word] = words(browser)
    assert (word["word"], word["name"], word["reason"], word["who"]) == (
        "redrive",
        GRANT,
        REDRIVE["reason"],
        "router-owner",
    )

    page = shown(browser, answers[0].headers["Location"].partition("#")[0])
    assert "Your word is recorded" in page.text
    assert "waits to be carried out" in page.row(word["operation_id"])
    assert "said, not carried out yet" in page.row("PermissionMissing")

    desk.hear()
    page = shown(browser, f"/operate?said={word['operation_id']}")
    assert "Your word was carried out. it is tried again" in page.text
    assert "carried out" in page.row(word["operation_id"])
    assert not [row for row in page.rows if "PermissionMissing" in row]
    fragment = browser.get(f"/operate/words/now?said={word['operation_id']}", headers=HTML)
    assert (fragment.status_code, "hx-get" in fragment.text) == (200, False)


def test_what_cannot_be_said_is_told_by_its_field_and_what_was_typed_is_kept(desk: Desked) -> None:
    """And nothing is recorded."""
    browser = desk.browser("router-owner")
    before = len(words(browser))
    typed = {"word": "hold", "kind": "account", "name": "no account", "reason": "because of this", "everything": "true"}
    for changes, status, found in (
        ({}, 422, "name: "),
        ({"kind": "ecr", "name": "ecr-nowhere"}, 404, "there is no ecr ecr-nowhere"),
        ({"kind": "planet"}, 422, "kind: "),
        ({"reason": " "}, 422, "reason: "),
        ({"word": "abolish"}, 422, "word: "),
    ):
        answer = said(browser, **{**typed, **changes})
        assert (answer.status_code, found in read(answer.text).text) == (status, True), answer.text
    assert "because of this" in said(browser, **typed).text
    assert len(words(browser)) == before


def test_a_hold_is_set_shown_and_lifted(desk: Desked) -> None:
    """With who, why and since when; the form begins with what a link names."""
    browser = desk.browser("router-owner")
    assert f'value="{HUB_ECR}"' in browser.get(f"/operate?kind=ecr&name={HUB_ECR}", headers=HTML).text
    hold = {"word": "hold", "kind": "ecr", "name": HUB_ECR, "reason": "The router is being moved", "everything": "true"}
    assert said(browser, **hold).status_code == 303
    assert not [row for row in shown(browser).rows if "The router is being moved" in row and "Nothing is made" in row]
    desk.hear()
    row = shown(browser).row("The router is being moved", "Nothing is made, nothing is taken down.")
    assert "router-owner" in row
    assert said(browser, word="lift", kind="ecr", name=HUB_ECR, reason="It has arrived").status_code == 303
    desk.hear()
    assert "Nothing is on hold" in shown(browser).text


def test_the_mode_is_set_with_a_reason(desk: Desked) -> None:
    """And is what the page says only once it was carried out."""
    browser = desk.browser("router-owner")
    assert ("Mode", "as each function was deployed") in shown(browser).facts
    assert said(browser, word="mode", mode="pause-teardown", reason="A migration tonight").status_code == 303
    assert ("Mode", "as each function was deployed") in shown(browser).facts
    desk.hear()
    assert ("Mode", "pause teardown: nothing is taken down") in shown(browser).facts


def test_who_may_not_operate_sees_all_of_it_no_button_and_who_may(desk: Desked) -> None:
    """And a form that they send all the same is refused."""
    browser = desk.browser("owner")
    page = shown(browser)
    assert page.row("an association of another hand")
    assert "Who may operate" in page.text
    assert "redrive, adopt, repair, set the mode : router-owner" in page.text
    assert "<button>redrive" not in browser.get("/operate", headers=HTML).text
    before = len(words(browser))
    answer = said(browser, **REDRIVE)
    assert (answer.status_code, "group operators" in answer.text) == (403, True)
    assert len(words(browser)) == before


def test_who_sees_no_account_sees_nothing_of_theirs(desk: Desked) -> None:
    """Not even who may operate on it."""
    page = shown(desk.browser("stranger"))
    for one in (GRANT, VPC, HUB_ECR, HUB, SPOKE, "router-owner"):
        assert one not in page.text


def test_what_doctor_and_reconcile_found_last_is_told_or_how_to_have_it(desk: Desked) -> None:
    """To whoever may see everything; to others only when it was."""
    browser = desk.browser("router-owner")
    assert "ecr-grants doctor --keep" in shown(browser).text
    finding = {
        "check": "dead-letters",
        "about": "ecr-grants-dead",
        "verdict": "wrong",
        "text": "3 messages wait",
        "do": "look",
    }
    told = {"counts": {"ok": 12, "wrong": 1, "unknown": 0}, "findings": [finding, "of another version"]}
    desk.ledger.write(say_found, "doctor", told, int(time.time() * 1000))
    desk.ledger.write(say_found, "reconcile", {"grants": 7, "trouble": ["account 9 could not be read"]}, 1)
    page = shown(browser)
    assert "3 messages wait" in page.text
    assert "12 fine" in page.text
    assert "account 9 could not be read" in page.text
    assert "3 messages wait" not in shown(desk.browser("owner")).text


@pytest.mark.parametrize("part", ["dead", "late", "drift", "holds", "words"])
def test_each_list_is_there_whole_and_as_csv(desk: Desked, part: str) -> None:
    """With as many rows as the API has."""
    browser = desk.browser("router-owner")
    page = shown(browser, f"/operate/{part}")
    [csv] = [link for link in page.links if "format=csv" in link]
    assert len(browser.get(csv).text.splitlines()) - 1 == max(0, len(page.rows) - 1)


def test_looking_says_nothing(desk: Desked) -> None:
    """No page that is only looked at adds a word."""
    browser = desk.browser("router-owner")
    before = len(words(browser))
    for path in ("/operate", "/operate?word=mode&mode=full&reason=x", "/operate/words/now", "/operate/dead"):
        shown(browser, path)
    assert len(words(browser)) == before
