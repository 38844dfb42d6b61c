"""Finding over the desk's API and its commands: each finds theirs, and nobody can tell what else there is."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.functional.desked import Desked, desked
from tests.functional.test_desk import ask
from tests.functional.test_desk_commands import signed_in, told_here
from tests.functional.test_desk_looking import grant_of
from tests.functional.world import HUB, HUB_ECR, SPOKE


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desked]:
    """A lease that was asked for and decided; another request that was refused, and one that waits."""
    with desked(tmp_path_factory.mktemp("desk")) as made:
        asking, owner = made.browser("requester"), made.browser("owner")
        for number, agrees in ((1, True), (2, False)):
            request_id = ask(asking, number)
            body = {"side": "grant", "agrees": agrees, "snapshot": made.look(request_id), "reason": "As agreed"}
            assert owner.post(f"/api/v1/requests/{request_id}/decisions", body).status_code == 201
        ask(asking, 3)
        made.hear()
        yield made


def get(desk: Desked, who: str, path: str) -> Any:
    """What somebody is answered."""
    answer = desk.browser(who).get(f"/api/v1{path}")
    assert answer.status_code == 200, answer.text
    return answer.json()


THERE = ("vpc-desk1", HUB_ECR, "10.20.3.4", "requester", SPOKE)
NOWHERE = ("vpc-nowhere", "ecr-nowhere", "10.99.3.4", "nobody-at-all", "9000000000000009")


def test_each_finds_theirs(desk: Desked) -> None:
    """What they asked for, and what is about their accounts; a stranger is told of all of it as of what is not there."""
    found = {
        who: [len(get(desk, who, f"/search?text={text}")["found"]) for text in THERE] for who in ("owner", "stranger")
    }
    assert all(found["owner"])
    assert not any(found["stranger"])
    stranger = desk.browser("stranger")
    for there, nowhere in zip(THERE, NOWHERE, strict=True):
        seen, missing = (stranger.get(f"/api/v1/search?text={text}") for text in (there, nowhere))
        assert (seen.status_code, seen.content) == (missing.status_code, missing.content)
    (range_,) = get(desk, "requester", "/search?text=10.20.")["found"]
    assert (range_["kind"], range_["id"]) == ("range", "10.20.0.0/16")
    assert range_["where"] == f"/grants/{grant_of(desk, 'vpc-desk1')}"


def test_who_decided_is_told_to_whoever_may_see_it(desk: Desked) -> None:
    """In pages and as a table; to others as if nobody had."""
    told = get(desk, "owner", "/decisions")["decisions"]
    assert [(one["person"], one["agrees"], one["reason"]) for one in told] == [
        ("owner", False, "As agreed"),
        ("owner", True, "As agreed"),
    ]
    assert get(desk, "requester", "/decisions")["decisions"] == told
    assert get(desk, "router-owner", f"/decisions?account={HUB}&side=grant")["decisions"] == told
    assert len(get(desk, "owner", f"/decisions?grant={grant_of(desk, 'vpc-desk1')}")["decisions"]) == 1
    lines = list(csv.DictReader(io.StringIO(desk.browser("owner").get("/api/v1/decisions?format=csv").text)))
    assert [line["request_id"] for line in lines] == [one["request_id"] for one in told]
    stranger = desk.browser("stranger")
    answers = {stranger.get(f"/api/v1/decisions?account={uid}").content for uid in (SPOKE, NOWHERE[-1])}
    assert answers == {stranger.get("/api/v1/decisions?person=owner").content}


def test_who_may_what_is_told_of_accounts_that_one_sees(desk: Desked) -> None:
    """Oneself, another, and everybody on an account; of an account that one may not see it is nothing."""
    (mine,) = get(desk, "owner", "/rights")["rights"]
    assert (mine["account"], mine["sees"], mine["decides"]) == (SPOKE, True, ["grant"])
    people = {one["person"]: one for one in get(desk, "owner", f"/rights?account={SPOKE}")["rights"]}
    assert people["requester"]["decides"] == []
    assert people["requester"]["asks"]
    assert people["second-owner"]["decides"] == ["grant"]
    stranger = desk.browser("stranger")
    answers = [stranger.get(f"/api/v1/rights?account={uid}").content for uid in (SPOKE, NOWHERE[-1])]
    assert answers[0] == answers[1] == stranger.get("/api/v1/rights").content


def test_figures_are_of_what_one_may_see(desk: Desked) -> None:
    """Today has what was asked and refused; what is counted of the whole deployment is for whoever sees all of it."""
    answer = get(desk, "owner", "/figures?days=7")
    assert len(answer["days"]) == 7
    today = answer["days"][-1] if answer["days"][-1]["asked"] else answer["days"][-2]  # midnight may have been just now
    assert (today["asked"], today["ended"], today["counts"]) == (3, {"approved": 1, "refused": 1}, None)
    assert not answer["cut"]
    assert sum(day["asked"] for day in get(desk, "stranger", "/figures")["days"]) == 0
    assert desk.browser("owner").get("/api/v1/figures?days=91").status_code == 422


def test_how_far_a_record_is_proven(desk: Desked) -> None:
    """For whoever may see an account of it; to others the grant is not there."""
    grant_id = grant_of(desk, "vpc-desk1")
    told = get(desk, "owner", f"/grants/{grant_id}/proof")
    assert (told["fault"], told["head"], told["covered"]) == (None, None, False)
    assert told["events"] > 0
    stranger = desk.browser("stranger")
    answers = [stranger.get(f"/api/v1/grants/{name}/proof") for name in (grant_id, "g-" + "0" * 24)]
    assert [one.status_code for one in answers] == [404, 404]
    first, second = (one.text.replace(grant_id, "g").replace("g-" + "0" * 24, "g") for one in answers)
    assert first == second


def test_requests_are_found_in_their_list(desk: Desked) -> None:
    """By a text, by whoever asked; each says what it is about."""
    (one,) = get(desk, "owner", "/requests?text=vpc-desk3")["requests"]
    assert (one["instance_id"], one["ecr_id"], one["stage"], one["review_until"]) == (
        "vpc-desk3",
        HUB_ECR,
        "open",
        None,
    )
    assert len(get(desk, "owner", "/requests?person=requester")["requests"]) == 3
    assert get(desk, "owner", "/requests?review=true")["requests"] == []
    assert desk.browser("owner").get("/api/v1/requests?text=%25%25%25").status_code == 422


def test_the_commands_say_the_same(desk: Desked, tmp_path: Path) -> None:
    """Each as a table, and as JSON."""
    home = signed_in(desk, tmp_path, "owner")
    for asked, word in (
        (("search", "vpc-desk1"), "/grants?instance=vpc-desk1"),
        (("ends", "--days", "2"), "vpc-desk1"),
        (("routers",), HUB_ECR),
        (("decisions", "--person", "owner"), "As agreed"),
        (("rights",), SPOKE),
    ):
        for form in ("table", "json"):
            done = told_here(desk, home, *asked, "-o", form)
            assert (done.returncode, word in done.stdout) == (0, True), (asked, done.stdout, done.stderr)
            assert form == "table" or isinstance(json.loads(done.stdout), list)
    assert told_here(desk, home, "ends", "--overdue", "-o", "json").stdout.strip() == "[]"
