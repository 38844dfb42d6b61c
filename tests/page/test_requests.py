"""Requests on the page: what is read before deciding, the words that are said there, and that looking says nothing."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sql

from shared.desk.admits import table
from shared.desk.app import make
from shared.desk.parts import COOKIE
from shared.desk.tokens import SESSION, Seals, Use
from shared.ledger.tables import consent
from shared.page.face import PAGE
from shared.rules.shipped import POLICY
from tests.functional.desked import Browser, Desked, decided, desked, subject, wish
from tests.functional.launch import DESK
from tests.functional.world import HUB_ECR
from tests.page.asking import (
    FAILED,
    HTML,
    PASSED,
    UNKNOWN,
    asked,
    batched,
    everybody,
    look,
    page,
    say,
    stands,
    values,
    yes,
)
from tests.page.reading import read


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desked]:
    """One for all of them."""
    with desked(tmp_path_factory.mktemp("page")) as made:
        yield made


@pytest.fixture(scope="module")
def who(desk: Desked) -> dict[str, Browser]:
    """Everybody's browser, signed in just now."""
    return everybody(desk)


# -- what is read ----------------------------------------------------------------------------------------------------


def test_what_is_asked_is_all_there(desk: Desked, who: dict[str, Browser]) -> None:
    """With who asked, how sure that is, and when it lapses."""
    request_id = asked(desk, who, 1, ticket="OPS-7", reason="The shop needs the data centre")
    found = page(who["owner"], f"/requests/{request_id}")
    facts = dict(found.facts)
    assert facts["Instance"].startswith("vpc-desk1 ")
    assert facts["Prefixes"] == "10.20.0.0/16"
    assert facts["Ticket"] == "OPS-7"
    assert facts["When it ends"] == "take down"
    assert facts["Asked by"] == "requester · just signed in"
    assert "in 6 days" in facts["Lapses"]
    assert "The shop needs the data centre" in found.text


def test_preflight_is_waited_for_and_then_told_check_by_check(desk: Desked, who: dict[str, Browser]) -> None:
    """The part that waits asks for news, and is told nothing while there is none."""
    request_id = who["requester"].ask(wish(2))["request_id"]
    path = f"/requests/{request_id}"
    assert "Preflight has not looked yet: usually some seconds." in page(who["owner"], path).text
    (waits,) = re.findall(r'hx-get="([^"]+)"', who["owner"].get(path, headers=HTML).text)
    assert who["owner"].get(waits, headers=HTML).status_code == 204
    look(desk, request_id, checks=[PASSED, UNKNOWN, FAILED])
    news = who["owner"].get(waits, headers=HTML)
    assert (news.status_code, "<html" in news.text) == (200, False)
    told = news.text
    assert told.index("is there twice.") < told.index("Nobody says how many.") < told.index("The VPC is there.")
    assert "Ask for another." in told
    assert values(who["owner"], path, "word") == ["no"], "what failed must be put right before anybody agrees"
    assert "You must have what preflight found put right" in page(who["owner"], path).text


def test_who_types_is_told_and_loses_nothing(desk: Desked, who: dict[str, Browser]) -> None:
    """A page with a form for whoever looks is not changed under their hands."""
    request_id = asked(desk, who, 3)
    (waits,) = re.findall(r'hx-get="([^"]+)"', who["owner"].get(f"/requests/{request_id}", headers=HTML).text)
    assert "/changed?" in waits
    assert who["owner"].get(waits, headers=HTML).status_code == 204
    assert yes(who["second-owner"], request_id, "grant").status_code == 303
    news = who["owner"].get(waits, headers=HTML).text
    assert "It changed since you opened this page." in news
    assert "<form" not in news


def test_nothing_is_waited_for_once_it_ended(desk: Desked, who: dict[str, Browser]) -> None:
    """A page that cannot change asks for nothing."""
    request_id = asked(desk, who, 4)
    assert say(who["requester"], f"/requests/{request_id}/withdrawal", reason="Not needed").status_code == 303
    assert "hx-get" not in who["requester"].get(f"/requests/{request_id}", headers=HTML).text


