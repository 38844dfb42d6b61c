"""The page's texts: said in both languages, and nothing said that nobody reads."""

from __future__ import annotations

import ast
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from jinja2 import Environment, nodes
from markupsafe import Markup

import shared.page
from shared.page.naming import LABELS
from shared.page.texts import Language, Texts, chinese, language_of

_PAGE = Path(shared.page.__file__).parent
_FIELD = re.compile(r"\{(\w+)[:,]*\}")


def _in_templates() -> Iterator[tuple[str, str]]:
    """(text, where) of every text in a template; a call whose text is not written out is a fault."""
    for file in sorted((_PAGE / "templates").rglob("*.html")):
        for call in Environment(autoescape=True).parse(file.read_text("utf-8")).find_all(nodes.Call):
            said = call.node
            if isinstance(said, nodes.Name) and said.name == "t":
                texts = call.args[:1]
            elif isinstance(said, nodes.Getattr) and said.attr == "count" and getattr(said.node, "name", "") == "t":
                texts = call.args[1:3]
            else:
                continue
            for one in texts:
                assert isinstance(one, nodes.Const), f"{file.name}:{call.lineno}: the text must be written out"
                yield one.value, f"{file.name}:{call.lineno}"


def _in_modules() -> Iterator[tuple[str, str]]:
    """The same of the page's modules: what a call of ``t`` or ``….t``, or its ``count``, is given."""
    for file in sorted(_PAGE.glob("*.py")):
        for call in ast.walk(ast.parse(file.read_text("utf-8"))):
            if not isinstance(call, ast.Call):
                continue
            name = ast.unparse(call.func)
            if re.fullmatch(r"(\w+\.)*t", name):
                texts = call.args[:1]
            elif re.fullmatch(r"(\w+\.)*t\.count", name):
                texts = call.args[1:3]
            else:
                continue
            for one in texts:
                if isinstance(one, ast.Constant):
                    yield str(one.value), f"{file.name}:{call.lineno}"


def _said() -> dict[str, str]:
    labels = ((name, "naming.py") for words in LABELS.values() for name in words.values())
    return dict([*_in_templates(), *_in_modules(), *labels])


SAID = _said()


def test_every_text_is_said_in_chinese_too() -> None:
    """And where it is not, the test says which."""
    singles = {text for text in SAID if text.startswith("1 ")}  # Chinese has one form
    assert {text: where for text, where in SAID.items() if text not in chinese() and text not in singles} == {}


def test_nothing_is_translated_that_is_not_said() -> None:
    """What is left of a text that went, goes too."""
    assert set(chinese()) - set(SAID) == set()


def test_no_text_is_translated_twice() -> None:
    """The later one would win, and nobody would know."""
    found = Counter(
        text for file in sorted((_PAGE / "zh").glob("*.toml")) for text in tomllib.loads(file.read_text("utf-8"))
    )
    assert [text for text, times in found.items() if times > 1] == []


def test_both_languages_put_the_same_things_in() -> None:
    """A value that one of them leaves out is lost to whoever reads that one."""
    put = {text: (set(_FIELD.findall(text)), set(_FIELD.findall(told))) for text, told in chinese().items()}
    assert {text: both for text, both in put.items() if both[0] != both[1]} == {}


def test_what_is_put_into_a_text_is_text() -> None:
    """Whatever it is."""
    t = Texts(Language.EN)
    assert t("now {what}", what="<b>&{x}</b>") == Markup("now &lt;b&gt;&amp;{x}&lt;/b&gt;")


@pytest.mark.parametrize(
    ("said", "accepted", "expected"),
    [
        ("zh", "en", Language.ZH),
        ("", "zh-CN,zh;q=0.9,en;q=0.8", Language.ZH),
        ("", "de-DE,de;q=0.9,zh-TW;q=0.5", Language.ZH),
        ("", "fr", Language.EN),
        ("", "", Language.EN),
        ("klingon", "en-GB", Language.EN),
    ],
)
def test_the_language_is_what_somebody_chose_or_their_browser_accepts(
    said: str, accepted: str, expected: Language
) -> None:
    """English where neither says one of ours."""
    assert language_of(said, accepted) is expected
