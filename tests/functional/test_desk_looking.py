"""Looking over the desk's API: each caller sees theirs, nobody can tell what else there is, and lists are whole."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import sqlalchemy as sql

from bench.past import Past, live_elsewhere
from shared.ledger.admission import Judged, admit
from shared.ledger.configuration import newest_number
from shared.ledger.schema import upgrade_schema
from shared.ledger.tables import approvals, grants, sides
from shared.ledger.transactions import Ledger
from shared.messages.catalogue import find
from shared.messages.completion import Reason
from shared.messages.seal import approval_from
from shared.rules.shipped import POLICY
from tests.functional.approvals import approval
from tests.functional.desked import Browser, Desked, decided, desked
from tests.functional.test_desk import ask
from tests.functional.test_desk_commands import signed_in, told_here
from tests.functional.world import HUB, HUB_ECR, SPOKE
from tests.ledger.kit import Database
from tests.ledger.postgres import running

OTHER_A, OTHER_B, OTHER_ECR = "1000000000000777", "2000000000000777", "ecr-notofours"
MANY = 250
"""Leases of account B and ours that nobody else has to do with."""


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def desk(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desked]:
    """One for all of them, on each database; an auditors' rule beside the shipped policy."""
    folder = tmp_path_factory.mktemp("desk")
    if request.param == "sqlite":
        with desked(folder) as made:
            furnish(made, "sqlite")
            yield made
        return
    with running() as server:
        url = server.address(server.new_database())
        ledger = Ledger(url)
        upgrade_schema(ledger)
        ledger.close()
        with desked(folder, url) as made:
            furnish(made, "postgresql")
            yield made


def furnish(desk: Desked, kind: str) -> None:
    """Leases between all kinds of accounts; one that was asked and decided at the desk; one that cannot be made."""
    decided(desk.ledger, desk.stage, policy=POLICY)
    for number, (a, b) in enumerate(((HUB, SPOKE), (HUB, OTHER_B), (OTHER_A, SPOKE), (OTHER_A, OTHER_B))):
        enter(desk, f"REQ-{number}", f"vpc-seen{number}", a, b)
    number = desk.ledger.read(newest_number)
    assert number > 0
    request_id = ask(desk.browser("requester"), 1)
    snapshot = desk.look(request_id)
    body = {"side": "grant", "agrees": True, "snapshot": snapshot}
    desk.browser("owner").post(f"/api/v1/requests/{request_id}/decisions", body)
    assert len(desk.hear()) == 1
    database = Database(kind, str(desk.ledger.engine.url.render_as_string(hide_password=False)))
    live_elsewhere(database, grant_of(desk, "vpc-seen0"), Past(MANY, 0), lambda _: None)
    why = Reason(code="No", text='=HYPERLINK("http://evil.example.com","look")').model_dump_json()
    with database.connected() as connection:
        here = sides.c.grant_id == grant_of(desk, "vpc-seen1")
        connection.execute(sides.update().where(here, sides.c.side == "grant").values(trouble=why, state="present"))
    database.close()


def enter(desk: Desked, name: str, vpc: str, a: str = HUB, b: str = SPOKE) -> None:
    """A lease that a system sealed."""
    ecr = {"id": HUB_ECR if a == HUB else OTHER_ECR, "owner_uid": a}
    document = approval_from(approval(b, vpc, ecr=ecr, request_id=name, approved_at="2026-01-01T00:00:00Z"))
    judged = Judged(configuration=desk.ledger.read(newest_number))
    desk.ledger.write(admit, document, f"message-{name}", int(time.time() * 1000), desk.ledger.timing, judged)


def grant_of(desk: Desked, vpc: str) -> str:
    """The id of its grant."""

    def named(connection: sql.Connection) -> str:
        return str(connection.execute(sql.select(grants.c.grant_id).where(grants.c.instance_id == vpc)).scalar_one())

    return desk.ledger.read(named)


def of_desk(desk: Desked) -> str:
    """The request that was decided."""

    def first(connection: sql.Connection) -> str:
        query = sql.select(approvals.c.request_id).where(approvals.c.issuer == "desk")
        return str(connection.execute(query.order_by(approvals.c.admitted_at)).scalars().first())

    return desk.ledger.read(first)


