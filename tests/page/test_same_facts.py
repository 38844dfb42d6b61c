"""Page, API and command line show the same facts: fifty seeded worlds, read by all three."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from shared.page.naming import LABELS
from tests.functional.desked import Browser, Desked, desked
from tests.functional.test_desk_commands import signed_in, told_here
from tests.page.reading import Page, read
from tests.page.worlds import listed, world

Json = dict[str, Any]
HTML = {"Accept": "text/html"}
SEEDS = range(50)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desked]:
    """One for all of them."""
    with desked(tmp_path_factory.mktemp("page")) as made:
        listed(made, SEEDS)
        yield made


@pytest.fixture(scope="module")
def browser(desk: Desked) -> Browser:
    """Of an owner of account A, who sees all of them."""
    return desk.browser("router-owner")


@pytest.fixture(scope="module")
def home(desk: Desked, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the same person's command line keeps its token."""
    return signed_in(desk, tmp_path_factory.mktemp("home"), "router-owner")


def utc(text: str | None) -> str:
    """A time as the page says it."""
    return "—" if text is None else datetime.fromisoformat(text).strftime("%Y-%m-%d %H:%M UTC")


def api(browser: Browser, path: str) -> Json:
    """What the API answers."""
    answer = browser.get(f"/api/v1{path}")
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


def page(browser: Browser, path: str) -> Page:
    """What the page says."""
    answer = browser.get(path, headers=HTML)
    assert answer.status_code == 200, answer.text
    return read(answer.text)


def command(desk: Desked, home: Path, *said: str) -> Any:
    """What the command says, as JSON."""
    done = told_here(desk, home, *said, "-o", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("seed", SEEDS)
def test_all_three_say_the_same(desk: Desked, browser: Browser, home: Path, seed: int) -> None:
    """Of leases, grants, what is exposed, one grant and one request."""
    made = world(desk, seed)
    ecr = made.ecr
    leases = api(browser, f"/leases?ecr={ecr}")["leases"]
    assert command(desk, home, "leases", "--ecr", ecr) == leases
    same_leases(leases, page(browser, f"/leases?ecr={ecr}"))
    grants = api(browser, f"/grants?ecr={ecr}")["grants"]
    same_grants(grants, page(browser, f"/grants?ecr={ecr}"))
    exposed = api(browser, f"/exposure/{ecr}")["exposed"]
    assert command(desk, home, "exposed", ecr) == exposed
    same_exposed(exposed, page(browser, f"/exposure/{ecr}"))
    for one in grants:
        same_grant(api(browser, f"/grants/{one['grant_id']}"), page(browser, f"/grants/{one['grant_id']}"))
    for request_id in made.requests:
        same_request(api(browser, f"/requests/{request_id}"), page(browser, f"/requests/{request_id}"))


def same_leases(leases: list[Json], found: Page) -> None:
    """Each in a row, in order, and no others."""
    ids = [one["request_id"] for one in leases]
    assert [next(one for one in ids if one in row) for row in found.rows[1:]] == ids
    for one in leases:
        row = found.row(one["request_id"])
        assert LABELS["lease"][one["state"]] in row
        assert one["instance_id"] in row
        assert utc(one["ends_at"]) in row or one["ends_at"] is None
        assert all(prefix in row for prefix in one["allowed_prefixes"])


def same_grants(grants: list[Json], found: Page) -> None:
    """Both sides as last read, and why they are not as wanted."""
    assert len(found.rows) == 1 + len(grants)
    for one in grants:
        row = found.row(one["instance_id"])
        for state in (one["grant_state"], one["association_state"]):
            assert LABELS["state"].get(state, state) in row
        assert all(LABELS["drift"][kind] in row for kind in one["drift"])
        assert (one["code"] or "") in row


def same_exposed(exposed: list[Json], found: Page) -> None:
    """Every prefix as read and as allowed, and the last end."""
    for one in exposed:
        row = found.row(one["instance_id"], one["instance_owner_uid"])
        assert all(prefix in row for prefix in (*one["prefixes"], *one["allowed_prefixes"]))
        assert one["endless"] or utc(one["ends_at"]) in row


def same_grant(one: Json, found: Page) -> None:
    """Everything that the API says of it is said."""
    for side in (one["grant"], one["associate"]):
        said = [LABELS["state"].get(side["state"], side["state"]), *side["prefixes"]]
        said += [side[name] for name in ("why", "code", "drift_text", "association_id") if side[name]]
        said += [utc(side[name]) for name in ("since", "next_look", "read_at", "made_at") if side[name]]
        missing = [text for text in said if " ".join(text.split()) not in found.text]
        assert missing == []
    for lease in one["leases"]:
        assert lease["request_id"] in found.text
        assert lease["reason"] in found.text


def same_request(one: Json, found: Page) -> None:
    """How it stands, what was asked, who said what."""
    wish = one["wish"]
    said = [one["request_id"], LABELS["stage"][one["stage"]], one["asked_by"], utc(one["asked_at"]), wish["reason"]]
    said += [wish["instance"]["id"], wish["ecr"]["id"], *wish["allowed_prefixes"]]
    said += [utc(wish["ends_at"])] if wish["ends_at"] else []
    said += [text for word in (*one["agreed"], *one["void"]) for text in (word["person"], word["reason"])]
    missing = [text for text in said if " ".join(text.split()) not in found.text]
    assert missing == []