def test_what_changes_is_shown_before_anybody_agrees(desk: Desked, who: dict[str, Browser]) -> None:
    """On the cloud, of the leases, and of what the router reaches, with what overlaps."""
    first = asked(desk, who, 5, allowed_prefixes=["10.50.0.0/24"])
    assert yes(who["owner"], first, "grant").status_code == 303
    desk.hear()
    again = asked(desk, who, 5, kind="change", replaces=[first], allowed_prefixes=["10.50.1.0/24"])
    beside = asked(desk, who, 6, allowed_prefixes=["10.50.0.0/16"])

    found = page(who["router-owner"], f"/requests/{again}")
    assert "is made" in found.row("account A (association)", "10.50.1.0/24")
    assert "ended by this request" in found.row(first)
    assert "gone" in found.row("10.50.0.0/24", "256")
    assert "added" in found.row("10.50.1.0/24", "256", "vpc-desk5")
    overlapping = page(who["router-owner"], f"/requests/{beside}").row("10.50.0.0/16", "65,536")
    assert "added" in overlapping
    assert "10.50.0.0/24 of vpc-desk5" in overlapping


def test_a_revoke_says_what_it_takes_down(desk: Desked, who: dict[str, Browser]) -> None:
    """Also what stays up by others' leases."""
    ids = [asked(desk, who, 7, allowed_prefixes=[f"10.57.{number}.0/24"]) for number in range(2)]
    for one in ids:
        assert yes(who["owner"], one, "grant").status_code == 303
    desk.hear()
    revoke = asked(desk, who, 7, kind="revoke", allowed_prefixes=[], ends_at=None, closes=ids[:1])
    found = page(who["owner"], f"/requests/{revoke}")
    assert "ended by this request" in found.row(ids[0])
    assert "stays" in found.row(ids[1])
    assert found.row("10.57.0.0/24", "gone")


def test_who_sees_neither_account_is_told_nothing_of_them(desk: Desked, who: dict[str, Browser]) -> None:
    """Whatever was seen there, and whatever stands."""
    request_id = asked(desk, who, 8, checks=[FAILED, PASSED])
    found = page(who["requester"], f"/requests/{request_id}").text
    assert "is there twice." not in found
    assert "The VPC is there." not in found
    assert "Preflight looked" not in found
    assert "What stands on the cloud is shown to the owners of the two accounts." in found
    assert who["stranger"].get(f"/requests/{request_id}", headers=HTML).status_code == 404


def test_what_becomes_of_it_is_told_with_a_way_to_the_grant(desk: Desked, who: dict[str, Browser]) -> None:
    """All that was said, in order, and where it went on."""
    request_id = asked(desk, who, 9)
    assert yes(who["owner"], request_id, "grant", reason="Fine with us").status_code == 303
    desk.hear()
    found = page(who["owner"], f"/requests/{request_id}")
    story = found.text[found.text.index("All that was said") :]
    order = [
        "requester asked",
        "Preflight looked",
        "owner agreed for account B (grant): Fine with us",
        "it is approved",
    ]
    assert [story.find(one) for one in order] == sorted(story.find(one) for one in order)
    assert all(one in story for one in order), story
    assert (
        f"/grants/{who['owner'].get(f'/api/v1/leases?request={request_id}').json()['leases'][0]['grant_id']}"
        in found.links
    )
    assert "admitted" in found.text
    assert {f"/ask?revoke={request_id}", f"/ask?change={request_id}"} <= set(found.links)


def test_the_api_says_the_same(desk: Desked, who: dict[str, Browser]) -> None:
    """Who decides, what changes and what was said; to whoever may not see it nothing, as of what is not there."""
    request_id = asked(desk, who, 10, allowed_prefixes=["10.60.0.0/24"])
    assert yes(who["owner"], request_id, "grant", reason="Fine with us").status_code == 303
    where = f"/api/v1/requests/{request_id}"
    found = page(who["router-owner"], f"/requests/{request_id}")

    said = who["router-owner"].get(f"{where}/facts").json()["facts"]
    assert [one["fact"] for one in said] == ["asked", "looked", "decided"]
    assert all(one["reason"] in found.text for one in said)
    deciding = who["router-owner"].get(f"{where}/deciding").json()
    sides = {one["side"]: one for one in deciding["sides"]}
    assert [one["person"] for one in sides["grant"]["may"]] == ["owner", "second-owner"]
    assert (sides["grant"]["takes"], sides["associate"]["takes"]) == (True, False)
    assert "second-owner" in found.row("account B (grant)", "Fine with us")
    assert deciding["mine"] == [{"side": "associate", "yes": True, "why": [], "rules": [], "fresh": False}]
    effect = who["router-owner"].get(f"{where}/effect").json()
    assert (effect["grant"], effect["association"], effect["whole"]) == ("made", "made", True)
    assert [one["change"] for one in effect["ranges"] if one["prefix"] == "10.60.0.0/24"] == ["added"]

    assert who["requester"].get(f"{where}/effect").json()["seen"] is False
    assert [one["fact"] for one in who["requester"].get(f"{where}/facts").json()["facts"]] == ["asked", "decided"]
    for name in ("facts", "deciding", "effect"):
        hidden, missing = (
            who["stranger"].get(f"/api/v1/requests/{one}/{name}") for one in (request_id, "r-" + "0" * 20)
        )
        assert hidden.status_code == missing.status_code == 404
        assert hidden.text.replace(request_id, "r-" + "0" * 20) == missing.text


