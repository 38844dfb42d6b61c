"""The documents: every command of ours in them exists and takes what is written, and every link leads somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from cli.main import app

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "localcloud" / "README.md"])
COMMAND: Any = typer.main.get_command(app)


def commands(text: str) -> list[str]:
    """Every `ecr-grants …` with words behind it: in a line of its own, or in a sentence."""
    found = re.findall(r"^ *ecr-grants ([^#\n]+)", text, re.MULTILINE) + re.findall(r"`ecr-grants ([^`]+)`", text)
    return [one.strip() for one in found if one.strip() not in ("", "…")]


def refused(words: str) -> str:
    """Why the command line cannot be used; empty where it can. Nothing is run. What is left out may be anything."""
    args = shlex.split(words.replace(" …", " any").replace("-…", "-any"))
    part, name = COMMAND, "ecr-grants"
    while args and hasattr(part, "commands"):
        if args[0] not in part.commands:
            return "" if part is COMMAND and args[0] == "--version" else f"there is no {args[0]}"
        name = args.pop(0)
        part = part.commands[name]
    try:
        with part.make_context(name, list(args), resilient_parsing=not args):  # in a sentence it is often only named
            return ""
    except typer.Exit:
        return ""
    except Exception as error:  # noqa: BLE001  # every kind of refusal is one
        return f"{type(error).__name__}: {error}"


@pytest.fixture(autouse=True)
def ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    """What every command wants and no document repeats."""
    monkeypatch.setenv("LEDGER_URL", "sqlite:///nowhere.db")
    monkeypatch.setenv("DESK_ADDRESS", "https://grants.example.com")
    monkeypatch.setenv("FC_ENDPOINT", "https://1.cn-hangzhou.fc.aliyuncs.com")


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_can_be_typed(path: Path) -> None:
    """It is there, with these options and as many words."""
    if path.name == "CHANGELOG.md":
        return  # it tells what was, too
    faults = {words: refused(words) for words in commands(path.read_text("utf-8"))}
    assert {words: fault for words, fault in faults.items() if fault} == {}


@pytest.mark.parametrize(
    "words", ["freeze ecr-1", "hold ecr ecr-1 --why x", "mode sideways", "dead reedrive g-1", "show"], ids=str
)
def test_a_command_that_cannot_be_typed_is_found(words: str) -> None:
    """A word, an option, a value or a subcommand that is not there; one that is only named is no fault."""
    assert bool(refused(words)) is (words != "show")


def anchors(text: str) -> set[str]:
    """What can be linked to in a document, as repository hosts make it of headings."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    }


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(path: Path) -> None:
    """To a file of the project, and to a heading in it."""
    broken = []
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", path.read_text("utf-8")):
        file, _, anchor = target.partition("#")
        there = path if not file else (path.parent / file).resolve()
        if not there.exists() or (anchor and anchor not in anchors(there.read_text("utf-8"))):
            broken.append(target)
    assert broken == []
