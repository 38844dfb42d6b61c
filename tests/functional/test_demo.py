"""The demo and `make up` as people start them: on terminals and in pipes, behind proxies, with Ctrl-C at any moment."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.functional.launch import clean_environment, run, typed
from tests.functional.terminal import Terminal
from tests.functional.waiting import PATIENCE, until
from tests.functional.world import ROOT, SPOKE
from tests.localcloud.processes import alive, descendants

APPROVAL = json.loads((ROOT / "examples" / "approval-vpc.json").read_text("utf-8"))
NOWHERE = "http://127.0.0.1:9"
MAKE = ("make", "--old-file=setup", f"VENV={sys.prefix}")
"""With the interpreter of the tests, which is set up already."""


class Demo:
    """The demo as a process, and everything it ever started."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._output = folder / "output"
        with self._output.open("wb") as sink:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "examples.demo", *options],
                cwd=ROOT,
                env=clean_environment(),
                stdout=sink,
                stderr=sink,
            )
        self.started: set[int] = set()

    @property
    def told(self) -> str:
        """What it has printed so far."""
        return self._output.read_text("utf-8")

    def wait_for(self, text: str) -> None:
        """Return when it has printed this; remember which processes it had until then."""

        def look() -> bool:
            self.started.update(descendants(self._process.pid))
            assert text in self.told or self._process.poll() is None, self.told
            return text in self.told

        until(look, f"the demo has printed {text!r}", 3 * PATIENCE, lambda: time.sleep(0.25))

    def interrupt(self) -> None:
        """Ctrl-C."""
        self._process.send_signal(signal.SIGINT)

    def end(self) -> int:
        """Wait for it to end by itself, and for everything that it started. Returns the exit code."""
        code = self._process.wait(timeout=2 * PATIENCE)
        until(lambda: not [pid for pid in self.started if alive(pid)], "everything the demo started has ended")
        assert len(self.started) >= 4, "the local cloud and a worker for each function"
        return code

    def kill(self) -> None:
        """Leave nothing, whatever happened."""
        if self._process.poll() is None:
            self.interrupt()
            self._process.wait(timeout=PATIENCE)


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Callable[..., Demo]]:
    """Starts a demo; whatever happens, it ends with the test."""
    made: list[Demo] = []

    def start(*options: str) -> Demo:
        made.append(Demo(tmp_path, *options))
        return made[0]

    yield start
    for one in made:
        one.kill()


def test_the_whole_demo_shows_what_is_refused_first(demo: Callable[..., Demo]) -> None:
    """An altered copy, with its code; what the policy forbids, with its advice; then ACTIVE, and the rest of the circle. People
    ask, look, decide for both sides, also many at once and in an emergency; all of it is taken back.
    """
    whole = demo("--batch", "4")
    whole.wait_for("received and admitted")
    whole.wait_for("People now, at the desk")
    whole.wait_for("reviewed it: in order")
    whole.wait_for("taken back")
    assert whole.end() == 0, whole.told
    told = [
        "rejected: the seal is not that of key self-service-1, or was altered",
        "rejected, as it must be: SealForged",
    ]
    told += [
        "rejected: You must have it approved by a known person other than",
        "rejected, as it must be: PolicyForbids",
    ]
    told += ["sealed and sent to the queue", "is ACTIVE.", "OK: granted, associated, ACTIVE; then everything was taken"]
    told += ["instance-exists: ", "it takes a yes for grant and associate"]
    told += [
        "orders-lead said yes for the grant side of all 4",
        "network-lead said yes for the associate side of all 4",
    ]
    told += [
        "All 4 of the batch are ACTIVE.",
        "nobody was asked for the grant side",
        "refused, as it must be: requester",
    ]
    places = [whole.told.find(text) for text in told]
    assert -1 not in places, whole.told
    assert [places[at] for at in (1, 3, 5, 6)] == sorted(places[at] for at in (1, 3, 5, 6))


