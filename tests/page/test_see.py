"""Looking on the page: filters stay in the address, what is outside a list is told, what ends is renewed together."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator

import pytest
import sqlalchemy as sql

from shared.ledger.heads import note_head
from shared.ledger.tables import events, sides
from shared.page.naming import LABELS
from shared.page.pictures import address_space, size_bar
from shared.page.texts import Language, Texts
from shared.rules.facts import DriftKind
from tests.functional.desked import Desked, desked, wish
from tests.functional.world import HUB_ECR, SPOKE
from tests.page.reading import read
from tests.page.worlds import listed, world

HTML = {"Accept": "text/html"}
ECR = "ecr-world000007"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desked]:
    """One for all of them, with a seeded world, and two leases of the desk that end soon."""
    with desked(tmp_path_factory.mktemp("page")) as made:
        listed(made, [7])
        world(made, 7)
        for number in (1, 2):
            request_id = made.browser("requester").ask(wish(number))["request_id"]
            body = {"side": "grant", "agrees": True, "snapshot": made.look(request_id)}
            made.browser("owner").post(f"/api/v1/requests/{request_id}/decisions", body)
        made.hear()
        yield made


@pytest.mark.parametrize(
    ("path", "some"),
    [
        ("/leases", ["vpc-desk1", "vpc-w7x0"]),
        (f"/leases?ecr={ECR}", ["vpc-w7x0"]),
        ("/leases?text=vpc-desk1", ["vpc-desk1"]),
        ("/leases?open=false", []),
        ("/grants", ["vpc-desk1", "vpc-w7x0"]),
        ("/grants?instance=vpc-desk2", ["vpc-desk2"]),
        ("/ends?days=7", ["vpc-desk1", "vpc-desk2"]),
        ("/routers", [HUB_ECR, ECR]),
    ],
)
def test_a_list_shows_what_its_address_asks_for(desk: Desked, path: str, some: list[str]) -> None:
    """And its CSV is the API's with the same filters."""
    answer = desk.browser("owner").get(path, headers=HTML)
    assert answer.status_code == 200, answer.text
    page = read(answer.text)
    for one in some:
        assert any(one in row for row in page.rows)
    if "instance=" in path or "text=" in path:
        assert len(page.rows) == 2
    [csv] = [link for link in page.links if "format=csv" in link]
    exported = desk.browser("owner").get(csv).text.splitlines()
    assert len(exported) - 1 == max(0, len(page.rows) - 1)


@pytest.mark.parametrize("who", ["stranger", "requester"])
def test_whoever_sees_nothing_is_told_the_next_step(desk: Desked, who: str) -> None:
    """Everywhere; and nothing of others stands anywhere."""
    browser = desk.browser(who)
    for path in (
        "/grants?ecr=ecr-nobody000",
        "/leases?ecr=ecr-nobody000",
        "/ends?overdue=true",
        f"/exposure/{ECR}",
        "/routers",
    ):
        page = browser.get(path, headers=HTML)
        assert page.status_code == 200
        assert "vpc-w7" not in page.text
    assert 'href="/ask"' in browser.get("/leases?ecr=ecr-nobody000", headers=HTML).text


def test_what_is_wrong_with_a_filter_is_said(desk: Desked) -> None:
    """By its name, as a page."""
    answer = desk.browser("owner").get("/leases?ecr=router-1&text=%25%25%25", headers=HTML)
    assert answer.status_code == 422
    assert "ecr: must be the id of a router" in answer.text


def test_what_is_outside_a_list_is_told_with_its_grants(desk: Desked) -> None:
    """By the leases, and by what was read."""
    browser = desk.browser("router-owner")
    inside = read(browser.get(f"/exposure/{HUB_ECR}?allowed=10.0.0.0/8", headers=HTML).text)
    assert "is inside of the list" in inside.text
    outside = read(browser.get(f"/exposure/{HUB_ECR}?allowed=10.21.0.0/16%0A192.168.0.0/16", headers=HTML).text)
    assert "1 prefix is outside of the list:" in outside.text
    assert "10.20.0.0/16 65,536 vpc-desk1 vpc-desk2" in outside.rows
    assert SPOKE in outside.row(SPOKE, "65,536", "1")


def test_what_is_no_range_is_said_and_not_passed_over(desk: Desked) -> None:
    """Else a slip of the pen would pass for a list that was compared."""
    listed = "10.0.0.0/8 10.1.1.1/8 <i>junk</i>"
    page = desk.browser("router-owner").get(f"/exposure/{HUB_ECR}", params={"allowed": listed}, headers=HTML)
    assert "No ranges, and left out of the list: 10.1.1.1/8 <i>junk</i>" in read(page.text).text
    assert 'class="box ok"' not in page.text


