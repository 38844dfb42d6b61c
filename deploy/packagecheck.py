"""Judges a package: what the runtime could not load, what must not ship, what would run as something else, and its size.

Every fault is a sentence that names the file. Whatever can be read from the files is checked on any machine; imports and
byte code are proved by the runtime's own Python, and where that cannot be done here the report says that it was not.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
import subprocess
import zlib
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection
from pydantic import BaseModel, ConfigDict, Field

from deploy.interpreter import VERSION, runs_as_deployed
from deploy.layout import FUNCTIONS

MACHINE = "x86-64"
GLIBC = (2, 31)
"""The runtime's C library: Debian 11 (deploy.md section 6)."""
MOST_UNPACKED = 140_000_000
MOST_ZIPPED = 45_000_000
"""Bytes that our package may have. The platform takes 100 MB in the smaller regions; what is larger starts more slowly."""
TEST_FOLDERS = frozenset({"SelfTest", "testing", "tests"})
_OURS_ONLY = frozenset(
    {".ci", ".git", "bench", "cli", "deploy", "docs", "examples", "functions", "localcloud", "requirements"}
)
"""Folders of the checkout that have nothing to do in a package."""
_CONFIGURATION = frozenset({"accounts.yaml", "accounts.yml", "issuers.yaml", "people.yaml", "policy.cedar"})
_FOREIGN = {
    b"\xcf\xfa\xed\xfe": "macOS",
    b"\xce\xfa\xed\xfe": "macOS",
    b"\xfe\xed\xfa\xcf": "macOS",
    b"\xfe\xed\xfa\xce": "macOS",
    b"\xca\xfe\xba\xbe": "macOS",
}
_WEAK = 2
"""Flag of a symbol version that may be missing."""
_MAGIC = 3531
"""The number that byte code of Python 3.12 begins with."""
_UNCHECKED = 1
"""Byte code that goes by its source's hash, which nobody compares at run time."""
_SECRETS = (
    (re.compile(rb"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----\s+[A-Za-z0-9+/=]{20}"), "a private key"),
    (re.compile(rb"\bLTAI[A-Za-z0-9]{12,26}\b"), "an access key"),
)
_ADDRESS = re.compile(rb"[a-z+]{3,30}://[^\s:/@'\"{}]{1,64}:[^\s/@'\"{}]{1,128}@")
"""An address with a password in it. Documentation of others is full of them, so only our own files are asked."""


class Proof(StrEnum):
    """Whether the imports were carried out by the runtime's own Python."""

    RUN = "run"
    NOT_RUN = "not run"


class Part(BaseModel):
    """One entry at the root of a package."""

    model_config = ConfigDict(frozen=True)

    name: str
    unpacked: int = Field(description="bytes")
    zipped: int = Field(description="bytes, each file deflated by itself")


class Report(BaseModel):
    """What was found about one package."""

    model_config = ConfigDict(frozen=True)

    digest: str = Field(description="SHA-256 over names and contents: which package this is about")
    imports: Proof
    parts: tuple[Part, ...]
    faults: tuple[str, ...]

    @property
    def unpacked(self) -> int:
        """Bytes of all files."""
        return sum(part.unpacked for part in self.parts)

    @property
    def zipped(self) -> int:
        """Bytes of the archive."""
        return sum(part.zipped for part in self.parts)

    def table(self, shown: int = 12) -> list[str]:
        """Sizes per part, the largest first; the rest in one line."""
        order = sorted(self.parts, key=lambda part: part.unpacked, reverse=True)
        rest = order[shown:]
        rows = [*order[:shown]]
        if rest:
            unpacked, zipped = sum(part.unpacked for part in rest), sum(part.zipped for part in rest)
            rows.append(Part(name=f"{len(rest)} more", unpacked=unpacked, zipped=zipped))
        rows.append(Part(name="whole package", unpacked=self.unpacked, zipped=self.zipped))
        head = f"{'':42}{'unpacked':>11}{'zipped':>11}"
        return [head, *(f"{row.name:42}{_megabytes(row.unpacked):>11}{_megabytes(row.zipped):>11}" for row in rows)]


def check(folder: Path, python: Path | None) -> Report:
    """Look at everything. ``python``: one of the runtime's version; None where there is none. Raises OSError."""
    faults: list[str] = []
    sizes: dict[str, tuple[int, int]] = {}
    for name, path in files_of(folder):
        faults += _named(name)
        if path.is_symlink():
            faults.append(f"{name} is a link, and what it leads to does not ship")
            continue
        data = path.read_bytes()
        faults += [f"{name} {fault}" for fault in _content(path, name, data)]
        unpacked, zipped = sizes.get(name.partition("/")[0], (0, 0))
        sizes[name.partition("/")[0]] = (unpacked + len(data), zipped + _deflated(name, data))
    parts = tuple(Part(name=name, unpacked=sizes[name][0], zipped=sizes[name][1]) for name in sorted(sizes))
    proof = Proof.RUN if python is not None and runs_as_deployed() else Proof.NOT_RUN
    if python is not None and proof is Proof.RUN:
        faults += proved(folder, python)
    report = Report(digest=digest_of(folder), imports=proof, parts=parts, faults=())
    return report.model_copy(update={"faults": (*dict.fromkeys(faults), *_oversize(report))})