def test_the_demo_fails_with_the_reason(demo: Callable[..., Demo], tmp_path: Path) -> None:
    """An approval that is refused: exit code 1, and the last line says why; nothing left running."""
    edited = {**APPROVAL, "instance": {**APPROVAL["instance"], "id": "vpc-doesnotexist"}}
    path = tmp_path / "approval.json"
    path.write_text(json.dumps(edited), "utf-8")
    bad = demo("--only", "--approval", str(path), "--seconds", "30")
    bad.wait_for("sealed and sent to the queue ecr-approvals")
    assert bad.end() == 1
    last = bad.told.splitlines()[-1]
    assert last.startswith("FAILED: rejected: ")
    assert f"VPC vpc-doesnotexist not found in account {SPOKE}, region cn-hangzhou" in last


def test_a_demo_file_that_is_not_there_is_told_before_anything_starts(tmp_path: Path) -> None:
    """Exit code 1 and the name of the file."""
    done = run("examples.demo", "--approval", str(tmp_path / "missing.json"))
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].startswith(f"FAILED: cannot read {tmp_path / 'missing.json'}")


# -- on a terminal -----------------------------------------------------------------------------------------------------


def as_asked(folder: Path) -> tuple[Path, str]:
    """A file for the demo as somebody wrote it, and what is told of it."""
    path = folder / "first one.json"
    path.write_text(json.dumps(APPROVAL), "utf-8")
    return path, "sealed and sent"


def as_sealed(folder: Path) -> tuple[Path, str]:
    """A file that is sealed already, by the command that people use, with the example's key."""
    key, path = folder / "key.pem", folder / "sealed one.json"
    key.write_text(run("examples.keys", "self-service-1").stdout, "utf-8")
    made = typed(
        *("seal", "examples/approval-vpc.json", "--key", str(key), "--kid", "self-service-1"),
        *("--audience", "ecr-grants-example", "--output", str(path)),
    )
    assert made.returncode == 0, made.stderr
    return path, "sent"


def checkout(folder: Path) -> Path:
    """All that the demo needs, in a folder with blanks in its name."""
    copy = folder / "a checkout" / "of mine"
    copy.mkdir(parents=True)
    for part in ("cli", "deploy", "examples", "functions", "localcloud", "shared", "requirements"):
        shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("s.yaml", "Makefile", "pyproject.toml"):
        shutil.copy(ROOT / file, copy)
    return copy


@pytest.mark.parametrize(
    ("columns", "proxies", "written", "where"),
    [
        pytest.param(
            60,
            {"HTTP_PROXY": NOWHERE, "HTTPS_PROXY": NOWHERE},
            as_asked,
            checkout,
            id="60 columns, behind a proxy, an approval, from a folder with blanks in its name",
        ),
        pytest.param(
            200,
            {"ALL_PROXY": NOWHERE, "http_proxy": NOWHERE},
            as_sealed,
            lambda _: ROOT,
            id="200 columns, behind another, a file that is sealed and sent as it is",
        ),
    ],
)
def test_the_demo_shows_the_way_legibly_on_a_terminal(
    tmp_path: Path,
    columns: int,
    proxies: dict[str, str],
    written: Callable[[Path], tuple[Path, str]],
    where: Callable[[Path], Path],
) -> None:
    """Every step with its account and API request id, ACTIVE at the end, nothing left. Whatever the terminal's width: every line
    is written whole, once, and the terminal wraps it; no cursor moves. The approval and temporary files lie in folders with a
    blank in their names.
    """
    folder, temporary = tmp_path / "my approvals", tmp_path / "temporary files"
    folder.mkdir()
    temporary.mkdir()
    path, handed_in = written(folder)
    more = {**proxies, "TMPDIR": str(temporary)}
    terminal = Terminal([*MAKE, "demo", f"APPROVAL={path}"], columns, more, where(tmp_path))
    assert terminal.end() == 0, terminal.printed
    assert len(terminal.started) >= 4, "the local cloud and a worker for each function"
    assert list(temporary.iterdir()) == []
    first, *story, active, last = terminal.lines
    assert first == "starting the local cloud and deploying the functions of s.yaml ..."
    assert story[0].endswith(" applied version 1, signed by configuration-1")
    assert f" {path}: {handed_in} to the queue ecr-approvals " in story[2]
    for line in story:
        assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3} (demo|grant|associate|preflight|reconcile|desk) +\S.*", line), line
    assert len([line for line in story if re.search(r"API request [0-9A-F-]{36}\)$", line)]) >= 5
    steps = ["role acs:ram::2000000000000002:role/ecr-grants-spoke assumed", "granted the instance to the ECR"]
    steps += ["read the grants on the VPC", "completion published: granted", "asked for the association"]
    steps += ["under way (UnderWay)", "completion published: associated", "received and admitted"]
    assert [step for step in steps if not any(step in line for line in story)] == []
    assert active == f"The association {active.split()[2]} is ACTIVE."
    assert last == f"OK: granted and associated; association {active.split()[2]} is ACTIVE"


