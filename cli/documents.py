"""What is generated from the code: the messages' JSON Schemas, and the catalogue of codes, which is also looked up here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.common import AsJson, NotSo, troubles
from cli.output import document, say, texts
from shared.errors import SettingsError
from shared.messages import catalogue
from shared.messages.envelope import message_schemas

_TABLE = Path("docs/errors.md")


def schemas(
    folder: Annotated[Path, typer.Option(help="Where they are written.")] = Path("docs/schemas"),
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit code 1 when a file is not current.")
    ] = False,
) -> None:
    """Write the JSON Schemas of the messages that leave and enter."""
    with troubles():
        stale = []
        for name, text in message_schemas().items():
            path = folder / name
            if not check:
                _write(path, text)
            elif _read(path) != text:
                stale.append(str(path))
        if stale:
            raise NotSo(f"not current: {', '.join(stale)}; run `make documents`")


def errors(
    code: Annotated[
        str | None, typer.Argument(help="A code, as a completion, a list or a log line shows it; without one, all.")
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="Write the whole catalogue to docs/errors.md.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Exit code 1 when docs/errors.md is not current.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say what a code means, who must act, and what happens next."""
    with troubles():
        if write:
            _write(_TABLE, catalogue.table())
        elif check:
            if _read(_TABLE) != catalogue.table():
                raise NotSo(f"not current: {_TABLE}; run `make documents`")
        elif code is None:
            texts(catalogue.table())
        else:
            _explain(code, as_json=as_json)


def _explain(code: str, *, as_json: bool) -> None:
    """One code: of an error, of a reason that is none, or nobody's."""
    entry, note = catalogue.find(code), catalogue.note(code)
    if entry is not None:
        passing: bool | None = entry.may_pass
        what, told = entry.next, f"{'may pass' if entry.may_pass else 'does not pass'} by itself; "
    elif note is not None:
        passing, what, told = None, note.next, ""
    else:
        treated = " ".join(catalogue.UNKNOWN.split())
        if as_json:
            document({"code": code, "known": False, "treated": treated})
        raise NotSo(f"{code}: unknown here. {treated}")
    found = entry or note
    assert found is not None  # noqa: S101  # one of the two, for the type checker
    if as_json:
        facts = {"code": code, "known": True, "meaning": found.en, "meaning_zh": found.zh}
        document(facts | {"who must act": found.who, "may_pass": passing, "next": what})
        return
    say(f"{code}: {found.en}")
    say(found.zh)
    say(f"who must act: {found.who}; {told}next: {what}")


def _read(path: Path) -> str | None:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    except OSError as error:
        raise SettingsError(f"{path}: cannot be written ({error.strerror})") from None
