"""Stored text is text: the browser itself finds none of it as markup, runs none of it, and asks nobody for anything."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Dialog, Page

from tests.browser.browsing import Visitors
from tests.functional.desked import Desked, desked
from tests.page.hostile import TEXTS, Told, hostile
from tests.page.test_hostile import OF_ALL, PARTS, paths

_FOUND = """() => {
  const found = [];
  const ours = new Set([...document.querySelectorAll("head script[src^='/static/']")]);
  for (const e of document.querySelectorAll("*")) {
    const name = e.localName;
    if (name.includes("zqx") || ["iframe", "base", "style", "object", "embed", "noscript", "math"].includes(name))
      found.push(`<${name}>`);
    if (name === "script" && !ours.has(e)) found.push("a script");
    if (name === "meta" && e.httpEquiv) found.push(`meta ${e.httpEquiv}`);
    for (const {name: attribute, value} of e.attributes) {
      if (attribute.includes("zqx") || attribute.startsWith("on")) found.push(`<${name} ${attribute}>`);
      const acts = ["href", "src", "action", "formaction", "hx-get", "hx-post", "xlink:href"].includes(attribute);
      if (acts && !/^[/?#]/.test(value)) found.push(`<${name} ${attribute}="${value}">`);
    }
  }
  if (window.zqx !== undefined) found.push("something ran");
  return found;
}"""
ABOUT_ONE = ("/requests/{request_id}", "/batches/{batch}", "/grants/{grant_id}", "/search?q={text}")


@pytest.fixture(scope="module")
def stored(packages: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Desked, dict[str, Told]]]:
    """A desk with one of the texts in every field that takes one."""
    with desked(tmp_path_factory.mktemp("hostile")) as made:
        yield made, hostile(made)


@pytest.fixture(scope="module")
def page(chromium: Browser, stored: tuple[Desked, dict[str, Told]]) -> Iterator[Page]:
    """Of somebody who may see everything. A dialog that opens is kept as trouble."""
    here = Visitors(chromium, stored[0])
    opened = here.page_of("owner")
    troubles = here.troubles[opened]

    def noted(dialog: Dialog) -> None:
        troubles.append(f"a dialog: {dialog.message}")
        dialog.dismiss()

    opened.on("dialog", noted)
    yield opened
    assert troubles == []
    here.leave()


def markup_on(page: Page, path: str) -> list[str]:
    """What of a page is there because of a text, as the browser sees it."""
    page.goto(path)
    found: list[str] = page.evaluate(_FOUND)
    return [f"{path}: {one}" for one in found]


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_is_no_markup_wherever_it_is_stored(
    page: Page, stored: tuple[Desked, dict[str, Told]], name: str
) -> None:
    """On the pages about it."""
    told = stored[1][name]
    assert [one for path in ABOUT_ONE for one in markup_on(page, paths(path, told))] == []


def test_all_of_them_together_are_no_markup(page: Page, stored: tuple[Desked, dict[str, Told]]) -> None:
    """On the lists, the front page, and what operators see."""
    number = stored[0].browser("owner").get("/api/v1/configuration").json()["number"]
    addresses = [
        path.format(part=part, number=number) for path in OF_ALL for part in (PARTS if "{part}" in path else ("",))
    ]
    assert [one for path in addresses for one in markup_on(page, path)] == []


def test_the_browser_would_find_it(page: Page) -> None:
    """What is planted is found: each kind."""
    page.goto("/")
    for planted in ("<zqx-a></zqx-a>", '<p zqx="1"></p>', '<a href="javascript:zqx()">x</a>', "<iframe></iframe>"):
        page.evaluate("(planted) => { document.querySelector('main').innerHTML = planted }", planted)
        assert page.evaluate(_FOUND) != [], planted