@pytest.mark.parametrize("seconds", [0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 2.5])
def test_ctrl_c_at_any_moment_is_one_line(seconds: float) -> None:
    """While make starts the interpreter, while it imports, while the cloud starts: exit code 130, no traceback, nothing left;
    and whoever presses it twice gets the same."""
    terminal = Terminal([*MAKE, "demo"])
    terminal.read(seconds)
    terminal.interrupt()
    terminal.read(0.05)
    terminal.interrupt()
    assert terminal.end() == 130, terminal.printed
    assert "Traceback" not in terminal.printed
    assert "Error:" not in terminal.printed
    assert len([line for line in terminal.lines if line.startswith("FAILED")]) == 0


@pytest.mark.parametrize("text", ["functions deployed", "received and admitted", "asked for the association"])
def test_ctrl_c_in_the_middle_of_the_story_ends_it(text: str) -> None:
    """With the functions at work: 130, the last words say that nothing is left, and nothing is."""
    terminal = Terminal([*MAKE, "demo"])
    terminal.read(2 * PATIENCE, text)
    terminal.interrupt()
    assert terminal.end() == 130, terminal.printed
    assert len(terminal.started) >= 3
    assert "stopped; nothing is left running" in terminal.printed
    assert "Traceback" not in terminal.printed


@pytest.mark.parametrize("seconds", [0.0, 0.1, 0.5, 1.5])
def test_ctrl_c_during_the_set_up_is_one_line(tmp_path: Path, seconds: float) -> None:
    """Neither venv nor pip shows its traceback; nothing counts as set up; the next set-up starts where it has to."""
    venv = tmp_path / "an environment"
    terminal = Terminal(["make", f"VENV={venv}", f"PYTHON={shlex.quote(sys.executable)}", "demo"])
    terminal.read(2 * PATIENCE, "Setting up")
    terminal.read(seconds)
    terminal.interrupt()
    assert terminal.end() == 130, terminal.printed
    assert "Traceback" not in terminal.printed
    assert not (venv / ".ready").exists()


def test_what_make_up_prints_can_be_typed(demo: Callable[..., Demo]) -> None:
    """Every line of it, copied into a shell as it stands, works; it is printed without a terminal too, and says how that ends:
    with exit code 0 and all that it started.
    """
    kept = demo("--stay")
    kept.wait_for("Ctrl-C ends everything")
    assert "The local cloud is at http://127.0.0.1:" in kept.told
    assert "examples.send examples/approval-vpc.json --address" in kept.told
    lines = kept.told.splitlines()
    shown = [line.strip() for line in lines[lines.index("Type next, in another terminal:") :] if line.startswith("  ")]
    assert len(shown) >= 10
    assert shown[0] == f"cd {shlex.quote(str(ROOT))}"
    done = subprocess.run(
        ["sh", "-euxc", "\n".join(shown)],
        cwd="/",
        env=clean_environment(HTTP_PROXY=NOWHERE, ALL_PROXY=NOWHERE),
        capture_output=True,
        text=True,
        timeout=4 * PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-2_000:]
    assert "done: granted and associated" in done.stdout
    assert "nothing is dead" in done.stdout
    assert "signed in as ram:1000000000000001:user:sub-orders-lead, who is orders-lead" in done.stdout
    assert {"open", "approved", "refused", "withdrawn", "lapsed"} <= set(done.stdout.split())
    [leave] = re.findall(r"This is no terminal: `(kill \d+)`", kept.told)
    subprocess.run(leave.split(), check=True)
    assert kept.end() == 0


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    """`make demo | head -1` ends without complaint."""
    done = subprocess.run(
        ["sh", "-c", f"{shlex.quote(sys.executable)} -m examples.demo --only | head -1"],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=False,
    )
    assert done.stdout.startswith("starting the local cloud")
    assert done.stderr == ""
