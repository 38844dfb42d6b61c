"""Stored text is text everywhere: in pages, their attributes, titles and pictures, in what is taken away as CSV, in answers to
what is typed.
"""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote, urlencode

import pytest
import requests
from markupsafe import escape

from shared.desk.admits import table
from shared.desk.app import make
from shared.desk.callers import CallerKind
from shared.messages.cells import safe
from shared.page.face import PAGE
from shared.page.pictures import address_space
from shared.page.texts import Language, Texts
from tests.functional.desked import Browser, Desked, desked
from tests.page.hostile import MARK, TEXTS, Told, hostile, one_line, plain
from tests.page.markup import said_by, wrong_with

HTML = {"Accept": "text/html"}
ROUTES = [
    one
    for one in table(make(face=PAGE).routes)
    if one[2] == frozenset({CallerKind.PERSON}) and not one[1].startswith("/api/")
]
OF_ONE = (
    "/requests/{request_id}",
    "/requests/{refused}",
    "/requests/{withdrawn}",
    "/requests/{request_id}/now",
    "/requests/{request_id}/changed",
    "/batches/{batch}",
    "/batches/{batch}/now",
    "/batches/{batch}/changed",
    "/grants/{grant_id}",
    "/exposure/{ecr_id}",
    "/ask?again={request_id}",
    "/search?q={text}",
)
"""Pages about what has one of the texts in its fields."""
OF_ALL = (
    "/",
    "/requests",
    "/decide",
    "/leases",
    "/grants",
    "/routers",
    "/ends?days=7",
    "/ask",
    "/operate",
    "/operate/words/now",
    "/operate/{part}",
    "/configuration",
    "/configuration?part=policy",
    "/configuration/{number}",
    "/configuration/difference?old=1&new={number}",
    "/audit",
    "/decisions",
    "/figures",
)
"""Pages with all of them."""
OF_NUMBERS = ("/figures",)
"""Those that say nothing of what is stored as text."""
PARTS = ("dead", "late", "drift", "holds", "words")


