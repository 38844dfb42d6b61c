"""Every command that a document shows is run as it is written, or the document says that it is not, and why.

Commands stand in blocks marked ``sh``. What a reader fills in (``g-…``) is filled in here. A command that starts with words that
are listed under "Not rehearsed" is not run; ``make`` targets are run by what is named here. Each document has a deployment of its
own, in which its commands run from the top.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from alibabacloud_expressconnectrouter20230901 import models as ecr_models
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from examples.keys import CONFIGURATION, key
from tests.configured import CONFIG_KEYS_TEXT, DEPLOYMENT, public
from tests.functional.deployment import OPERATOR, Deployment, deployment
from tests.functional.launch import clean_environment, typed_here
from tests.functional.waiting import PATIENCE
from tests.functional.world import HUB, HUB_ECR, REGION, ROOT, Spoke, Stage

SIGNERS = f"{CONFIG_KEYS_TEXT},{CONFIGURATION}:{public(key(CONFIGURATION))}"
"""Who may sign a configuration: whoever configures the tests, and the key of the examples."""
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *(ROOT / "docs").glob("*.md")])
_OF_A_SHELL = "|&;<>$`*?~(){}"
"""A line with one of these means more than its words."""
PROGRAMS = ("make", "ecr-grants", "python", "git", "s", "aliyun", "export", "curl")
"""With which words a line of a document is a command, wherever it stands."""

_COMMAND = re.compile(rf"\s+(\.venv/bin/)?({'|'.join(PROGRAMS)}) \S|\s+[A-Z_]+=\S+ \S")

MADE_BY = {
    "demo": ("tests/functional/test_demo.py", '"demo"'),
    "up": ("tests/functional/test_demo.py", '"--stay"'),
    "check": (".ci/run", "make check"),
    "test": (".ci/run", "make test"),
    "setup": ("Makefile", "check: setup"),
    "package": ("tests/deploy/test_package.py", "deploy.package"),
}
"""Targets that something else runs: in which file, and the words by which it does."""


@dataclass(frozen=True)
class Command:
    """One command of a document. ``line``: where it stands. ``code``: its exit code, as the comment beside it says."""

    document: str
    line: int
    text: str
    code: int


def commands(path: Path) -> Iterator[Command]:
    """What stands in a document's blocks marked ``sh``, a command each; comments and continued lines taken together."""
    inside, text, began = False, "", 0
    for number, written in enumerate(path.read_text("utf-8").splitlines(), 1):
        line = written.strip()
        if line.startswith("```"):
            inside = not inside and line == "```sh"
            continue
        if not inside:
            continue
        began = began if text else number
        text += line.removesuffix("\\")
        if line.endswith("\\"):
            continue
        bare, _, comment = re.sub(r"(^|\s)#", "\0", text, count=1).partition("\0")
        text = ""
        if bare.strip():
            code = re.search(r"exit code (\d+)", comment)
            yield Command(path.name, began, bare.strip(), int(code[1]) if code else 0)


def not_rehearsed(path: Path) -> list[str]:
    """The first words of the commands that a document says are not run."""
    _, _, rest = path.read_text("utf-8").partition("\n## Not rehearsed\n")
    return re.findall(r"^- `([^`]+)`(?=.*\S)", rest, re.MULTILINE)


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