def test_whoever_sees_nothing_there_is_not_told_that_all_is_well(desk: Desked) -> None:
    """There is nothing that was compared."""
    page = desk.browser("stranger").get(f"/exposure/{HUB_ECR}?allowed=10.0.0.0/8", headers=HTML).text
    assert "There is nothing to compare" in page
    assert "is inside of the list" not in page


def test_drift_is_told_with_what_to_do(desk: Desked) -> None:
    """Of both sides, on the router's page and the grant's; and what drifted is not called as wanted, though it had settled."""
    browser = desk.browser("owner")
    named = browser.get(f"/api/v1/exposure/{ECR}").json()["exposed"][0]
    drifted = {"grant": DriftKind.FOREIGN_GRANT, "associate": DriftKind.PREFIXES_DIFFER}
    with desk.ledger.engine.begin() as connection:
        for side, kind in drifted.items():
            found = json.dumps({"class": kind, "text": "as somebody left it", "at": 1})
            here = sides.c.grant_id == named["grant_id"], sides.c.side == side
            settled = {"unsettled": False, "dead_at": None, "trouble": None}
            connection.execute(sides.update().where(*here).values(drift=found, **settled))
    page = read(browser.get(f"/exposure/{ECR}", headers=HTML).text)
    page.row(named["instance_id"], *(LABELS["drift"][kind] for kind in drifted.values()))
    told = read(browser.get(f"/grants/{named['grant_id']}", headers=HTML).text).text
    assert all(LABELS["drift_next"][kind] in told for kind in drifted.values())
    assert told.count("Not as it was left") == 2
    assert "As wanted, as last read." not in told


@pytest.mark.parametrize("path", ["/leases", "/grants", "/requests", f"/exposure/{ECR}"])
def test_a_form_that_is_sent_as_it_is_filters_nothing(desk: Desked, path: str) -> None:
    """A browser sends the fields that nobody filled in, too."""
    browser = desk.browser("owner")
    page = browser.get(path, headers=HTML).text
    names = set(re.findall(r'<(?:input|select|textarea)[^>]* name="(\w+)"', page)) - {"q"}
    assert names
    answer = browser.get(path, params=dict.fromkeys(names, ""), headers=HTML)
    assert answer.status_code == 200, answer.text
    assert read(answer.text).rows == read(page).rows
    assert "Without filters" not in answer.text
    assert browser.get("/api/v1/leases?ecr=").status_code == 422


def test_every_filter_that_is_set_is_seen(desk: Desked) -> None:
    """Those that a link has set, too: else a list would look like all there is."""
    browser = desk.browser("owner")
    for path, field in (
        ("/leases?request=W7-0-0&ends_before=2099-01-01T00:00:00Z", "ends_before"),
        ("/leases?instance=vpc-desk1", "instance"),
        ("/requests?person=requester&mine=false", "person"),
    ):
        page = browser.get(path, headers=HTML).text
        assert re.search(rf'<input id="{field}" name="{field}" value="[^"]+"', page)
        assert "<details open>" in page
        assert "Without filters" in page


def test_requests_are_found_by_who_asked_and_by_what_they_are_about(desk: Desked) -> None:
    """As over the API."""
    browser = desk.browser("owner")
    assert len(read(browser.get("/requests?person=requester", headers=HTML).text).rows) > 2
    assert read(browser.get("/requests?person=owner", headers=HTML).text).rows == []
    [_, row] = read(browser.get("/requests?text=vpc-desk1", headers=HTML).text).rows
    assert "vpc-desk1" in row
    assert HUB_ECR in row


def test_ticked_leases_are_renewed_together(desk: Desked) -> None:
    """As one batch of changes, each in place of its own; a lease that was sealed elsewhere has nothing to tick."""
    browser = desk.browser("owner")
    page = browser.get("/ends?days=90", headers=HTML).text
    ticks = re.findall(r'name="request_id" value="([^"]+)"', page)
    assert len(ticks) == 2
    assert all(one.startswith("r-") for one in ticks)
    ends = re.findall(r'<option value="([^"]+Z)">', page)
    [name] = re.findall(r'name="name" value="([^"]+)"', page)
    said = {"request_id": ticks, "ends_at": ends[1], "reason": "It goes on", "name": name}
    answer = browser.call("POST", "/renewals", data=said, headers=HTML)
    assert (answer.status_code, answer.headers["Location"][:11]) == (303, "/batches/b-"), answer.text
    batch = answer.headers["Location"].rpartition("/")[2]
    found = browser.get(f"/api/v1/requests?batch={batch}").json()["requests"]
    wishes = [browser.get(f"/api/v1/requests/{one['request_id']}").json()["wish"] for one in found]
    assert sorted(one["replaces"][0] for one in wishes) == sorted(ticks)
    assert {one["kind"] for one in wishes} == {"change"}
    assert {one["ends_at"] for one in wishes} == {ends[1]}
    twice = browser.call("POST", "/renewals", data=said, headers=HTML)
    assert twice.headers["Location"] == answer.headers["Location"]
    assert len(browser.get(f"/api/v1/requests?batch={batch}").json()["requests"]) == 2
    nothing = browser.call("POST", "/renewals", data={**said, "request_id": []}, headers=HTML)
    assert (nothing.status_code, "tick it in the list" in nothing.text) == (422, True)