# -- what is said ----------------------------------------------------------------------------------------------------


def test_yes_is_recorded_once_and_shown(desk: Desked, who: dict[str, Browser]) -> None:
    """With the person, the side and the reason."""
    request_id = asked(desk, who, 20)
    answer = yes(who["router-owner"], request_id, "associate", reason="The line has room")
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/requests/{request_id}")
    row = page(who["owner"], f"/requests/{request_id}").row("account A (association)", "The line has room")
    assert "router-owner" in row
    assert values(who["router-owner"], f"/requests/{request_id}", "word") == ["no"], "who agreed may still refuse"
    told = [page(who[name], f"/requests/{request_id}").text for name in ("owner", "router-owner")]
    assert ["It waits for you." in one for one in told] == [True, False]


def test_no_wants_a_reason_and_ends_it(desk: Desked, who: dict[str, Browser]) -> None:
    """Without one nothing is recorded."""
    request_id = asked(desk, who, 21)
    missing = yes(who["owner"], request_id, "grant", word="no", reason="  ")
    assert missing.status_code == 422
    assert "Say why not" in read(missing.text).text
    assert stands(who["owner"], request_id)["stage"] == "open"
    assert yes(who["owner"], request_id, "grant", word="no", reason="Too wide").status_code == 303
    found = page(who["requester"], f"/requests/{request_id}")
    assert "Too wide" in found.text
    assert f"/ask?again={request_id}" in found.links


def test_a_word_about_what_changed_is_not_recorded(desk: Desked, who: dict[str, Browser]) -> None:
    """The page says what changed, shows it, and keeps what was typed; the next word is about that."""
    request_id = asked(desk, who, 22)
    (old,) = values(who["owner"], f"/requests/{request_id}", "snapshot")
    assert yes(who["second-owner"], request_id, "grant", reason="As it was").status_code == 303
    seen = {"seen": {"cidrs": ["10.99.0.0/16"]}}
    fresh = look(desk, request_id, checks=[PASSED], world=seen)
    answer = yes(who["owner"], request_id, "grant", snapshot=str(old), reason="I typed this")
    assert answer.status_code == 409
    found = read(answer.text)
    assert "your word was not recorded" in found.text
    assert "This is round 2." in found.text
    assert "As it was" in found.text, "what counted before is void, and is still told"
    assert "I typed this" in answer.text
    assert fresh in answer.text
    assert stands(who["owner"], request_id)["agreed"] == []
    assert yes(who["owner"], request_id, "grant").status_code == 303


def test_what_ended_meanwhile_is_told_on_its_page(desk: Desked, who: dict[str, Browser]) -> None:
    """Not on one that has lost it."""
    request_id = asked(desk, who, 23)
    (snapshot,) = values(who["owner"], f"/requests/{request_id}", "snapshot")
    say(who["requester"], f"/requests/{request_id}/withdrawal")
    answer = yes(who["owner"], request_id, "grant", snapshot=str(snapshot))
    assert answer.status_code == 409
    assert "was withdrawn at" in read(answer.text).text
    assert "vpc-desk23" in answer.text


def test_nobody_is_offered_a_word_that_is_not_theirs(desk: Desked, who: dict[str, Browser]) -> None:
    """And whoever says it all the same is told whose it is."""
    request_id = asked(desk, who, 24)
    assert values(who["requester"], f"/requests/{request_id}", "word") == []
    assert values(who["owner"], f"/requests/{request_id}", "side") == ["grant"]
    (snapshot,) = values(who["owner"], f"/requests/{request_id}", "snapshot")
    answer = yes(who["owner"], request_id, "associate", snapshot=str(snapshot))
    assert answer.status_code == 403
    assert "leave it to an owner of that side" in read(answer.text).text


