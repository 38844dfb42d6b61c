"""Which versions of the C library a shared object wants, read from the file itself (the gABI and its GNU extensions).

Only what the dynamic loader reads is read here, so files without section headers are understood too.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_MACHINES = {62: "x86_64", 183: "aarch64"}
_PT_LOAD, _PT_DYNAMIC = 1, 2
_DT_STRTAB, _DT_VERNEED, _DT_VERNEEDNUM = 5, 0x6FFFFFFE, 0x6FFFFFFF
_WEAK = 2
"""Flag of a version that may be missing."""
MOST_BYTES = 512 * 1024 * 1024


class Wanted(NamedTuple):
    """A version that a file cannot be loaded without."""

    library: str
    """Such as libc.so.6."""
    version: str
    """Such as GLIBC_2.34."""

    @property
    def glibc(self) -> tuple[int, ...]:
        """The C library's release; empty when the version is of something else."""
        kind, _, number = self.version.partition("_")
        parts = number.split(".")
        return tuple(map(int, parts)) if kind == "GLIBC" and all(part.isdecimal() for part in parts) else ()


def is_elf(path: Path) -> bool:
    """Whether a file is one the dynamic loader could load."""
    try:
        with path.open("rb") as file:
            return file.read(4) == b"\x7fELF"
    except OSError:
        return False


def wanted(path: Path) -> list[Wanted]:
    """The versions a 64-bit file of a known machine wants; none for others, and for what cannot be understood."""
    if path.stat().st_size > MOST_BYTES:
        return []
    data = path.read_bytes()
    try:
        return list(_wanted(data))
    except (struct.error, IndexError, ValueError, OverflowError):
        return []  # cut short or made up: the loader will say so


def _wanted(data: bytes) -> Iterator[Wanted]:
    if data[:6] != b"\x7fELF\x02\x01" or struct.unpack_from("<H", data, 18)[0] not in _MACHINES:
        return
    table = struct.unpack_from("<Q", data, 32)[0]
    size, count = struct.unpack_from("<HH", data, 54)
    segments = [struct.unpack_from("<IIQQQQ", data, table + at * size) for at in range(count)]
    loads: list[tuple[int, int, int]] = [
        (address, offset, length) for kind, _, offset, address, _, length in segments if kind == _PT_LOAD
    ]
    entries: dict[int, int] = {}
    for kind, _, offset, _, _, length in segments:
        if kind == _PT_DYNAMIC:
            for at in range(offset, offset + length, 16):
                tag, value = struct.unpack_from("<qQ", data, at)
                entries.setdefault(tag, value)
    if not entries.keys() >= {_DT_STRTAB, _DT_VERNEED, _DT_VERNEEDNUM}:
        return

    def place(address: int) -> int:
        return next(offset + address - start for start, offset, length in loads if start <= address < start + length)

    try:
        names, at = place(entries[_DT_STRTAB]), place(entries[_DT_VERNEED])
    except StopIteration:
        return

    def name(offset: int) -> str:
        start = names + offset
        return data[start : data.index(b"\0", start)].decode() if 0 <= start < len(data) else ""

    for _ in range(min(entries[_DT_VERNEEDNUM], 1_000)):
        _, auxiliaries, library, first, following = struct.unpack_from("<HHIII", data, at)
        here = at + first
        for _ in range(min(auxiliaries, 1_000)):
            _, flags, _, version, onward = struct.unpack_from("<IHHII", data, here)
            if not flags & _WEAK:
                yield Wanted(name(library), name(version))
            here += onward
        at += following