def files_of(folder: Path) -> list[tuple[str, Path]]:
    """Every file and link of a folder by its name there, in order."""
    files = sorted(path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return [(path.relative_to(folder).as_posix(), path) for path in files]


def digest_of(folder: Path) -> str:
    """SHA-256 over the names and contents of a folder's files."""
    digest = hashlib.sha256()
    for name, path in files_of(folder):
        content = b"" if path.is_symlink() else path.read_bytes()
        digest.update(f"{name}\0{hashlib.sha256(content).hexdigest()}\n".encode())
    return digest.hexdigest()


def proved(folder: Path, python: Path) -> list[str]:
    """Faults that the runtime's Python finds with nothing but the package on its path, each function in a fresh process."""
    faults: list[str] = []
    for function in (*FUNCTIONS, ""):
        command = [str(python), "-I", "-S", "-B", str(Path(__file__).with_name("probe.py")), str(folder)]
        asked = [function, *FUNCTIONS[function]] if function else []
        done = subprocess.run([*command, *asked], capture_output=True, text=True, env={}, check=False)
        try:
            faults += json.loads(done.stdout.splitlines()[-1])
        except (IndexError, ValueError):
            last = (done.stderr.strip().splitlines() or ["nothing was said"])[-1]
            faults.append(f"the imports of {function or 'what no import names'} end the interpreter ({last})")
    return faults


def _named(name: str) -> Iterator[str]:
    """What a file's name alone says."""
    parts = name.split("/")
    if any(part == ".env" or part.startswith(".env.") for part in parts):
        yield f"{name} does not ship: settings and secrets belong to the environment of the functions"
    if parts[-1] in _CONFIGURATION:
        yield f"{name} does not ship: the configuration is signed, and applied to the ledger (`ecr-grants config apply`)"
    if any(part in TEST_FOLDERS for part in parts[:-1]):
        yield f"{name} does not ship: it is a test"
    if parts[0] in _OURS_ONLY:
        yield f"{name} does not ship: {parts[0]} is for the checkout"


def _content(path: Path, name: str, data: bytes) -> Iterator[str]:
    """What is wrong with one file's content, as the end of a sentence that begins with its name."""
    system = _FOREIGN.get(data[:4]) or ("Windows" if data[:2] == b"MZ" and b"PE\0\0" in data[:4096] else None)
    if system is not None:
        yield f"is a library or program for {system}; the runtime is Linux on {MACHINE}"
    elif data[:4] == b"\x7fELF":
        yield from _shared_object(path)
    elif path.suffix == ".pyc":
        yield from _byte_code(path, data[:16])
    else:
        for pattern, what in _SECRETS:
            if pattern.search(data):
                yield f"has {what} in it"
        ours = name.partition("/")[0] in {"shared", *(f"{function}.py" for function in FUNCTIONS)}
        if ours and _ADDRESS.search(data):
            yield "has an address with a password in it"


def _shared_object(path: Path) -> Iterator[str]:
    try:
        with path.open("rb") as stream:
            elf = ELFFile(stream)
            machine = elf.get_machine_arch() if elf.elfclass == 64 else "a 32-bit machine"
            if machine != "x64":
                yield f"is for {machine}; the runtime is Linux on {MACHINE}"
                return
            if not elf.num_sections():
                yield "has no section headers, so nobody can tell which C library it wants"
                return
            newer = sorted({version for version in _wanted(elf) if version > GLIBC})
    except (ELFError, ValueError, KeyError) as problem:
        yield f"cannot be read as a shared object ({problem})"
        return
    if newer:
        have, want = (".".join(map(str, version)) for version in (GLIBC, newer[-1]))
        yield f"wants glibc {want}, and the runtime has {have}: it needs a wheel for manylinux_{have.replace('.', '_')} or older"


def _wanted(elf: ELFFile) -> Iterator[tuple[int, ...]]:
    """Releases of the C library that a shared object cannot be loaded without."""
    for section in elf.iter_sections():
        if isinstance(section, GNUVerNeedSection):
            for _, auxiliaries in section.iter_versions():
                for each in auxiliaries:
                    kind, _, number = each.name.partition("_")
                    if kind == "GLIBC" and not each["vna_flags"] & _WEAK and re.fullmatch(r"[\d.]+", number):
                        yield tuple(map(int, number.split(".")))


def _byte_code(path: Path, header: bytes) -> Iterator[str]:
    tag = f".cpython-{VERSION.replace('.', '')}"
    source = path.parent.parent / f"{path.name.partition('.')[0]}.py"
    if path.parent.name != "__pycache__" or not path.stem.endswith(tag) or not source.is_file():
        yield f"is byte code without its source, or not for Python {VERSION}"
        return
    if len(header) < 16:
        yield "is byte code that was cut short"
        return
    magic, flags = struct.unpack_from("<H2xI", header)
    if magic != _MAGIC:
        yield f"is byte code of another Python; the runtime has {VERSION}"
    elif flags != _UNCHECKED:
        yield (
            "is stale byte code: it goes by its source's time, which the upload changes, so the source would be compiled again "
            "at every cold start"
        )


def _oversize(report: Report) -> Iterator[str]:
    for what, size, most in (
        ("unpacked", report.unpacked, MOST_UNPACKED),
        ("as an archive", report.zipped, MOST_ZIPPED),
    ):
        if size > most:
            yield f"the package has {_megabytes(size)} {what}; at most {_megabytes(most)} are wanted"


def _deflated(name: str, data: bytes) -> int:
    """Bytes in an archive: the file, its two entries there, and its name in both."""
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    return len(packer.compress(data)) + len(packer.flush()) + 30 + 46 + 2 * len(name.encode())


def _megabytes(size: int) -> str:
    return f"{size / 1_000_000:.1f} MB"
