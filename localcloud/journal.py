"""The journal: every call, who made it, as whom, what RAM decided and what came of it. For tests and for people."""

import asyncio
import itertools
import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

from localcloud.call import Call
from localcloud.clock import iso_precise

KEPT = 200_000
"""Entries kept in memory at least; older ones go."""

Entry = dict[str, Any]


class Journal:
    """An append-only, numbered record that readers can follow."""

    def __init__(self, path: Path | None = None) -> None:
        self._entries: list[tuple[Any, ...]] = []
        self._next = 1
        self._numbers: dict[tuple[str, str], list[int]] = {}
        """The numbers of entries of each service, operation and account, for readers who want only those."""
        self._readers: list[asyncio.Future[None]] = []
        self._file: TextIO | None = path.open("a", buffering=1, encoding="utf-8") if path else None

    def note(self, call: Call, status: int, code: str, message: str, milliseconds: float) -> None:
        """Record how a call ended."""
        self._append(
            (
                self._next,
                call.now,
                call.service,
                call.operation,
                call.account,
                call.region,
                call.caller,
                call.request_id,
                call.params,
                call.decision,
                status,
                code,
                message,
                call.effect,
                milliseconds,
            )
        )

    def note_refused(
        self,
        now: float,
        service: str,
        operation: str,
        access_key_id: str,
        request_id: str,
        status: int,
        code: str,
        message: str,
    ) -> None:
        """Record a request that was turned away before anybody knew who sent it."""
        who = (self._next, now, service, operation, "", "", access_key_id, request_id)
        self._append((*who, {}, None, status, code, message, False, 0.0))

    def _append(self, entry: tuple[Any, ...]) -> None:
        self._entries.append(entry)
        self._next += 1
        for key in _keys(entry):
            self._numbers.setdefault(key, []).append(entry[0])
        if len(self._entries) >= 2 * KEPT:
            # Half at a time, so that an entry costs the same however long the record is.
            self._entries = self._entries[-KEPT:]
            first = self._entries[0][0]
            kept = {key: numbers[bisect_left(numbers, first) :] for key, numbers in self._numbers.items()}
            self._numbers = {key: numbers for key, numbers in kept.items() if numbers}
        if self._file is not None:
            self._file.write(json.dumps(_readable(entry), default=str) + "\n")
        if self._readers:
            for reader in self._readers:
                if not reader.done():
                    reader.set_result(None)
            self._readers.clear()

    @property
    def last(self) -> int:
        """Number of the newest entry; 0 when there is none."""
        return self._next - 1

    def read(
        self, after: int = 0, *, service: str = "", operation: str = "", account: str = "", limit: int | None = None
    ) -> list[Entry]:
        """Entries with a number above ``after`` that match; oldest first."""
        first = self._entries[0][0] if self._entries else self._next
        wanted = [(kind, name) for kind, name in zip(_KINDS, (service, operation, account), strict=True) if name]
        if wanted:
            # The rarest of what is asked for leads; the others are looked up.
            lists = [self._numbers.get(key, []) for key in wanted]
            leading = min(lists, key=len)
            candidates: Iterable[int] = itertools.islice(leading, bisect_right(leading, after), None)
        else:
            candidates = range(max(first, after + 1), self._next)
        found: list[Entry] = []
        for number in candidates:
            if number < first:
                continue
            entry = self._entries[number - first]
            if wanted and not set(wanted) <= set(_keys(entry)):
                continue
            found.append(_readable(entry))
            if limit is not None and len(found) >= limit:
                break
        return found

    async def wait(self, after: int, seconds: float) -> None:
        """Return when an entry above ``after`` exists, or after so many real seconds."""
        if self.last > after or seconds <= 0:
            return
        reader: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._readers.append(reader)
        try:
            await asyncio.wait_for(reader, seconds)
        except TimeoutError:
            pass
        finally:
            if reader in self._readers:
                self._readers.remove(reader)

    def close(self) -> None:
        """Finish the file, when there is one."""
        if self._file is not None:
            self._file.close()
            self._file = None


_KINDS = ("service", "operation", "account")


def _keys(entry: tuple[Any, ...]) -> list[tuple[str, str]]:
    """What an entry can be asked for by."""
    keys = [("service", entry[2]), ("operation", entry[3]), ("account", entry[4])]
    caller = getattr(entry[6], "account", "")
    if caller != entry[4]:
        keys.append(("account", caller))
    return keys


def _readable(entry: tuple[Any, ...]) -> Entry:
    (number, now, service, operation, account, region, caller, request_id, params, decision, status, code, message, effect,
     milliseconds) = entry  # fmt: skip
    return {
        "number": number,
        "time": iso_precise(now),
        "service": service,
        "operation": operation,
        "account": account,
        "region": region,
        "caller": {"access_key_id": caller}
        if isinstance(caller, str)
        else {
            "arn": caller.arn,
            "account": caller.account,
            "kind": caller.kind,
            "name": caller.name,
            "session": caller.session,
            "access_key_id": caller.access_key_id,
            "origin": caller.origin,
            "function": caller.function,
        },
        "request_id": request_id,
        "params": dict(params),
        "decision": decision and decision.to_json(),
        "status": status,
        "code": code,
        "message": message,
        "effect": effect,
        "milliseconds": round(milliseconds, 3),
    }