@dataclass(frozen=True)
class Stage:
    """A desk, where each text was put, and the browser of somebody who may see everything."""

    desk: Desked
    told: dict[str, Told]
    browser: Browser

    def get(self, path: str, **how: str) -> requests.Response:
        """A page, which there is."""
        answer = self.browser.get(path, headers={**HTML, **how})
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text[:500]}"
        return answer


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One for all of them."""
    with desked(tmp_path_factory.mktemp("page")) as made:
        yield Stage(made, hostile(made), made.browser("owner"))


def paths(path: str, one: Told) -> str:
    """A path of ``OF_ONE``, of one of them."""
    return path.format(**one.named, text=quote(one_line(one.text)[:100]))


def template(path: str) -> str:
    """Which route it goes to."""
    return path.partition("?")[0].replace("{refused}", "{request_id}").replace("{withdrawn}", "{request_id}")


def test_every_page_is_looked_at_here() -> None:
    """A new one is to be added above."""
    assert {path for method, path, _ in ROUTES if method == "GET"} == {template(path) for path in (*OF_ONE, *OF_ALL)}


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_is_shown_as_it_is_wherever_it_is_stored(stage: Stage, name: str) -> None:
    """No element, no attribute, no address, no comment comes of it; nothing is cut, left out or escaped twice. In either
    language: every other text is looked at in the other one.
    """
    told = stage.told[name]
    language = tuple(Language)[tuple(TEXTS).index(name) % 2]
    for path in OF_ONE:
        page = stage.get(paths(path, told), **{"Accept-Language": language}).text
        assert wrong_with(page) == [], path
        if not path.endswith("/changed"):
            assert plain(told.text)[:100] in said_by(page), f"{path} says nothing of it"


@pytest.mark.parametrize("path", OF_ALL)
def test_all_of_them_on_one_page_are_shown_as_they_are(stage: Stage, path: str) -> None:
    """Lists, the front page, what operators see, the configuration."""
    number = stage.browser.get("/api/v1/configuration").json()["number"]
    for part in PARTS if "{part}" in path else ("",):
        page = stage.get(path.format(part=part, number=number)).text
        assert wrong_with(page) == [], f"{path} {part}"
        assert MARK in page or path in OF_NUMBERS


@pytest.mark.parametrize("name", TEXTS)
def test_a_template_of_a_team_fills_the_form_with_what_it_says(stage: Stage, name: str) -> None:
    """Its name is in an address, its reason in the form."""
    told = stage.told[name]
    address = "/ask?" + urlencode({"template": f"{told.account}:{told.text[:100]}"})
    assert f'href="{escape(address)}"' in stage.get("/ask").text
    page = stage.get(address).text
    assert wrong_with(page) == []
    assert plain(told.text) in said_by(page.partition('<textarea id="reason"')[2])


def test_a_picture_has_names_as_texts() -> None:
    """In what is drawn, and in what is read out instead."""
    for text in TEXTS.values():
        picture = str(address_space(Texts(Language.EN), [(text, ["10.0.0.0/16"]), ("other", ["10.1.0.0/16"])]))
        assert wrong_with(picture) == []
        assert picture.count(str(escape(text))) == 2, text


def test_a_table_that_is_taken_away_has_texts_and_no_formulas(stage: Stage) -> None:
    """Each in a cell of its own, whole; a spreadsheet that opens it computes nothing."""
    found = ""
    for path, operation in stage.browser.get("/api/v1/openapi.json").json()["paths"].items():
        answers = operation.get("get", {}).get("responses", {})
        if "text/csv" not in answers.get("200", {}).get("content", {}):
            continue
        for told in stage.told.values() if "{" in path else [next(iter(stage.told.values()))]:
            answer = stage.browser.get("/api/v1" + path.removeprefix("/api/v1").format(**told.named) + "?format=csv")
            assert answer.status_code == 200, f"{path}: {answer.text[:500]}"
            assert answer.headers["Content-Type"].startswith("text/csv")
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Content-Disposition"].startswith("attachment; ")
            rows = list(csv.reader(io.StringIO(answer.text, newline=""), strict=True))
            assert {len(row) for row in rows} == {len(rows[0])}, path
            cells = [cell for row in rows for cell in row]
            assert [cell for cell in cells if cell[:1] in tuple("=+-@\t\r")] == [], path
            assert [cell for cell in cells if any(not letter.isprintable() for letter in cell)] == [], path
            found += "\n".join(cells)
    missing = [name for name, text in TEXTS.items() if safe(text) not in found]
    assert missing == []


def test_programs_are_answered_by_what_no_browser_takes_for_a_page(stage: Stage) -> None:
    """Also where what they asked is wrong, and stands in the answer."""
    for told in stage.told.values():
        for path in ("/requests/{request_id}", "/grants/{grant_id}", "/leases?text={text}", "/requests/{text}"):
            answer = stage.browser.get("/api/v1" + paths(path, told), headers=HTML)
            kind = answer.headers["Content-Type"]
            assert kind in ("application/json", "application/problem+json"), path
            assert answer.headers["X-Content-Type-Options"] == "nosniff"


TYPED = {
    "/ask": (
        "kind",
        "account",
        "region",
        "router",
        "instances",
        "prefixes",
        "end",
        "until",
        "reason",
        "ticket",
        "begun",
    ),
    "/ask/check": ("kind", "account", "region", "router", "instances", "prefixes", "end", "until", "reason", "closes"),
    "/renewals": ("request_id", "ends_at", "reason", "name"),
    "/operate": ("word", "kind", "name", "side", "mode", "reason"),
    "/requests/{request_id}/decision": ("side", "word", "snapshot", "reason"),
    "/requests/{request_id}/withdrawal": ("reason",),
    "/requests/{request_id}/look": ("nothing",),
    "/requests/{request_id}/review": ("word", "reason"),
    "/batches/{batch}/decisions": ("side", "word", "request_id", "reason"),
}
"""Every form, and what can be typed into it."""
ASKED = (
    "/{text}",
    "/requests/{text}",
    "/grants/{text}",
    "/exposure/{text}",
    "/batches/{text}",
    "/operate/{text}",
    "/search?q={text}",
    "/leases?text={text}&ecr={text}&after={text}",
    "/requests?stage={text}&mine={text}",
    "/grants?instance={text}",
    "/ends?days={text}",
    "/exposure/{ecr_id}?allowed={text}",
    "/ask?template={text}",
    "/ask?again={text}",
    "/operate?name={text}&said={text}",
    "/configuration?part={text}",
    "/leases?text=vpc-nothing&{text}={text}",
    "/sign-in/back?error={text}&state={text}",
)
"""Addresses that somebody may be sent to by another."""
UNSEEN = ("\x00", "a\x00b\x1b[31m\ufeff\u202e\u200b\r\n", "\ud800", "%00" + "\U0010ffff" * 40)


def test_every_form_is_typed_into_here() -> None:
    """A new one is to be added above."""
    assert {path for method, path, _ in ROUTES if method == "POST"} == set(TYPED)


@pytest.mark.parametrize("path", TYPED)
def test_what_is_typed_is_text_in_the_answer(stage: Stage, path: str) -> None:
    """In what is shown again, and in what is wrong with it."""
    for told in stage.told.values():
        said = dict.fromkeys(TYPED[path], told.text) | {"do": "send"}
        answer = stage.browser.call("POST", path.format(**told.named), data=said, headers=HTML)
        answered(answer)
        if (
            "reason" in said
            and answer.headers["Content-Type"].startswith("text/html")
            and 'name="reason"' in answer.text
        ):
            assert plain(told.text) in said_by(answer.text), f"{path} shows the form without what was typed"


@pytest.mark.parametrize("path", ASKED)
def test_what_an_address_says_is_text_in_the_answer(stage: Stage, path: str) -> None:
    """For whoever is signed in, and for a stranger, of whom every other one is one; where they came from is text, too."""
    browsers = itertools.cycle((stage.browser, Browser(stage.desk.address)))
    for told, browser in zip(stage.told.values(), browsers, strict=False):
        where = path.format(**told.named, text=quote(told.text, safe=""))
        came = f"{stage.desk.address}/{quote(told.text, safe='/<>=()')}"
        answered(browser.get(where, headers={**HTML, "Referer": came}))


@pytest.mark.parametrize("text", UNSEEN, ids=lambda text: ascii(text)[:20])
def test_what_cannot_be_seen_stops_nothing(stage: Stage, text: str) -> None:
    """In an address or a form."""
    told = next(iter(stage.told.values()))
    bytes_of = quote(text.encode("utf-8", "surrogatepass"))
    for path in ASKED:
        answered(stage.browser.get(path.format(**told.named, text=bytes_of), headers=HTML))
    for path, names in TYPED.items():
        form = {"Content-Type": "application/x-www-form-urlencoded", **HTML}
        said = "&".join(f"{name}={bytes_of}" for name in names) + "&do=send"
        answered(stage.browser.call("POST", path.format(**told.named), data=said, headers=form))


@pytest.mark.parametrize(
    "path", ["/search?q=a%00", "/requests?person=a%00", "/requests/r-%00", "/api/v1/decisions?person=%00"]
)
def test_an_address_with_a_null_character_is_refused(stage: Stage, path: str) -> None:
    """Before anything is asked of a database, of which one kind keeps no such text."""
    answer = stage.browser.get(path, headers=HTML)
    assert answer.status_code == 400
    assert "the address: must have no null character" in answer.text


@pytest.mark.parametrize("reason", ["a\0b", "a\x1bb", "a\u202eb"], ids=ascii)
def test_a_reason_that_controls_the_text_is_refused_by_its_name(stage: Stage, reason: str) -> None:
    """Also where none has to be given."""
    told = next(iter(stage.told.values()))
    word = {"side": "grant", "snapshot": "0" * 64, "reason": reason}
    for path, body in (
        (f"/requests/{told.request}/decisions", word | {"agrees": False}),
        ("/decisions", {"side": "grant", "agrees": False, "about": [], "reason": reason}),
        (f"/requests/{told.request}/withdrawal", {"reason": reason}),
    ):
        answer = stage.browser.post(f"/api/v1{path}", body)
        assert (answer.status_code, "reason: must be" in answer.text) == (422, True), answer.text
    for path, form in (
        (f"/requests/{told.request}/decision", word | {"word": "no"}),
        (f"/batches/{told.batch}/decisions", {"side": "grant", "word": "no", "reason": reason}),
        (f"/requests/{told.request}/withdrawal", {"reason": reason}),
        (f"/requests/{told.request}/review", {"word": "in-order", "reason": reason}),
    ):
        answer = stage.browser.call("POST", path, data=form, headers=HTML)
        assert (answer.status_code, "reason: must be" in answer.text) == (422, True), path


def answered(answer: requests.Response) -> None:
    """It is a page with nothing wrong, or leads to one; no trouble of ours, and no header of theirs."""
    assert answer.status_code < 500, answer.text[:500]
    assert "Set-Cookie" not in answer.headers or MARK not in answer.headers["Set-Cookie"]
    if answer.headers.get("Content-Type", "").startswith("text/html"):
        assert wrong_with(answer.text, whole=False) == []
    elif answer.status_code == 303:
        assert answer.headers["Location"].startswith(("/", "http://127.0.0.1:"))
        assert not answer.headers["Location"].startswith("//")


@pytest.mark.parametrize("place", ["<p>{}</p>", '<p title="{}">x</p>', "<p title='{}'>x</p>", "<p title={}>x</p>"])
def test_the_judge_sees_what_is_not_escaped(place: str) -> None:
    """Where it is, nothing is wrong; where it is not, or is twice, or the text is another one, that is found."""
    found = {name: wrong_with(place.format(text)) for name, text in TEXTS.items()}
    assert found["elements"] or "<p>" not in place
    assert any(found.values())
    if "={}" not in place:
        assert [wrong_with(place.format(escape(text))) for text in TEXTS.values()] == [[]] * len(TEXTS)
        assert all(wrong_with(place.format(escape(str(escape(TEXTS[name]))))) for name in ("elements", "attributes"))
        assert all(wrong_with(place.format(escape(text[:20] + "?" + text[21:]))) for text in TEXTS.values())


@pytest.mark.parametrize(
    "page",
    [
        '<p><a href="javascript:zqx()">x</a></p>',
        '<p><a href="//elsewhere.example.com">x</a></p>',
        '<p><a href="https://elsewhere.example.com">x</a></p>',
        "<p><!-- zqx --></p>",
        "<p>x</p></div>",
        "<script>1</script>",
        '<p class="zqx">x</p>',
        '<p hx-on:click="x">x</p>',
    ],
)
def test_the_judge_sees_what_acts(page: str) -> None:
    """Whatever it came from."""
    assert wrong_with(page) != []
