"""The package as ``make package`` builds it: sound, small, fresh; and whatever is planted in it is found and named."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from uv import find_uv_bin

from deploy import package
from deploy.interpreter import VERSION, NoInterpreterError, find, runs_as_deployed
from deploy.layout import FUNCTIONS
from deploy.package import REQUIREMENTS, BuildError, main, report_of
from deploy.packagecheck import MOST_UNPACKED, MOST_ZIPPED, Proof, Report
from tests.functional.launch import clean_environment
from tests.functional.waiting import PATIENCE
from tests.functional.world import ROOT

pytestmark = [pytest.mark.timeout(900), pytest.mark.skipif(not runs_as_deployed(), reason="this is no x86_64 Linux")]


@pytest.fixture(scope="module")
def python() -> Path:
    """A Python of the runtime's version."""
    try:
        return find()
    except NoInterpreterError as problem:
        pytest.skip(str(problem))


@pytest.fixture(scope="module")
def built(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package, built over an older one."""
    place = tmp_path_factory.mktemp("built") / "package"
    (place / "left_over").mkdir(parents=True)
    assert main(["--into", str(place), "--python", str(python)]) == 0
    return place


def wheel(name: str, platform: str, folder: Path) -> Path:
    """A locked dependency as another platform takes it, unpacked in a folder."""
    blocks = re.split(r"\n(?=\S)", REQUIREMENTS.read_text("utf-8"))
    wanted = folder.with_suffix(".txt")
    wanted.write_text(next(block for block in blocks if block.startswith(f"{name}==")), "utf-8")
    command = [find_uv_bin(), "pip", "install", "--quiet", "--no-deps", "--target", str(folder), "--require-hashes"]
    command += ["--python-platform", platform, "--python-version", VERSION, "--requirement", str(wanted)]
    subprocess.run(command, check=True)
    return folder


def test_it_is_sound_and_small(built: Path) -> None:
    """Every import of every function was carried out from it alone; it keeps to its size; nothing of an older one stays."""
    report = Report.model_validate_json(report_of(built).read_bytes())
    assert (report.imports, report.faults) == (Proof.RUN, ())
    assert 20_000_000 < report.zipped <= MOST_ZIPPED < report.unpacked <= MOST_UNPACKED
    assert report.unpacked == sum(path.stat().st_size for path in built.rglob("*") if path.is_file())
    assert not (built / "left_over").exists()
    assert sorted(path.name for path in built.parent.iterdir()) == ["package", "package.report.json"]
    assert {f"{name}.py" for name in FUNCTIONS} | {"shared"} <= {path.name for path in built.iterdir()}


@pytest.fixture(scope="module")
def told(built: Path, python: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What is said of a package in which everything is planted at once: each fault is named for itself, and it is looked through
    once.
    """
    folder = tmp_path_factory.mktemp("planted")
    copy = folder / "package"
    shutil.copytree(built, copy, copy_function=os.link)
    shutil.copytree(wheel("cryptography", "x86_64-manylinux_2_34", folder / "newer"), copy / "newer")
    shutil.copytree(wheel("markupsafe", "aarch64-apple-darwin", folder / "mac"), copy / "mac")
    compiled = copy / "shared" / "__pycache__" / "settings.cpython-312.pyc"
    stale = compiled.read_bytes()
    written(compiled, stale[:4] + bytes(4) + stale[8:])
    written(copy / "shared" / "errors.py", b'"""Another."""\n')
    written(copy / ".env", b"LEDGER_URL=x\n")
    shutil.rmtree(copy / "psycopg")
    shutil.rmtree(copy / "multidict")
    (copy / "alibabacloud_vpc20160428" / "models" / "_describe_vpcs_request.py").unlink()
    other = folder / "other"
    other.mkdir()
    text = (copy / "grant.py").read_text("utf-8").replace("def handler(", "def _handle(")
    written(other / "grant.py", f"{text}\ndef later() -> None:\n    import pytest\n".encode())
    package.compile_all(other, python)
    for name in ("grant.py", "__pycache__/grant.cpython-312.pyc"):
        written(copy / name, (other / name).read_bytes())
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        assert main(["--check", str(copy)]) == 1
    shutil.rmtree(folder)
    return said.getvalue()


def written(file: Path, content: bytes) -> None:
    """Put something in a file's place: the file itself is the package's too."""
    file.unlink(missing_ok=True)
    file.write_bytes(content)


def test_what_is_planted_is_named(told: str) -> None:
    """A wheel for a newer C library, byte code that goes by times, settings, a library for macOS: a sentence for each."""
    assert (
        "_rust.abi3.so wants glibc 2.34, and the runtime has 2.31: it needs a wheel for manylinux_2_31 or older" in told
    )
    assert "_speedups.cpython-312-darwin.so is a library or program for macOS; the runtime is Linux on x86-64" in told
    assert "shared/__pycache__/settings.cpython-312.pyc is stale byte code: it goes by its source's time" in told
    assert "shared/errors.py is not what its byte code was made from: the old code would run" in told
    assert ".env does not ship: settings and secrets belong to the environment of the functions" in told
    assert "not to be deployed" in told


def test_an_import_that_fails_only_when_it_is_used_is_named(told: str) -> None:
    """Of a dependency that is not there, and of one that the interpreter must not lend; a handler that is missing."""
    assert "the address of a ledger cannot import psycopg from the package alone (ModuleNotFoundError" in told
    assert "grant.py cannot import pytest from the package alone (ModuleNotFoundError" in told
    assert "grant.py has no function handler()" in told
    assert "aiohttp, which waits until it is used, cannot be loaded (ModuleNotFoundError" in told
    assert (
        "alibabacloud_vpc20160428.models, which waits until it is used, cannot be loaded (ModuleNotFoundError" in told
    )


def test_the_demo_runs_from_it(built: Path, tmp_path: Path) -> None:
    """One approval, granted and associated by what would be deployed, run by the runtime's Python with nothing beside it."""
    before = set(built.rglob("*"))
    done = subprocess.run(
        [sys.executable, "-m", "examples.demo", "--only", "--package", str(built)],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=4 * PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("OK: granted and associated")
    assert set(built.rglob("*")) == before


def test_a_package_that_cannot_be_made_is_told(
    tmp_path: Path, python: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A dependency without its hash is none of the locked ones; a Python of another version compiles nothing."""
    unlocked = tmp_path / "unlocked.txt"
    unlocked.write_text("pyyaml\n")
    with pytest.raises(BuildError, match=r"the dependencies cannot be installed: .*hash"):
        package.install(tmp_path / "package", unlocked, python)
    assert main(["--into", str(tmp_path / "package"), "--python", "/bin/sh"]) == 1
    assert f"/bin/sh is no Python {VERSION} (found: none that runs)" in capsys.readouterr().err
    assert main(["--check", str(tmp_path / "nowhere")]) == 1
    assert "there is no package in" in capsys.readouterr().err
