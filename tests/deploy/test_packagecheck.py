"""What can be seen of a package without running it: on any machine, file by file, with a sentence for each fault."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.packagecheck import Part, Proof, Report, check
from tests.localcloud.test_fc_shipping import shared_object

CODE = struct.pack("<HHI8s", 3531, 0x0A0D, 1, b"12345678")
"""Byte code as it ships: for Python 3.12, by hash, never compared."""
KEY = b"-----BEGIN PRIVATE KEY-----\n" + b"obviouslyfakeobviouslyfake" + b"\n-----END PRIVATE KEY-----\n"

Plant = Callable[[str, bytes], None]


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A folder with one module and its byte code."""
    folder = tmp_path / "package"
    (folder / "__pycache__").mkdir(parents=True)
    (folder / "grant.py").write_text("def handler(event, context): ...\n")
    (folder / "__pycache__" / "grant.cpython-312.pyc").write_bytes(CODE)
    return folder


def faults(package: Path) -> list[str]:
    """What is told without the runtime's Python."""
    report = check(package, None)
    assert report.imports is Proof.NOT_RUN
    return list(report.faults)


def test_a_sound_one_has_no_faults(package: Path) -> None:
    """And certificates, documentation with passwords in it, or a file that begins like a Windows program do not make one."""
    (package / "certifi").mkdir()
    (package / "certifi" / "cacert.pem").write_text("-----BEGIN CERTIFICATE-----\nabc\n")
    (package / "certifi" / "engine.txt").write_text("postgresql://scott:tiger@localhost/test\nMZ is no program")
    (package / "certifi" / "initials.txt").write_text("MZ")
    assert faults(package) == []


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        (".env", b"", ".env does not ship: settings and secrets belong to the environment of the functions"),
        ("shared/.env.local", b"", "shared/.env.local does not ship: settings and secrets"),
        ("accounts.yaml", b"", "accounts.yaml does not ship: the configuration is signed, and applied to the ledger"),
        ("x/policy.cedar", b"", "x/policy.cedar does not ship: the configuration is signed"),
        ("mns/tests/test_x.txt", b"", "mns/tests/test_x.txt does not ship: it is a test"),
        ("localcloud/x.txt", b"", "localcloud/x.txt does not ship: localcloud is for the checkout"),
        (
            "lib/a.dylib",
            b"\xcf\xfa\xed\xfe" + bytes(60),
            "lib/a.dylib is a library or program for macOS; the runtime is Linux",
        ),
        ("a.so", b"\xca\xfe\xba\xbe" + bytes(60), "a.so is a library or program for macOS"),
        ("a.pyd", b"MZ" + bytes(62) + b"PE\0\0", "a.pyd is a library or program for Windows"),
        ("a.so", shared_object("GLIBC_2.17", machine=183), "a.so is for AArch64; the runtime is Linux on x86-64"),
        ("a.so", shared_object("GLIBC_2.17"), "a.so has no section headers"),
        ("a.so", b"\x7fELF\x02\x01\x01", "a.so cannot be read as a shared object"),
        ("x/grant.cpython-312.pyc", CODE, "x/grant.cpython-312.pyc is byte code without its source"),
        (
            "__pycache__/grant.cpython-311.pyc",
            CODE,
            "grant.cpython-311.pyc is byte code without its source, or not for",
        ),
        ("__pycache__/grant.cpython-312.pyc", CODE[:9], "grant.cpython-312.pyc is byte code that was cut short"),
        (
            "__pycache__/grant.cpython-312.pyc",
            b"\xa7" + CODE[1:],
            "is byte code of another Python; the runtime has 3.12",
        ),
        ("__pycache__/grant.cpython-312.pyc", CODE[:4] + bytes(12), "is stale byte code: it goes by its source's time"),
        ("__pycache__/grant.cpython-312.pyc", CODE[:4] + b"\3" + CODE[5:], "is stale byte code"),
        ("notes.txt", KEY, "notes.txt has a private key in it"),
        ("notes.txt", b"key = 'LTAI5tObviouslyFake12345'", "notes.txt has an access key in it"),
        ("shared/x.txt", b"postgresql+psycopg://u:p@h/d", "shared/x.txt has an address with a password in it"),
    ],
)
def test_a_fault_is_named(package: Path, name: str, content: bytes, told: str) -> None:
    """Once, with the file that it is in."""
    path = package / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    (found,) = faults(package)
    assert told in found


def test_a_link_is_named(package: Path, tmp_path: Path) -> None:
    """What it leads to is not in the archive."""
    (package / "shared").symlink_to(tmp_path)
    assert faults(package) == ["shared is a link, and what it leads to does not ship"]


def test_the_digest_is_of_names_and_contents(package: Path) -> None:
    """So that a report is about exactly one package."""
    first = check(package, None).digest
    assert check(package, None).digest == first
    (package / "grant.py").write_text("def handler(event, context): pass\n")
    second = check(package, None).digest
    (package / "grant.py").rename(package / "associate.py")
    (package / "__pycache__" / "grant.cpython-312.pyc").rename(package / "__pycache__" / "associate.cpython-312.pyc")
    assert len({first, second, check(package, None).digest}) == 3


def test_what_is_too_large_is_named(package: Path) -> None:
    """Unpacked and as an archive, by the sum of the parts: what cannot be packed, and what is nothing when it is packed."""
    (package / "noise").write_bytes(os.urandom(45_000_000))
    with (package / "zeros").open("wb") as file:
        file.truncate(96_000_000)
    unpacked, zipped = faults(package)
    assert unpacked == "the package has 141.0 MB unpacked; at most 140.0 MB are wanted"
    assert re.fullmatch(r"the package has 45\.\d MB as an archive; at most 45\.0 MB are wanted", zipped)


def test_the_table_shows_the_largest_parts_and_the_whole() -> None:
    """Largest first, the small ones in one line."""
    parts = tuple(Part(name=f"part{size}", unpacked=size * 1_000_000, zipped=size * 100_000) for size in range(1, 6))
    table = Report(digest="d", imports=Proof.RUN, parts=parts, faults=()).table(shown=2)
    assert [row.split() for row in table[1:]] == [
        ["part5", "5.0", "MB", "0.5", "MB"],
        ["part4", "4.0", "MB", "0.4", "MB"],
        ["3", "more", "6.0", "MB", "0.6", "MB"],
        ["whole", "package", "15.0", "MB", "1.5", "MB"],
    ]