MADE = [one for path in DOCUMENTS for one in commands(path) if one.text.startswith("make ")]
ELSEWHERE = {"desk.md": "test_desk_commands.py"}
"""Documents whose commands need more than a deployment and an operator: which file runs them."""
RUN = [
    path
    for path in DOCUMENTS
    if path.name not in ELSEWHERE and any(not one.text.startswith("make ") for one in commands(path))
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What a clone looks like, in which commands may leave files."""
    here = tmp_path / "clone"
    here.mkdir()
    for one in ROOT.iterdir():
        if one.name not in (".git", ".local", ".venv"):
            (here / one.name).symlink_to(one)
    return here


@dataclass
class Place:
    """A deployment with the accounts of the examples, whose heads are signed, and an account of somebody's own."""

    cloud: Deployment
    spoke: Spoke
    public: str

    def typed(self, text: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
        """A command as the operator types it, everything set; a line that needs a shell, or starts another program, in one."""
        environment = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "ADDRESS": self.cloud.url,
            "LEDGER_URL": self.cloud.ledger_url,
            "CONFIG_KEYS": SIGNERS,
            "DEPLOYMENT": DEPLOYMENT,
            "MNS_ENDPOINT": self.cloud.url,
            "FC_ENDPOINT": self.cloud.url,
            "ALIBABA_CLOUD_ACCESS_KEY_ID": OPERATOR.id,
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": OPERATOR.secret,
        }
        words = shlex.split(text)
        if words[0] == "ecr-grants" and not set(text) & set(_OF_A_SHELL):
            with contextlib.chdir(folder):
                return typed_here(*words[1:], **environment)
        return subprocess.run(
            ["bash", "-c", text],  # as a person types it
            cwd=folder,
            env=clean_environment(**environment),
            capture_output=True,
            text=True,
            timeout=3 * PATIENCE,
            check=False,
        )

    def filled(self) -> dict[str, str]:
        """What a reader fills in: a grant, which is up, and its ECR; one that somebody made past us; what is dead; the key."""
        document = json.loads((ROOT / "examples" / "approval-vpc.json").read_text("utf-8"))
        answer = self.cloud.settled(document)
        assert answer["event"] == "done"
        self.cloud.send("no approval at all", queue="ecr-approvals-dead")
        (dead,) = json.loads(self.typed("ecr-grants dead list --json").stdout)
        shown = json.loads(self.typed(f"ecr-grants show {answer['grant']['grant_id']} --json").stdout)
        admitted = next(one["id"] for one in shown["history"] if one["event"] == "admitted")
        (version,) = json.loads(self.typed("ecr-grants config history --json").stdout)
        return {
            "explain EVENT": f"explain {admitted}",
            "--previous …": f"--previous {version['digest']}",
            # The folder is the example's, and a key that the deployment knows signs it.
            "config init config": "config init config && cp examples/config/*.yaml config/",
            "--key operator-1.pem --kid operator-1": f"--key <(python -m examples.keys {CONFIGURATION}) --kid {CONFIGURATION}",
            "adopt g-…": f"adopt {self._somebody_elses()}",
            "g-…": answer["grant"]["grant_id"],
            "ecr-…": document["ecr"]["id"],
            "show NAME": f"show {dead['name']}",
            "--key …": f"--key {self.public}",
            # Whoever is onboarded is not listed yet.
            "onboard --account 2000000000000002 --hub": "onboard --account 2000000000000003 --hub",
        }

    def _somebody_elses(self) -> str:
        """A grant that an administrator made, as the timer finds it."""
        request = ecr_models.GrantInstanceToExpressConnectRouterRequest(
            ecr_id=HUB_ECR,
            ecr_owner_ali_uid=int(HUB),
            instance_id=next(self.spoke.vpcs),
            instance_type="VPC",
            instance_region_id=REGION,
        )
        self.cloud.ecr(self.spoke.admin).grant_instance_to_express_connect_router(request)
        self.cloud.reconcile()
        listed = json.loads(self.typed("ecr-grants grants --json").stdout)
        return next(str(one["grant_id"]) for one in listed if one["drift"])

    def heads(self) -> str:
        """The lines of the log that auditors keep."""
        return "\n".join(line for line in self.cloud.said() if '"ledger.head"' in line)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """Each document has its own."""
    stage, made_key = Stage(), Ed25519PrivateKey.generate()
    spoke = stage.new_spoke()
    secret, public = (
        base64.b64encode(raw).decode()
        for raw in (made_key.private_bytes_raw(), made_key.public_key().public_bytes_raw())
    )
    with deployment(stage, tmp_path, settings={"HEAD_KEY": secret, "CONFIG_KEYS": SIGNERS}) as made:
        yield Place(made, spoke, public)


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


@pytest.mark.parametrize(("document", "file"), ELSEWHERE.items())
def test_what_is_run_elsewhere_is(document: str, file: str) -> None:
    """By a test that reads the document."""
    assert f'"{document}"' in Path(__file__).with_name(file).read_text("utf-8")


@pytest.mark.parametrize("path", RUN, ids=_name)
def test_commands_do_what_the_document_says(path: Path, place: Place, folder: Path) -> None:
    """As an operator would type them, in order."""
    filled = place.filled()
    left_out = tuple(not_rehearsed(path))
    for one in commands(path):
        if one.text.startswith(("make ", "export ", "cd ", *left_out)):
            continue
        text = one.text
        for written, meant in filled.items():
            text = text.replace(written, meant)
        if "--heads" in text:
            (folder / "heads.jsonl").write_text(place.heads(), "utf-8")
        assert "…" not in text, f"{one.document}:{one.line}: what is to be filled in? {one.text}"
        done = place.typed(text, folder)
        assert done.returncode == one.code, f"{one.document}:{one.line}: {one.text}\n{done.stdout}\n{done.stderr}"