def everything(browser: Browser, path: str, member: str, **headers: str) -> list[dict[str, Any]]:
    """A list, page by page."""
    found: list[dict[str, Any]] = []
    after = ""
    sign = "&" if "?" in path else "?"
    while True:
        answer = browser.get(f"/api/v1{path}{after}", headers=headers)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert len(page[member]) <= 100
        found += page[member]
        if page["next"] is None:
            return found
        after = f"{sign}after={page['next']}"


# -- who sees what ---------------------------------------------------------------------------------------------------

SEES = {
    "requester": set[str](),
    "stranger": set[str](),
    "owner": {"REQ-0", "REQ-2"},
    "router-owner": {"REQ-0", "REQ-1"},
    "auditor": {"REQ-0", "REQ-1", "REQ-2", "REQ-3"},
}


@pytest.mark.parametrize("who", SEES)
def test_each_sees_theirs_and_all_of_it(desk: Desked, who: str) -> None:
    """In every list alike; the requester their own lease, and no other on whichever grant."""
    browser, mine = desk.browser(who), of_desk(desk)
    found = [one["request_id"] for one in everything(browser, "/leases", "leases")]
    assert {one for one in found if one in SEES["auditor"]} == SEES[who]
    assert (mine in found) == (who != "stranger")
    assert len(found) == len(set(found))
    listed = {one["instance_id"] for one in everything(browser, "/grants", "grants")}
    assert {f"vpc-seen{name[-1]}" for name in SEES[who]} == {
        one for one in listed if one.startswith("vpc-seen") and len(one) == 9
    }
    assert ("vpc-desk1" in listed) == (who != "stranger")
    exposed = {one["instance_id"] for one in everything(browser, f"/exposure/{HUB_ECR}", "exposed")}
    assert exposed == ({"vpc-seen1"} if who in ("router-owner", "auditor") else set())
    for number in range(4):
        grant = grant_of(desk, f"vpc-seen{number}")
        for path in (f"/grants/{grant}", f"/grants/{grant}/history"):
            assert browser.get(f"/api/v1{path}").status_code == (200 if f"REQ-{number}" in SEES[who] else 404)


def test_a_requester_sees_their_lease_and_no_other_on_the_same_grant(desk: Desked) -> None:
    """The grant as it stands, without whoever else holds it open; what happened to it is for its owners."""
    enter(desk, "REQ-BESIDE", "vpc-desk1")
    grant = grant_of(desk, "vpc-desk1")
    asking, owner = desk.browser("requester"), desk.browser("owner")
    shown = [browser.get(f"/api/v1/grants/{grant}").json() for browser in (asking, owner)]
    assert [len(one["leases"]) for one in shown] == [1, 2]
    assert "REQ-BESIDE" not in json.dumps(shown[0])
    assert asking.get(f"/api/v1/grants/{grant}/history").status_code == 404
    happened = owner.get(f"/api/v1/grants/{grant}/history").json()["events"]
    assert [one["number"] for one in happened] == sorted((one["number"] for one in happened), reverse=True)


NAMED = {
    "a grant": ("/grants/{grant}", "/grants/g-" + "0" * 24),
    "its history": ("/grants/{grant}/history", "/grants/g-" + "0" * 24 + "/history"),
    "its history as a table": ("/grants/{grant}/history?format=csv", "/grants/g-" + "0" * 24 + "/history?format=csv"),
    "preflight": ("/requests/{request}/preflight", "/requests/r-" + "0" * 20 + "/preflight"),
    "a request": ("/requests/{request}", "/requests/r-" + "0" * 20),
    "a router": (f"/exposure/{HUB_ECR}", "/exposure/ecr-nobodyhasit"),
    "leases of a grant": ("/leases?grant={grant}", "/leases?grant=g-" + "0" * 24),
    "leases of a request": ("/leases?request={request}", "/leases?request=r-none"),
    "leases by a text": ("/leases?text=vpc-seen", "/leases?text=vpc-none"),
    "leases by a prefix": ("/leases?text=10.20.", "/leases?text=99.99."),
    "grants of an account": (f"/grants?account={SPOKE}", "/grants?account=9000000000000009"),
    "grants of an instance": ("/grants?instance=vpc-seen0", "/grants?instance=vpc-none"),
    "all as a table": ("/leases?format=csv&account=" + SPOKE, "/leases?format=csv&account=9000000000000009"),
}


