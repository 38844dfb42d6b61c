"""Builds ``.local/package``: what is deployed, made for the runtime and not for this machine. ``make package``.

    python -m deploy.package                     build, then check
    python -m deploy.package --check FOLDER      check a package that was built, here or elsewhere

Functions, what they share, and the locked dependencies lie flat in one folder, so that the runtime finds them without any
search path being set, before what it brings itself. Nothing of an earlier package stays: it is made aside, and put in place
when it is whole and sound. The report of the check lies beside it, and `make deploy-folder` believes nothing else.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path

from uv import find_uv_bin

from deploy.interpreter import VERSION, NoInterpreterError, find, runs_as_deployed
from deploy.layout import PARTS, ROOT
from deploy.packagecheck import TEST_FOLDERS, Proof, Report, check

PACKAGE = ROOT / ".local" / "package"
REQUIREMENTS = ROOT / "requirements" / "functions.txt"
PLATFORM = "x86_64-manylinux_2_28"
"""Wheels that older systems take too: a runtime with the C library of Debian 10 could run the same package."""
_UNUSED = (
    "*.pyi",
    "*.pyx",
    "*.pxd",
    "*.c",
    "*.h",
    "RECORD",
    "INSTALLER",
    "REQUESTED",
    "direct_url.json",
    "uv_cache.json",
)
"""Files that nothing reads at run time. Of a dist-info the metadata, the entry points and the licences stay."""
_UNUSED_FOLDERS = (*sorted(TEST_FOLDERS), "bin", "*-stubs", "__pycache__", "sboms", ".agents")
_NEVER_IMPORTED = ("Crypto", "pycryptodome-*.dist-info")
"""aliyun-mns-sdk wants pycryptodome and imports nothing of it (seen in 1.3.0): 11 MB."""


class BuildError(Exception):
    """The package could not be made; the text says why."""


def main(arguments: list[str] | None = None) -> int:
    """Build or check, and say what was found. The exit code: 0 sound, 1 not, 2 for the command line."""
    parser = argparse.ArgumentParser(prog="python -m deploy.package", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", type=Path, metavar="FOLDER", help="only check the package in this folder")
    parser.add_argument("--into", type=Path, default=PACKAGE, help="where to build it (default: .local/package)")
    parser.add_argument("--python", type=Path, help=f"a Python {VERSION}; without it one is looked for")
    options = parser.parse_args(arguments)
    try:
        if options.check is not None:
            return tell(options.check, examined(options.check, options.python))
        return tell(*build(options.into, find(options.python)))
    except (BuildError, NoInterpreterError, OSError) as problem:
        print(f"make package: {problem}", file=sys.stderr)
        return 1


def build(place: Path, python: Path) -> tuple[Path, Report]:
    """Make the package aside, check it, and put it in place when nothing is wrong. Where it lies then, and what was found.
    Raises BuildError.
    """
    aside = place.with_name(f"{place.name}.new")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    _step(f"installing the locked dependencies for Python {VERSION} on {PLATFORM}")
    install(aside, REQUIREMENTS, python)
    for source, name in PARTS:
        if source.is_dir():
            shutil.copytree(source, aside / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, aside / name)
    strip(aside)
    _step("compiling, so that byte code is valid whatever the files' times")
    compile_all(aside, python)
    report = _checked(aside, python)
    if report.faults:
        return aside, report
    before = place.with_name(f"{place.name}.old")
    shutil.rmtree(before, ignore_errors=True)
    if place.exists():
        place.rename(before)
    aside.rename(place)
    shutil.rmtree(before, ignore_errors=True)
    report_of(place).write_text(report.model_dump_json(indent=1), "utf-8")
    return place, report


def install(place: Path, requirements: Path, python: Path) -> None:
    """The locked dependencies as the runtime takes them, whatever this machine is. Raises BuildError."""
    command = [find_uv_bin(), "pip", "install", "--quiet", "--python", str(python), "--target", str(place)]
    command += ["--python-platform", PLATFORM, "--python-version", VERSION, "--link-mode", "copy"]
    command += ["--require-hashes", "--requirement", str(requirements)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BuildError(f"the dependencies cannot be installed: {done.stderr.strip()}")


def strip(place: Path) -> None:
    """Remove what no import needs; that none does is proved by the check."""
    for folder in [one for name in _UNUSED_FOLDERS for one in place.rglob(name)]:
        if folder.is_dir():
            shutil.rmtree(folder)
    for name in _NEVER_IMPORTED:
        for folder in place.glob(name):
            shutil.rmtree(folder)
    for pattern in _UNUSED:
        for file in [*place.rglob(pattern)]:
            file.unlink()
    for file in place.glob(".*"):  # what the installer leaves for itself
        file.unlink()


def compile_all(place: Path, python: Path) -> None:
    """Byte code of every source, by hash and never compared, under the names that the files have on the platform.
    Raises BuildError.
    """
    command = [str(python), "-I", "-m", "compileall", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash"]
    command += ["-s", str(place), "-p", "/code", str(place)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BuildError(f"the package cannot be compiled: {(done.stdout + done.stderr).strip()}")


def examined(folder: Path, named: Path | None) -> Report:
    """Check a package that lies somewhere, and write the report beside it. Raises BuildError without such a folder."""
    if not folder.is_dir():
        raise BuildError(f"there is no package in {folder}; `make package` builds one")
    try:
        python: Path | None = find(named)
    except NoInterpreterError as problem:
        if named is not None:
            raise
        _step(f"imports are not proved: {problem}")
        python = None
    report = _checked(folder, python)
    report_of(folder).write_text(report.model_dump_json(indent=1), "utf-8")
    return report


def report_of(place: Path) -> Path:
    """Where the report of a package's check lies: beside it."""
    return place.with_name(f"{place.name}.report.json")


def tell(place: Path, report: Report) -> int:
    """Print the sizes, then each fault, or that it is sound. The exit code."""
    print("\n".join(report.table()))
    for fault in report.faults:
        print(f"FAULT: {fault}")
    if report.faults:
        print(f"{place}: not to be deployed, {len(report.faults)} faults")
        return 1
    if report.imports is Proof.NOT_RUN:
        print(f"{place}: sound as far as it can be seen here. The imports were not run: that takes x86_64 Linux and")
        print(f"a Python {VERSION}. Run `python -m deploy.package --check {place}` there before it is deployed.")
    else:
        print(f"{place}: sound; every import of every function works from it alone")
    return 0


def _checked(folder: Path, python: Path | None) -> Report:
    _step("checking" if runs_as_deployed() else "checking, without the imports: this is no x86_64 Linux")
    return check(folder, python)


def _step(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text} ...", flush=True)


if __name__ == "__main__":
    sys.exit(main())
