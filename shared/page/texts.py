"""What the page says, in the language of whoever looks. English is written where it is used, and is the key of the others.

What is stored (reasons, names, what a check found) is shown as it was said, in whatever language that was.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

from markupsafe import Markup

from shared.page.naming import LABELS

_FOLDER = Path(__file__).parent / "zh"


class Language(StrEnum):
    """A language that the page speaks."""

    EN = "en"
    ZH = "zh"


class Texts:
    """The page's texts in one language. Called with an English text and what is put into it; that is escaped."""

    def __init__(self, language: Language) -> None:
        self.language = language
        self._told: Mapping[str, str] = chinese() if language is Language.ZH else {}

    def __call__(self, text: str, **values: Any) -> Markup:
        """The text; `{name}` in it stands for a value."""
        return Markup(self._told.get(text, text)).format(**values)  # noqa: S704  # the texts are ours, the values are escaped

    def count(self, number: int, one: str, many: str, **values: Any) -> Markup:
        """`one` for exactly one, else `many`, where `{n}` is the number. Chinese has one form, that of `many`."""
        single = number == 1 and self.language is Language.EN
        return self(one if single else many, n=number, **values)

    def label(self, kind: str, word: object) -> Markup:
        """What a word of this kind is called (``LABELS``); one that is not listed is shown as it is."""
        name = LABELS[kind].get(str(word))
        return Markup.escape(str(word)) if name is None else self(name)


@cache
def chinese() -> Mapping[str, str]:
    """Every English text of the page that has a Chinese one."""
    found: dict[str, str] = {}
    for file in sorted(_FOLDER.glob("*.toml")):
        found |= tomllib.loads(file.read_text("utf-8"))
    return found


def language_of(said: str, accepted: str) -> Language:
    """What somebody chose (``said``), else the first of ours that their browser accepts (RFC 9110 section 12.5.4)."""
    if said in tuple(Language):
        return Language(said)
    for one in accepted.split(","):
        name = one.partition(";")[0].strip().lower().partition("-")[0]
        if name in tuple(Language):
            return Language(name)
    return Language.EN