@pytest.mark.parametrize("what", NAMED)
def test_a_stranger_cannot_tell_what_exists(desk: Desked, what: str) -> None:
    """Byte by byte the same answer, headers included, but for the id that was asked for."""
    browser = desk.browser("stranger")
    names = {"grant": grant_of(desk, "vpc-seen0"), "request": of_desk(desk)}
    there, none = (browser.get("/api/v1" + path.format(**names)) for path in NAMED[what])
    assert there.status_code == none.status_code
    ids = (*names.values(), "g-" + "0" * 24, "r-" + "0" * 20)
    bodies = [answer.content for answer in (there, none)]
    for name in ids:
        bodies = [body.replace(name.encode(), b"") for body in bodies]
    assert bodies[0] == bodies[1]
    told_ = [
        {name: value for name, value in answer.headers.items() if name not in ("date", "content-length")}
        for answer in (there, none)
    ]
    assert told_[0] == told_[1]


ROUTES = (
    "/leases",
    "/grants",
    "/grants/{grant}",
    "/grants/{grant}/history",
    f"/exposure/{HUB_ECR}",
    "/requests/{request}/preflight",
    "/configuration",
    "/health",
)
EXPECTED = {
    "nobody": [401, 401, 401, 401, 401, 401, 401, 200],
    "stranger": [200, 200, 404, 404, 200, 404, 200, 200],
    "system": [200, 200, 200, 404, 200, 200, 200, 200],
    "requester": [200, 200, 200, 404, 200, 200, 200, 200],
    "owner": [200, 200, 200, 200, 200, 200, 200, 200],
    "router-owner": [200, 200, 200, 200, 200, 200, 200, 200],
    "auditor": [200, 200, 200, 200, 200, 200, 200, 200],
}


@pytest.mark.parametrize("who", EXPECTED)
def test_every_route_for_every_kind_of_caller(desk: Desked, who: str) -> None:
    """A system sees what the person sees for whom it asks; and what is no success is a problem with a code."""
    browser = desk.browser(None if who in ("nobody", "system") else who)
    names = {"grant": grant_of(desk, "vpc-desk1"), "request": of_desk(desk)}
    found = []
    for path in ROUTES:
        headers = {"Authorization": f"Bearer {desk.token()}"} if who == "system" else {}
        answer = browser.get("/api/v1" + path.format(**names), headers=headers)
        found.append(answer.status_code)
        if answer.status_code >= 400:
            assert find(answer.json()["code"]) is not None, answer.text
    assert found == EXPECTED[who]


def test_what_is_about_account_b_is_its_owners_to_see(desk: Desked) -> None:
    """A requester gets one answer, whatever was found there, and of account A as soon whatever it took to look at B; who may see
    either account is told the result.
    """
    request_id = ask(desk.browser("requester"), 40)
    check = {"found": "it is in account 2000000000000002", "advice": "Have it made"}
    hidden = {"check": "instance-exists", "result": "fail", **check}
    names = {"check": "ecr-owner", "result": "pass", **check}
    desk.look(request_id, checks=[names, hidden], failed=1)
    path = f"/api/v1/requests/{request_id}/preflight"
    asking, owner, auditor = (desk.browser(who).get(path).json() for who in ("requester", "owner", "auditor"))
    assert [one["check"] for one in asking["checks"]] == ["account-b"]
    assert (asking["whole"], asking["failed"], asking["content"]) == (False, 0, None)
    assert "2000000000000002" not in json.dumps(asking)
    assert [one["result"] for one in owner["checks"]] == ["pass", "fail"]
    assert (owner["whole"], owner["failed"]) == (False, 1)
    assert owner["checks"][0]["found"] != check["found"] == owner["checks"][1]["found"]
    assert (auditor["whole"], [one["found"] for one in auditor["checks"]]) == (True, [check["found"]] * 2)
    shown = desk.browser("requester").get(f"/api/v1/requests/{request_id}").json()
    assert ([one["check"] for one in shown["checks"]], shown["failed"]) == (["account-b"], 0)


