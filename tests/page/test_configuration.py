"""The configuration on the page and over the API: what stands, each version, what two of them differ in."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import sqlalchemy as sql

from shared.ledger.tables import configurations
from shared.page.configuration_page import Line, lines_between
from shared.rules.shipped import POLICY
from tests.functional.desked import Desked, decided, desked
from tests.functional.world import SPOKE
from tests.page.reading import Page, read

RULE = """
@id("one-more") @advice("You must wait.")
forbid (principal, action == Action::"ask", resource) when { context.emergency };
"""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desked]:
    """One for all of them, whose auditor may see everything, with another version after the first ones."""
    with desked(tmp_path_factory.mktemp("page")) as made:
        decided(made.ledger, made.stage)
        made.stage.listed[SPOKE]["external_id"] = "a-secret-of-theirs"
        decided(made.ledger, made.stage, policy=POLICY + RULE)
        yield made


def shown(desk: Desked, path: str, person: str = "auditor") -> Page:
    """A page, as somebody reads it."""
    answer = desk.browser(person).get(path, headers={"Accept": "text/html"})
    assert answer.status_code == 200, answer.text
    assert "a-secret-of-theirs" not in answer.text
    return read(answer.text)


def newest(desk: Desked) -> int:
    """The number of what stands."""
    return int(desk.browser("auditor").get("/api/v1/configuration").json()["number"])


@pytest.mark.parametrize(
    ("part", "expected"),
    [("accounts", SPOKE), ("people", "second-owner"), ("issuers", "tickets"), ("policy", "one-more")],
)
def test_what_stands_is_shown_part_by_part(desk: Desked, part: str, expected: str) -> None:
    """And whole versions of before in the same way."""
    assert expected in shown(desk, f"/configuration?part={part}").text
    assert expected in shown(desk, f"/configuration/{newest(desk)}?part={part}").text


def test_each_version_is_listed_with_who_signed_and_applied_it(desk: Desked) -> None:
    """And what it changed, in words; on the page as in the API."""
    lines = desk.browser("auditor").get("/api/v1/configurations").json()["configurations"]
    assert [one["number"] for one in lines] == list(range(newest(desk), 0, -1))
    page = shown(desk, "/configuration")
    for one in lines:
        row = page.row(one["digest"][:16])
        assert one["signers"]
        for told in (*one["signers"], one["applied_by"], *one["difference"][:1]):
            assert " ".join(told.split()) in row
    assert lines[0]["difference"] == ["as the test wants it"]


def test_two_versions_differ_in_what_the_page_marks(desk: Desked) -> None:
    """As lines put in and taken out; of an external id nobody is told even that it changed."""
    number = newest(desk)
    page = shown(desk, f"/configuration/difference?old={number - 1}&new={number}")
    assert page.row("one-more").startswith("+")
    assert not [row for row in page.rows if SPOKE in row]
    back = shown(desk, f"/configuration/difference?old={number}&new={number - 1}")
    assert back.row("one-more").startswith("\N{MINUS SIGN}")
    assert "They say the same" in shown(desk, f"/configuration/difference?old={number}&new={number}").text


def test_whoever_may_not_see_everything_is_told_which_version_it_is(desk: Desked) -> None:
    """And nothing of what is in it, by whom it was applied, or what it changed."""
    number = newest(desk)
    for path in ("/configuration", f"/configuration/{number}", f"/configuration/difference?old=1&new={number}"):
        page = shown(desk, path, "owner")
        assert "shown to whoever may see everything" in page.text
        for hidden in ("second-owner", "one-more", "tickets"):
            assert hidden not in page.text
    told = desk.browser("owner").get(f"/api/v1/configurations/{number}").json()
    assert (told["content"], told["applied_by"], told["signers"], told["difference"]) == (None, None, [], [])
    assert (told["number"], len(told["digest"])) == (number, 64)


def test_a_version_that_is_not_what_was_applied_is_told(desk: Desked) -> None:
    """By what the record has of its being applied."""
    path = "/api/v1/configurations/1"
    browser = desk.browser("auditor")
    assert browser.get(path).json()["as_applied"] is True
    with desk.ledger.engine.begin() as connection:
        first = configurations.c.number == 1
        bundle = connection.execute(sql.select(configurations.c.bundle).where(first)).scalar_one()
        connection.execute(configurations.update().where(first).values(bundle=json.dumps(json.loads(bundle))))
    try:
        assert browser.get(path).json()["as_applied"] is False
        assert "it is not what was applied" in shown(desk, "/configuration/1").text
    finally:
        with desk.ledger.engine.begin() as connection:
            connection.execute(configurations.update().where(first).values(bundle=bundle))


def test_a_version_that_is_not_there_is_told_so(desk: Desked) -> None:
    """To everybody."""
    assert desk.browser("owner").get("/api/v1/configurations/99").status_code == 404
    assert desk.browser("auditor").get("/configuration/99", headers={"Accept": "text/html"}).status_code == 404


def test_a_difference_has_what_stands_around_it_and_nothing_where_there_is_none() -> None:
    """Three lines before and behind, as usual."""
    old = "\n".join("abcdefgh")
    found = lines_between(old, old.replace("e", "E"))
    assert found == [
        Line("@", "@@ -2,7 +2,7 @@"),
        *(Line(" ", letter) for letter in "bcd"),
        Line("-", "e"),
        Line("+", "E"),
        *(Line(" ", letter) for letter in "fgh"),
    ]
    assert lines_between(old, old) == []
