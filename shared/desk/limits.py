"""How often somebody is heard: a caller by who it is, strangers by where they call from.

Windows and counts are in the ledger, so that all instances count together. Strangers share buckets, so that no number of
addresses makes more rows; which bucket an address has is known to the desk alone and changes with each window, so that nobody
aims at another's. A bucket that is full is refused from memory.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address

from starlette.requests import Request

from shared.desk.callers import Caller
from shared.desk.problems import NotSignedIn
from shared.errors import Throttled
from shared.ledger.transactions import Ledger
from shared.ledger.used import Kind, count, count_caller, forget
from shared.settings import DeskSettings

WINDOW = 60_000
"""Milliseconds."""
_HOUR = 3_600_000
UNSEEN_AN_HOUR = 60
"""Requests that one person may ask in an hour about accounts that they may not see."""
BUCKETS = 2**16
_PREFIX = 64  # bits of an IPv6 address that are one network's
_NO_HEADER = "none"


class Limits:
    """Counts calls. Safe to share between threads."""

    def __init__(self, settings: DeskSettings, ledger: Ledger, clock: Callable[[], int]) -> None:
        """``clock``: epoch milliseconds."""
        self._most, self._header = settings.desk_calls, settings.desk_source_header
        self._key = settings.desk_keys[0]
        self._ledger, self._clock = ledger, clock
        self._window = 0
        self._full: frozenset[str] = frozenset()

    def caller(self, caller: Caller) -> None:
        """One more call of somebody who is known. Raises Throttled, and NotSignedIn where the session was ended."""
        now, until = self._times()
        name = caller.system or caller.subject
        often = self._ledger.write(count_caller, name, caller.session, until, now)
        if often is None:
            raise NotSignedIn("this session was signed out of: sign in again")
        self._within(often, until, now)

    def stranger(self, request: Request) -> None:
        """One more call of nobody that is known. Raises Throttled."""
        now, until = self._times()
        bucket = self._bucket(source_of(request, self._header), until)
        if bucket in self._full:
            self._within(self._most + 1, until, now)
        often = self._ledger.write(count, Kind.ADDRESS, bucket, until, now)
        if often > self._most:
            self._full |= {bucket}
        self._within(often, until, now)

    def unseen(self, person: str, many: int) -> None:
        """So many more looks into accounts that a person may not see: few an hour, whatever they find. Raises Throttled."""
        if many == 0:
            return
        now = self._clock()
        until = now - now % _HOUR + _HOUR
        often = self._ledger.write(count, Kind.CALLER, f"unseen {person}", until, now, min(many, UNSEEN_AN_HOUR + 1))
        if often > UNSEEN_AN_HOUR:
            raise _too_many(f"at most {UNSEEN_AN_HOUR} requests an hour are taken about accounts of others", until, now)

    def _times(self) -> tuple[int, int]:
        """Now, and when this window ends. With each new one, what the last ones left is taken away."""
        now = self._clock()
        until = now - now % WINDOW + WINDOW
        if self._window != until:
            self._window, self._full = until, frozenset()
            self._ledger.write(forget, now)
        return now, until

    def _bucket(self, source: str, until: int) -> str:
        told = hmac.digest(self._key, f"{until} {source}".encode(), hashlib.sha256)
        return f"{int.from_bytes(told[:8], 'big') % BUCKETS:04x}"

    def _within(self, often: int, until: int, now: int) -> None:
        if often > self._most:
            raise _too_many(f"at most {self._most} calls a minute are taken from one caller", until, now)


def _too_many(text: str, until: int, now: int) -> Throttled:
    error = Throttled(text, code="TooManyCalls")
    error.retry_after = (until - now) / 1000
    return error


def source_of(request: Request, header: str) -> str:
    """Where a call comes from: the last address in the header, which the platform added; those before it anybody can write. An
    IPv6 address stands for its network. Without the header, the other end of the connection.
    """
    said = "" if header == _NO_HEADER else ",".join(request.headers.getlist(header))
    last = said.rpartition(",")[2].strip() or (request.client.host if request.client else "")
    try:
        address: IPv4Address | IPv6Address = ip_address(last)
    except ValueError:
        return "nowhere"
    if isinstance(address, IPv6Address):
        return str(address.ipv4_mapped or int(address) >> (128 - _PREFIX))
    return str(address)