def test_what_is_configured_is_shown_to_whoever_may_see_everything(desk: Desked) -> None:
    """To others which version it is; an external id to nobody."""
    owner, auditor = (desk.browser(who).get("/api/v1/configuration").json() for who in ("owner", "auditor"))
    assert owner["number"] == auditor["number"] == desk.ledger.read(newest_number)
    assert (owner["content"], owner["fault"], len(owner["digest"])) == (None, None, 64)
    assert set(auditor["content"]) == {"inventory", "issuers", "people", "policy"}
    assert "external_id" not in json.dumps(auditor)


# -- pages -----------------------------------------------------------------------------------------------------------


def test_pages_give_everything_once_while_more_comes(desk: Desked) -> None:
    """All that was there at the first page, each once, and nothing that nobody has."""
    browser = desk.browser("router-owner")
    before = {one["request_id"] for one in everything(browser, "/leases", "leases")}
    assert len(before) > MANY
    found, after, number = [], "", 0
    while True:
        page = browser.get(f"/api/v1/leases{after}").json()
        found += [one["request_id"] for one in page["leases"]]
        if page["next"] is None:
            break
        after = f"?after={page['next']}"
        number += 1
        enter(desk, f"REQ-LATE{number}-{len(before)}", f"vpc-late{number}")
    assert number >= 2
    assert len(found) == len(set(found))
    assert set(found) == before


def test_a_place_is_good_for_its_own_list_alone(desk: Desked) -> None:
    """Not with other filters, not for somebody else, not of another list, not altered, not made up."""
    owner, other = desk.browser("router-owner"), desk.browser("auditor")
    place = owner.get("/api/v1/leases").json()["next"]
    assert owner.get(f"/api/v1/leases?after={place}").status_code == 200
    (session,) = (value for name, value in owner.cookies.items() if name.endswith("desk"))
    tried = [
        (owner, f"/leases?open=true&after={place}"),
        (owner, f"/leases?account={HUB}&after={place}"),
        (owner, f"/grants?after={place}"),
        (owner, f"/requests?after={place}"),
        (owner, f"/exposure/{HUB_ECR}?after={place}"),
        (other, f"/leases?after={place}"),
        (owner, f"/leases?after={place[:-6]}AAAAAA"),
        (owner, f"/leases?after={session}"),
        (owner, "/leases?after=0.g-1"),
        (owner, "/leases?after=" + "a" * 1999),
        (owner, "/leases?after=" + "a" * 2001),
        (owner, "/leases?after="),
    ]
    for browser, path in tried:
        answer = browser.get(f"/api/v1{path}")
        assert (answer.status_code, answer.json()["code"]) == (422, "BadInput"), path
        assert "after" in answer.json()["detail"]