def test_a_grant_whose_accounts_nobody_may_see_is_not_there(desk: Desked) -> None:
    """And one that is not there is told the same."""
    named = desk.browser("owner").get("/api/v1/grants?instance=vpc-w7x0").json()["grants"][0]["grant_id"]
    browser = desk.browser("stranger")
    hidden, nowhere = (browser.get(f"/grants/{one}", headers=HTML) for one in (named, "g-" + "0" * 24))
    assert hidden.status_code == nowhere.status_code == 404
    assert hidden.text.replace(named, "") == nowhere.text.replace("g-" + "0" * 24, "")


def test_a_requester_sees_their_own_lease_there_and_not_what_happened(desk: Desked) -> None:
    """Events may be about somebody else's request."""
    named = desk.browser("owner").get("/api/v1/grants?instance=vpc-desk1").json()["grants"][0]["grant_id"]
    answer = desk.browser("requester").get(f"/grants/{named}", headers=HTML)
    assert answer.status_code == 200
    assert "What happened to a grant is shown to whoever may see one of its accounts." in answer.text
    assert "How far this record is proven" not in answer.text
    told = read(desk.browser("owner").get(f"/grants/{named}", headers=HTML).text)
    assert "admitted" in told.text


def test_how_far_a_record_is_proven_is_told(desk: Desked) -> None:
    """Before a head was put out, after it, and where something in it is not what was recorded."""
    browser = desk.browser("owner")
    named = browser.get("/api/v1/grants?instance=vpc-desk2").json()["grants"][0]["grant_id"]

    def told() -> str:
        return read(browser.get(f"/grants/{named}", headers=HTML).text).text

    assert "they are what was recorded" in told() or "it is what was recorded" in told()
    assert "No signed head was put out of the database's reach yet." in told()
    end = browser.get(f"/api/v1/grants/{named}/proof").json()["end"]
    desk.ledger.write(note_head, end, int(time.time() * 1000))
    assert f"up to event {end}, was put out" in told()
    assert "Everything about this grant was recorded before it." in told()
    last = browser.get(f"/api/v1/grants/{named}/proof").json()["last"]
    where = sql.update(events).where(events.c.seq == last)
    with desk.ledger.engine.begin() as connection:
        kept = connection.execute(sql.select(events.c.body).where(events.c.seq == last)).scalar_one()
        connection.execute(where.values(body=kept + " "))
    assert f"Event {last} is not what was recorded." in told()
    with desk.ledger.engine.begin() as connection:
        connection.execute(where.values(body=kept))


T = Texts(Language.EN)


def test_a_picture_of_ranges_says_in_words_what_it_shows() -> None:
    """Over the smallest network around all of them; what is none is left out."""
    drawn = address_space(
        T, [("one & only", ["10.0.0.0/17", "10.0.128.0/17", "junk"]), ("two", ["10.3.0.0/16"]), ("none", [])]
    )
    assert "Whose ranges lie where, within 10.0.0.0/14" in drawn
    assert 'aria-label="one &amp; only: 10.0.0.0/16"' in drawn
    assert "<bdi>two</bdi> <small>65,536 addresses</small>" in drawn
    assert drawn.count('class="part"') == 2
    assert address_space(T, [("none", ["junk"])]) == ""
    everywhere = address_space(T, [("all", ["0.0.0.0/1", "255.0.0.0/8"])])
    assert "within 0.0.0.0/0" in everywhere


def test_a_picture_keeps_to_its_room() -> None:
    """A narrow range at the far end is seen, and one row of many ranges names a few of them."""
    drawn = address_space(T, [("all", ["0.0.0.0/8", "255.255.255.255/32"])])
    places = [(float(x), float(width)) for x, width in re.findall(r'x="([\d.]+)" width="([\d.]+)"', drawn)]
    assert all(x + width <= 720 and width >= 3 for x, width in places)
    assert len(places) == 2
    many = address_space(T, [("many", [f"10.{number}.0.0/24" for number in range(30)])])
    assert many.count('class="part"') == 30
    assert "10.19.0.0/24 and 10 more" in many
    assert "2 accounts are left out" in address_space(T, [(str(number), ["10.0.0.0/8"]) for number in range(42)])


def test_a_bar_is_longer_for_more_addresses() -> None:
    """And there is none without a size."""
    widths = [float(re.findall(r'width="(\d+)"', size_bar(size, 2**24))[0]) for size in (1, 256, 65_536, 2**24)]
    assert widths == sorted(widths)
    assert widths[-1] == 100
    assert size_bar(None, 5) == ""
