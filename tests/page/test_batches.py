"""What waits for a decision, and batches, on the page: one row, one table, one word."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.functional.desked import Browser, Desked, desked, wish
from tests.functional.world import HUB_ECR
from tests.page.asking import HTML, PASSED, asked, batched, everybody, inputs, look, page, say, stands, values, yes
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


# -- what waits ------------------------------------------------------------------------------------------------------


def test_what_waits_is_oldest_first_and_ones_own_first(desk: Desked, who: dict[str, Browser]) -> None:
    """What one agreed to waits for nobody else's eyes, and a batch is one row."""
    older, newer = asked(desk, who, 30), asked(desk, who, 31)
    wishes = [wish(320 + number) for number in range(3)]
    batch = who["requester"].post("/api/v1/requests", {"wishes": wishes}).json()["requests"][0]["batch"]
    found = page(who["owner"], "/decide")
    places = [found.links.index(f"/requests/{one}") for one in (older, newer)]
    assert places == sorted(places)
    assert found.links.count(f"/batches/{batch}") == 1
    assert "3 of a batch" in found.text
    assert yes(who["router-owner"], older, "associate").status_code == 303
    mine, _, others = who["router-owner"].get("/decide", headers=HTML).text.partition("What others have to decide")
    assert f"/requests/{older}" not in mine
    assert f"/requests/{older}" in others
    assert f"/requests/{newer}" in mine
    assert "Nothing waits for you." in page(who["stranger"], "/decide").text


# -- batches ---------------------------------------------------------------------------------------------------------


def test_a_batch_is_one_table_of_what_differs(desk: Desked, who: dict[str, Browser]) -> None:
    """What is the same of all stands above, once; what failed comes first, and is not ticked."""
    wishes = [wish(400 + n, allowed_prefixes=[f"10.40.{n}.0/24"], reason="A new shop") for n in range(6)]
    batch, ids = batched(desk, who, 400, wishes, {4})
    path = f"/batches/{batch}"
    found = page(who["owner"], path)
    assert found.text.count("A new shop") == 1
    assert dict(found.facts)["Router"] == HUB_ECR
    rows = [row for row in found.rows if "vpc-desk40" in row]
    assert rows[0].startswith("vpc-desk404")
    assert "10.40.3.0/24" in found.row("vpc-desk403")
    boxes = inputs(who["owner"], path, "about")
    ticked = {str(one["value"]).partition(":")[0] for one in boxes if "checked" in one}
    assert (len(boxes), ticked) == (6, set(ids) - {ids[4]})


def test_one_word_for_all_that_are_ticked(desk: Desked, who: dict[str, Browser]) -> None:
    """Each bound to its own snapshot; what became of each is told, failures first, and stops no other."""
    wishes = [wish(410 + n, allowed_prefixes=[f"10.41.{n}.0/24"]) for n in range(4)]
    batch, ids = batched(desk, who, 410, wishes, set())
    path = f"/batches/{batch}"
    about = values(who["owner"], path, "about")
    by_id = {str(one).partition(":")[0]: one for one in about}
    look(desk, ids[2], checks=[PASSED], world={"seen": {"cidrs": ["10.98.0.0/16"]}})
    chosen = [by_id[one] for one in ids[:3]]
    answer = say(who["owner"], f"{path}/decisions", side="grant", word="yes", reason="", about=chosen)
    assert answer.status_code == 200
    found = read(answer.text)
    assert "Recorded for 2 of 3: yes for account B (grant)." in found.text
    assert ("vpc-desk412" in found.rows[1], "not recorded" in found.rows[1]) == (True, True)
    assert "round 2" in found.rows[1]
    assert [stands(who["owner"], one)["agreed"] != [] for one in ids] == [True, True, False, False]


@pytest.mark.parametrize(
    ("word", "about", "told"),
    [("no", "one", "Say why not"), ("yes", "none", "Tick at least one."), ("yes", "nonsense", "about: must be")],
)
def test_a_batch_is_told_what_its_form_lacks(
    desk: Desked, who: dict[str, Browser], word: str, about: str, told: str
) -> None:
    """And nothing is recorded."""
    batch, ids = batched(desk, who, 420, [wish(420), wish(421)], set())
    ticked = {"one": values(who["owner"], f"/batches/{batch}", "about")[:1], "none": [], "nonsense": ["r-x:y"]}[about]
    answer = say(who["owner"], f"/batches/{batch}/decisions", side="grant", word=word, about=ticked)
    assert answer.status_code == 422
    assert told in read(answer.text).text
    assert all(stands(who["owner"], one)["agreed"] == [] for one in ids)


def test_a_batch_that_may_not_be_seen_is_not_there(desk: Desked, who: dict[str, Browser]) -> None:
    """As one that nobody asked."""
    batch, _ = batched(desk, who, 430, [wish(430), wish(431)], set())
    hidden = who["stranger"].get(f"/batches/{batch}", headers=HTML)
    missing = who["stranger"].get("/batches/b-none", headers=HTML)
    assert hidden.status_code == missing.status_code == 404
    assert hidden.text.replace(batch, "b-none") == missing.text