@pytest.mark.parametrize(
    "query",
    [
        *("grant=g-1", "account=1", "ecr=vpc-1", "instance=ecr-1", "request=%20", "open=2", "format=xml"),
        *("ends_before=today", "ends_after=1", "ends_before=2026-01-01T00:00:00"),
        *("text=ab", "text=%25%25%25", "text=" + "a" * 129),
    ],
)
def test_a_filter_that_can_be_nothing_is_named(desk: Desked, query: str) -> None:
    """By its name, and nothing is asked of the ledger."""
    answer = desk.browser("owner").get(f"/api/v1/leases?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, "BadInput"), answer.text
    assert query.partition("=")[0] in answer.json()["detail"]


@pytest.mark.parametrize(("how", "headers"), [("?format=csv", {}), ("", {"Accept": "text/csv"})])
def test_a_table_is_the_whole_list(desk: Desked, how: str, headers: dict[str, str]) -> None:
    """As long as it is, with the same rows as the pages; lists are flat."""
    browser = desk.browser("auditor")
    pages = everything(browser, "/leases", "leases")
    answer = browser.get(f"/api/v1/leases{how}", headers=headers)
    assert answer.headers["Content-Type"].startswith("text/csv")
    table = list(csv.DictReader(io.StringIO(answer.text)))
    assert [one["request_id"] for one in table] == [one["request_id"] for one in pages]
    assert table[0].keys() == pages[0].keys()
    assert {one["allowed_prefixes"] for one in table} >= {"10.20.0.0/16"}
    both = browser.get("/api/v1/leases", headers={"Accept": "application/json, text/csv"})
    assert both.headers["Content-Type"] == "application/json"


def test_no_cell_is_a_formula(desk: Desked) -> None:
    """Whatever the cloud, or somebody in its name, has said."""
    browser = desk.browser("auditor")
    table = list(csv.DictReader(io.StringIO(browser.get("/api/v1/grants?format=csv").text)))
    (bad,) = (one for one in table if one["instance_id"] == "vpc-seen1")
    assert bad["why"] == '\'=HYPERLINK("http://evil.example.com","look")'
    for path in ("/grants", "/leases", "/requests", f"/exposure/{HUB_ECR}", f"/grants/{bad['grant_id']}/history"):
        rows = csv.reader(io.StringIO(browser.get(f"/api/v1{path}?format=csv").text))
        assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]


def test_every_answer_is_documented(desk: Desked) -> None:
    """Each route with a schema of its own, and those that are lists also as tables."""
    said = requests.get(f"{desk.address}/api/v1/openapi.json", timeout=30).json()
    for path in ("/leases", "/grants", "/grants/{grant_id}", "/grants/{grant_id}/history", "/exposure/{ecr_id}"):
        content = said["paths"][f"/api/v1{path}"]["get"]["responses"]["200"]["content"]
        assert "$ref" in content["application/json"]["schema"]
        assert ("text/csv" in content) == (path != "/grants/{grant_id}")


# -- the command line --------------------------------------------------------------------------------------------------


def test_the_command_line_looks(desk: Desked, tmp_path: Path) -> None:
    """All pages, in each form, nothing cut; and a request or a grant by its id."""
    home = signed_in(desk, tmp_path / "owner", "router-owner")
    grant = grant_of(desk, "vpc-seen1")
    for form in ("table", "csv", "json"):
        listed = told_here(desk, home, "leases", "-o", form)
        assert (listed.returncode, listed.stderr) == (0, "")
        assert listed.stdout.count("REQ-0") >= MANY
        exposed = told_here(desk, home, "exposed", HUB_ECR, "-o", form)
        assert "vpc-seen1" in exposed.stdout, exposed.stderr
        happened = told_here(desk, home, "history", grant, "-o", form)
        assert "REQ-1" in happened.stdout, happened.stderr
    assert grant in told_here(desk, home, "show", grant).stdout
    assert json.loads(told_here(desk, home, "show", grant, "--json").stdout)["grant"]["state"] == "present"
    assert of_desk(desk) in told_here(desk, home, "show", of_desk(desk)).stdout
    few = json.loads(told_here(desk, home, "leases", "--open", "--instance", "vpc-seen1", "-o", "json").stdout)
    assert [one["request_id"] for one in few] == ["REQ-1"]
    for command, code, why in (
        (("show", "g-" + "0" * 24), 1, "that you may see"),
        (("history", "g-1"), 2, "must be the id of a grant"),
        (("exposed", "vpc-1"), 2, "must be the id of a router"),
        (("leases", "--text", "a"), 1, "text"),
        (("leases", "-o", "xml"), 2, "must be table, json or csv"),
    ):
        found = told_here(desk, home, *command)
        assert (found.returncode, why in found.stderr) == (code, True), found.stderr


def test_whoever_leaves_a_group_sees_nothing_from_then_on(desk: Desked) -> None:
    """At the next call, without a restart."""
    browser = desk.browser("owner")
    assert browser.get("/api/v1/leases").json()["leases"]
    decided(desk.ledger, desk.stage, policy=POLICY, groups={"orders": ["second-owner"]})
    assert browser.get("/api/v1/leases").json()["leases"] == []
    decided(desk.ledger, desk.stage, policy=POLICY)
    assert browser.get("/api/v1/leases").json()["leases"]
