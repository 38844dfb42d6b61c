"""Every command that a document shows is run as it is written, or the document says that it is not, and why.

Commands stand in blocks marked ``sh``. What a reader fills in (``g-…``) is filled in here. A command that starts with words that
are listed under "Not rehearsed" is not run; ``make`` targets are run by what is named here. Each document has a deployment of its
own, in which its commands run from the top.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.functional.deployment import OPERATOR, Deployment, deployment
from tests.functional.launch import clean_environment
from tests.functional.waiting import PATIENCE
from tests.functional.world import ROOT, Stage

DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *(ROOT / "docs").glob("*.md")])
PROGRAMS = ("make", "ecr-grants", "python", "git", "s", "aliyun", "export", "curl")
"""With which words a line of a document is a command, wherever it stands."""

_COMMAND = re.compile(rf"\s+(\.venv/bin/)?({'|'.join(PROGRAMS)}) \S|\s+[A-Z_]+=\S+ \S")

MADE_BY = {
    "demo": ("tests/functional/test_demo.py", '"demo"'),
    "up": ("tests/functional/test_demo.py", '"--stay"'),
    "check": (".ci/run", "make check"),
    "test": (".ci/run", "make test"),
}
"""Targets that something else runs: in which file, and the words by which it does."""


@dataclass(frozen=True)
class Command:
    """One command of a document. ``line``: where it stands."""

    document: str
    line: int
    text: str


def commands(path: Path) -> Iterator[Command]:
    """What stands in a document's blocks marked ``sh``, a command each; comments and continued lines taken together."""
    inside, text, began = False, "", 0
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if line.startswith("```"):
            inside = not inside and line == "```sh"
            continue
        if not inside:
            continue
        began = began if text else number
        text += line.removesuffix("\\")
        if line.endswith("\\"):
            continue
        bare = re.sub(r"(^|\s)#.*", "", text).strip()
        text = ""
        if bare:
            yield Command(path.name, began, bare)


def not_rehearsed(path: Path) -> list[str]:
    """The first words of the commands that a document says are not run."""
    _, _, rest = path.read_text("utf-8").partition("\n## Not rehearsed\n")
    return re.findall(r"^- `([^`]+)`: \S", rest, re.MULTILINE)


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


MADE = [one for path in DOCUMENTS for one in commands(path) if one.text.startswith("make ")]
RUN = [path for path in DOCUMENTS if any(not one.text.startswith("make ") for one in commands(path))]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What a clone looks like, in which commands may leave files."""
    here = tmp_path / "clone"
    here.mkdir()
    for one in ROOT.iterdir():
        if one.name not in (".git", ".local", ".venv"):
            (here / one.name).symlink_to(one)
    return here


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Deployment]:
    """A deployment with the accounts of the examples, and one thing of each kind that documents speak of."""
    with deployment(Stage(), tmp_path) as made:
        yield made


def test_every_command_stands_in_a_block_that_is_run() -> None:
    """A command that stands elsewhere would be missed."""
    missed = []
    for path in DOCUMENTS:
        rest = re.sub(r"```sh\n.*?```", _blank, path.read_text("utf-8"), flags=re.DOTALL)
        for number, line in enumerate(rest.splitlines(), 1):
            if _COMMAND.match(line):
                missed.append(f"{_name(path)}:{number}: {line.strip()}")
    assert missed == []


def _blank(block: re.Match[str]) -> str:
    return "\n" * block[0].count("\n")


@pytest.mark.parametrize("one", MADE, ids=lambda one: f"{one.document}:{one.line}")
def test_targets_are_run_by_somebody(one: Command) -> None:
    """They are there, and the file that runs them says so."""
    path = next(path for path in DOCUMENTS if path.name == one.document)
    if one.text.startswith(tuple(not_rehearsed(path))):
        return
    target = one.text.split()[1]
    assert re.search(rf"^{target}:.*##", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE), f"no target {target}"
    file, words = MADE_BY[target]
    assert words in (ROOT / file).read_text("utf-8")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("path", RUN, ids=_name)
def test_commands_do_what_the_document_says(path: Path, cloud: Deployment, folder: Path) -> None:
    """As an operator would type them, in order."""
    filled = _filled(cloud)
    environment = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "ADDRESS": cloud.url,
        "LEDGER_URL": cloud.ledger_url,
        "ACCOUNTS_FILE": str(cloud.accounts_file),
        "MNS_ENDPOINT": cloud.url,
        "FC_ENDPOINT": cloud.url,
        "ALIBABA_CLOUD_ACCESS_KEY_ID": OPERATOR.id,
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": OPERATOR.secret,
    }
    left_out = tuple(not_rehearsed(path))
    for one in commands(path):
        if one.text.startswith(("make ", "export ", "cd ", *left_out)):
            continue
        text = one.text
        for written, meant in filled.items():
            text = text.replace(written, meant)
        assert "…" not in text, f"{one.document}:{one.line}: what is to be filled in? {one.text}"
        done = subprocess.run(
            ["bash", "-c", text],  # as a person types it
            cwd=folder,
            env=clean_environment(**environment),
            capture_output=True,
            text=True,
            timeout=3 * PATIENCE,
            check=False,
        )
        assert done.returncode == 0, f"{one.document}:{one.line}: {one.text}\n{done.stdout}\n{done.stderr}"


def _filled(cloud: Deployment) -> dict[str, str]:
    """What a reader fills in: a grant, which is up, and its ECR."""
    document = json.loads((ROOT / "examples" / "approval-vpc.json").read_text("utf-8"))
    answer = cloud.settled(document)
    assert answer["event"] == "done"
    return {"g-…": answer["grant"]["grant_id"], "ecr-…": document["ecr"]["id"]}
