"""What is wrong with a page that anybody could see: for people who cannot see well, on the console, cut or out of the window."""

from __future__ import annotations

from functools import cache
from typing import Any

from playwright.sync_api import Page

from tests.browser.install import MODULES

_AXE = """async () => {
  // Where a page may run no scripts no timer ends, and axe waits for one of no length: it gets it without the timer.
  const timer = window.setTimeout;
  window.setTimeout = (then, ms, ...rest) => ms > 0 ? timer(then, ms, ...rest) : Promise.resolve().then(() => then(...rest)) && 0;
  try {
    const {violations} = await axe.run(document, {resultTypes: ["violations"]});
    return violations
      .filter(({impact}) => impact === "serious" || impact === "critical")
      .map(({id, help, nodes}) => `${id}: ${help}: ${nodes.slice(0, 5).map((one) => one.html.slice(0, 200)).join(" | ")}`);
  } finally {
    window.setTimeout = timer;
  }
}"""

_CUT = """() => {
  const found = [];
  const width = document.documentElement.clientWidth;
  const shown = (e) => {
    const text = (e.textContent || "").trim().replace(/\\s+/g, " ").slice(0, 60);
    return `<${e.tagName.toLowerCase()} class="${e.getAttribute("class") || ""}"> ${text}`;
  };
  const scrolls = (e) => e && (["auto", "scroll"].includes(getComputedStyle(e).overflowX) || scrolls(e.parentElement));
  const hides = (style) => ["hidden", "clip"].includes(style);
  if (document.documentElement.scrollWidth > innerWidth)
    found.push(`the page is ${document.documentElement.scrollWidth} px wide, the window ${innerWidth}`);
  for (const e of document.querySelectorAll("html, body, body *")) {
    const box = e.getBoundingClientRect();
    const forReadersOnly = (box.width <= 1 && box.height <= 1) || box.right <= 0;
    if (!e.checkVisibility({visibilityProperty: true}) || forReadersOnly) continue;
    if (e instanceof SVGElement) {
      const picture = e.ownerSVGElement && e.ownerSVGElement.getBoundingClientRect();
      if (e.tagName === "text" && picture && (box.left < picture.left - 1 || box.right > picture.right + 1
          || box.top < picture.top - 1 || box.bottom > picture.bottom + 1)) found.push(`out of its picture: ${shown(e)}`);
      continue;
    }
    const style = getComputedStyle(e);
    if (["INPUT", "SELECT", "TEXTAREA"].includes(e.tagName)) continue;
    if ((hides(style.overflowX) && e.scrollWidth > e.clientWidth + 1)
        || (hides(style.overflowY) && e.scrollHeight > e.clientHeight + 1)) found.push(`cut: ${shown(e)}`);
    if ((box.left < -1 || box.right > width + 1) && !scrolls(e.parentElement)) found.push(`out of the window: ${shown(e)}`);
  }
  return found;
}"""


@cache
def _axe() -> str:
    return (MODULES / "axe-core" / "axe.min.js").read_text("utf-8")


def wrong(page: Page) -> list[str]:
    """What axe-core calls serious or critical, what is wider than the window, and what is cut off."""
    page.evaluate(_axe())
    accessible: list[Any] = page.evaluate(_AXE)
    cut: list[Any] = page.evaluate(_CUT)
    return [str(one) for one in accessible + cut]
