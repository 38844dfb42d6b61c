"""The browser as a judge: what it has to see it sees, in every script that people here write."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.browser.browsing import Visitors
from tests.browser.calm import wrong
from tests.functional.world import ROOT

PageOf = Callable[..., Page]
Calm = Callable[[Page], None]
POLICY = {
    "Content-Security-Policy": "default-src 'self'; style-src 'unsafe-inline'",
    "Content-Type": "text/html; charset=utf-8",
}
WHOLE = '<!doctype html><html lang="en"><title>Planted</title><main><h1>Planted</h1>{}</main></html>'


def planted(page: Page, body: str) -> None:
    """Show this as a page of the desk."""
    page.route("**/planted", lambda route: route.fulfill(body=WHOLE.format(body), headers=POLICY))
    page.goto("/planted")


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ('<p style="color: #ccc; background: #fff">Pale</p>', "color-contrast"),
        ("<input>", "label: "),
        ("<script>1</script>", "Content Security Policy"),
        ('<img src="/no-such-file" alt="Nothing">', "404"),
        ('<img src="http://192.0.2.1/" alt="Elsewhere">', "Content Security Policy|asked elsewhere"),
        ('<p style="width: 2000px">Wide</p>', "the page is 20|out of the window: <p"),
        ('<p style="width: 3em; overflow: hidden; white-space: nowrap">Much too long</p>', "cut: <p"),
        ('<p style="height: 1em; line-height: 1em; width: 4em; overflow: hidden">Much too long</p>', "cut: <p"),
        ('<p style="position: absolute; left: -20px; margin: 0">Out at the left</p>', "out of the window: <p"),
        ('<svg width="50" height="20"><text x="0" y="15">Much too long</text></svg>', "out of its picture: <text"),
    ],
)
def test_what_is_wrong_is_found(page_of: PageOf, visitors: Visitors, body: str, found: str) -> None:
    """Each fault by itself, and nothing beside it."""
    page = page_of()
    planted(page, body)
    seen = wrong(page) + visitors.troubles[page]
    assert seen != []
    assert all(re.search(found, one) for one in seen), seen


def test_a_page_without_scripts_is_judged_too(page_of: PageOf) -> None:
    """By the same judge."""
    page = page_of(javascript=False)
    planted(page, '<p style="color: #ccc">Pale</p><noscript><p style="width: 2000px">Wide</p></noscript>')
    assert [one.partition(" ")[0] for one in wrong(page)] == ["color-contrast:", "the", "out"]


def test_what_is_right_is_calm(page_of: PageOf, calm: Calm) -> None:
    """A table that scrolls in its own box, a text for readers only, a page that is not there."""
    page = page_of(width=360)
    scrolling = '<div style="overflow-x: auto" tabindex="0"><p style="width: 2000px">Wide</p></div>'
    hidden = '<p style="position: absolute; width: 1px; height: 1px; overflow: hidden">For readers only</p>'
    planted(page, scrolling + hidden)
    calm(page)
    answer = page.goto("/nothing-is-here")
    assert answer is not None
    assert answer.status == 404
    calm(page)


def test_a_page_gets_nothing_from_elsewhere(page_of: PageOf, visitors: Visitors) -> None:
    """Where its own policy would not stop it, its address is found by nobody, and it was seen to ask."""
    page = page_of()
    page.set_content(WHOLE.format('<img src="https://www.example.com/a.png" alt="Elsewhere">'), wait_until="load")
    assert "asked elsewhere: https://www.example.com/a.png" in visitors.troubles[page]
    assert any("ERR_NAME_NOT_RESOLVED" in one for one in visitors.troubles[page])


@pytest.mark.parametrize(
    ("text", "style", "font"),
    [
        ("Express Connect Router", "", "Open Sans"),
        ("专线网关授权：允许的网段", "", "Noto Sans S Chinese"),
        ("لأن الخط معطل", "", "DejaVu Sans"),
        ("10.20.0.0/16", "font-family: monospace", "DejaVu Sans Mono"),
    ],
)
def test_every_script_has_glyphs(page_of: PageOf, text: str, style: str, font: str) -> None:
    """So that pictures show what people would see, and widths are those of real letters."""
    page = page_of()
    page.set_content(f'<p style="{style}">{text}</p>')
    tools = page.context.new_cdp_session(page)
    tools.send("DOM.enable")
    tools.send("CSS.enable")
    root = tools.send("DOM.getDocument")["root"]["nodeId"]
    node = tools.send("DOM.querySelector", {"nodeId": root, "selector": "p"})["nodeId"]
    fonts = tools.send("CSS.getPlatformFontsForNode", {"nodeId": node})["fonts"]
    assert fonts[0]["familyName"].startswith(font)
    assert {one["isCustomFont"] for one in fonts} == {False}


def test_htmx_is_as_its_makers_published_it(packages: Path) -> None:
    """Byte for byte, of the version that the lock names."""
    published = (packages / "htmx.org" / "dist" / "htmx.min.js").read_bytes()
    assert (ROOT / "shared" / "page" / "static" / "htmx.min.js").read_bytes() == published
