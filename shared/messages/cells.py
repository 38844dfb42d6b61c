"""Texts as people read them, in a terminal or a spreadsheet: what came from outside is one line that shows all of itself."""

from __future__ import annotations

import unicodedata

# Control, format (bidi and zero-width among them), lone surrogates, private use, unassigned; line and paragraph separators.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# Letters and marks that show nothing, though Unicode counts them as letters and marks: fillers, joiners, variation selectors.
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0") | {
    chr(number) for number in (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))
}
_FORMULA = ("=", "+", "-", "@")


def safe(text: object) -> str:
    """A text as one line that shows everything in it: what a terminal obeys or hides stands there as ``\\x1b``, ``\\u202e``."""
    return "".join(_escaped(letter) if _hides(letter) else letter for letter in str(text))


def _hides(letter: str) -> bool:
    if letter.isascii():
        return not letter.isprintable()
    blank = unicodedata.category(letter) == "Zs" and letter != "\u3000"  # no-break blanks look like others
    return unicodedata.category(letter) in _UNSEEN or letter in _BLANK or blank


def _escaped(letter: str) -> str:
    return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(letter) or ascii(letter)[1:-1]


def cell(value: object) -> str:
    """A value in a table of comma-separated ones. None becomes a formula, whatever somebody wrote into it."""
    text = "" if value is None else str(value).lower() if isinstance(value, bool) else safe(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