def test_an_emergency_is_reviewed_by_whoever_took_no_part(desk: Desked, who: dict[str, Browser]) -> None:
    """With what was found; on the list of what waits it stands until then."""
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
    request_id = asked(desk, who, 25, emergency=True, ends_at=soon)
    assert yes(who["router-owner"], request_id, "associate").status_code == 303
    desk.hear()
    path = f"/requests/{request_id}"
    assert values(who["router-owner"], path, "word") == []
    assert path in page(who["owner"], "/decide").links
    assert values(who["owner"], path, "word") == ["in-order", "not-in-order"]
    for unseen in (" ", "\u200b"):
        assert say(who["owner"], f"{path}/review", word="in-order", reason=unseen).status_code == 422
    assert say(who["owner"], f"{path}/review", word="not-in-order", reason="It could have waited").status_code == 303
    assert "owner reviewed it: not in order: It could have waited" in page(who["owner"], path).text
    assert path not in page(who["owner"], "/decide").links


def test_preflight_is_asked_to_look_again(desk: Desked, who: dict[str, Browser]) -> None:
    """By whoever may see the request."""
    request_id = asked(desk, who, 26)
    assert say(who["owner"], f"/requests/{request_id}/look").status_code == 303
    assert "owner asked to have it looked at again" in page(who["owner"], f"/requests/{request_id}").text


def test_a_sign_in_that_is_not_fresh_is_renewed_where_policy_says_so(desk: Desked, who: dict[str, Browser]) -> None:
    """Before anything is sent, and back to this page."""
    strict = POLICY + (
        '@id("always-fresh") @advice("You must sign in anew to agree.")\n'
        'forbid (principal, action == Action::"decide", resource) when { context.agrees } unless { context.fresh };\n'
    )
    request_id = asked(desk, who, 27)
    path = f"/requests/{request_id}"
    seals = Seals([base64.b64decode(DESK["DESK_KEYS"])], lambda: datetime.now(UTC))
    at = (datetime.now(UTC) - timedelta(hours=1)).timestamp()
    old = seals.make(Use.SESSION, {"subject": f"ram:{subject('owner')}", "at": at, "session": "s-old"}, SESSION)
    browser = Browser(desk.address, {COOKIE: old})
    assert values(browser, path, "word") == ["yes", "no"]
    decided(desk.ledger, desk.stage, policy=strict)
    try:
        found = page(browser, path)
        assert "You must sign in anew to agree." in found.text
        assert f"/sign-in?to={path.replace('/', '%2F')}&anew=true" in found.links
        assert values(browser, path, "word") == ["no"]
        assert values(who["owner"], path, "word") == ["yes", "no"]
    finally:
        decided(desk.ledger, desk.stage)


# -- looking ---------------------------------------------------------------------------------------------------------


def test_looking_says_nothing(desk: Desked, who: dict[str, Browser]) -> None:
    """No page that is asked for by GET adds a fact, whoever asks and whatever is in the address."""
    batch, ids = batched(desk, who, 500, [wish(500), wish(501)], set())
    snapshot = stands(who["owner"], ids[0])["snapshot"]
    grant_id = who["owner"].get("/api/v1/requests").json()["requests"][0]["grant_id"]
    there = {"request_id": ids[0], "batch": batch, "grant_id": grant_id, "ecr": HUB_ECR, "ecr_id": HUB_ECR}
    api = {(method, path) for method, path, _ in table(make().routes)}
    paths = [path for method, path, _ in table(make(face=PAGE).routes) if method == "GET" and (method, path) not in api]
    told = f"side=grant&word=yes&agrees=true&snapshot={snapshot}&reason=x&about={ids[0]}:{snapshot}"
    before = facts(desk)
    for path in paths:
        where = path.format_map(_Named(there))
        for browser in (who["owner"], who["router-owner"], who["requester"]):
            for query in ("", f"?{told}"):
                assert browser.get(where + query, headers=HTML).status_code < 500, where
    assert len(paths) > 10
    assert facts(desk) == before


class _Named(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return "none"


def facts(desk: Desked) -> int:
    """How many there are."""
    with desk.ledger.transaction(reading=True) as connection:
        return connection.execute(sql.select(sql.func.count()).select_from(consent)).scalar_one()


def test_stored_text_is_text(desk: Desked, who: dict[str, Browser]) -> None:
    """In every place of a request and of a batch."""
    hostile = "<img src=x onerror=alert(1)>\"'&{{7*7}}"
    check = FAILED | {"found": hostile, "advice": hostile}
    wishes = [wish(510 + n, reason=hostile, ticket=hostile) for n in range(2)]
    found = who["requester"].post("/api/v1/requests", {"wishes": wishes}).json()["requests"]
    for one in found:
        look(desk, one["request_id"], checks=[check, PASSED | {"found": hostile}])
    for path in (f"/requests/{found[0]['request_id']}", f"/batches/{found[0]['batch']}", "/decide"):
        text = who["owner"].get(path, headers=HTML).text
        assert "<img" not in text
        assert "{{7*7}}" in text
        assert hostile in read(text).text
