"""A text that somebody looks for, as how an id begins: by an index of each database."""

from __future__ import annotations

import re
from typing import Any

import sqlalchemy as sql

from shared.errors import BadInput

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@+-]{2,127}")


def looks_like_an_id(text: str) -> bool:
    """Whether an id can begin so: with a sign that only a database would understand none does."""
    return _ID.fullmatch(text) is not None


def sought(text: str) -> dict[str, Any]:
    """The parameters of ``begins``, and ``text`` itself. Raises BadInput for what no id begins with."""
    if not looks_like_an_id(text):
        raise BadInput("text: must be how an id or a prefix begins: 3 to 128 letters, digits or . _ : @ + -, or 10.20.")
    return {"text": text, "like": text.replace("_", r"\_") + "%", "beyond": text + "\x7f"}


def begins(column: sql.ColumnElement[str], dialect: str) -> sql.ColumnElement[bool]:
    """Whether a text begins with that, as each database answers it by an index."""
    text: sql.BindParameter[Any] = sql.bindparam("text")
    if dialect == "postgresql":
        return column.like(sql.bindparam("like"))
    return sql.and_(column >= text, column < sql.bindparam("beyond"))
