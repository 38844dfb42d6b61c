"""How often the desk hears somebody is counted in the ledger, by all of its processes together, and forgotten with its minute."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import sqlalchemy as sql
from starlette.requests import Request

from shared.desk.callers import Caller, CallerKind
from shared.desk.limits import BUCKETS, WINDOW, Limits, source_of
from shared.desk.problems import NotSignedIn
from shared.errors import Throttled
from shared.ledger.tables import used
from shared.ledger.transactions import Ledger
from shared.ledger.used import Kind, use_once
from shared.settings import DeskSettings
from tests.ledger.kit import NOW, Database

BEGUN = NOW - NOW % WINDOW
PERSON = Caller(kind=CallerKind.PERSON, subject="sso:somebody", session="a-session")
SYSTEM = Caller(kind=CallerKind.SYSTEM, subject="tickets:somebody", system="tickets")


@dataclass
class Clock:
    """Time that is turned by hand."""

    now: int = BEGUN

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """At the beginning of a window."""
    return Clock()


@pytest.fixture
def ledger(database: Database) -> Iterator[Ledger]:
    """Of both kinds."""
    made = Ledger(database.url)
    yield made
    made.close()


def limits(ledger: Ledger, clock: Clock, calls: int = 10) -> Limits:
    """Those of one process of the desk."""
    settings = {
        "DESK_ADDRESS": "https://grants.example.com",
        "DESK_CLIENT_ID": "desk",
        "DESK_CLIENT_SECRET": "example",
        "DESK_KEYS": base64.b64encode(b"k" * 32).decode(),
        "DESK_CALLS": str(calls),
    }
    return Limits(DeskSettings.model_validate(settings), ledger, clock)


def call_from(address: str, *before: str, host: str = "10.0.0.1") -> Request:
    """A call with what the platform adds, behind what was there before."""
    headers = [(b"x-forwarded-for", ",".join([*before, address]).encode())] if address else []
    return Request({"type": "http", "headers": headers, "client": (host, 1), "method": "GET", "path": "/"})


def kept(ledger: Ledger) -> int:
    """How many rows there are."""
    return ledger.read(
        lambda connection: connection.execute(sql.select(sql.func.count()).select_from(used)).scalar_one()
    )


def test_processes_count_together_and_each_minute_anew(ledger: Ledger, clock: Clock) -> None:
    """The eleventh call of a minute is refused, by whichever process; the next minute's first is heard."""
    two = [limits(ledger, clock), limits(ledger, clock)]
    for number in range(10):
        two[number % 2].caller(SYSTEM)
        two[number % 2].stranger(call_from("203.0.113.1"))
    clock.now += WINDOW - 2_000
    for one in two:
        with pytest.raises(Throttled) as refused:
            one.caller(SYSTEM)
        assert refused.value.retry_after == 2
        with pytest.raises(Throttled):
            one.stranger(call_from("203.0.113.1", "198.51.100.7"))
        one.caller(PERSON)
        one.stranger(call_from("203.0.113.2"))
    clock.now = BEGUN + WINDOW
    two[0].caller(SYSTEM)
    two[1].stranger(call_from("203.0.113.1"))


def test_what_was_counted_is_forgotten(ledger: Ledger, clock: Clock) -> None:
    """With the first call of the next minute; nothing else is."""
    ours = limits(ledger, clock)
    for number in range(20):
        ours.stranger(call_from(f"203.0.113.{number}"))
    ledger.write(use_once, Kind.TOKEN, "tickets a-token", BEGUN + 5 * WINDOW, clock())
    assert kept(ledger) == 21
    clock.now += WINDOW
    ours.caller(SYSTEM)
    assert kept(ledger) == 2


def test_a_flood_is_refused_without_the_ledger(ledger: Ledger, clock: Clock) -> None:
    """Once an address has called too often, more of it costs the ledger nothing."""
    ours = limits(ledger, clock)
    for _ in range(10):
        ours.stranger(call_from("203.0.113.1"))
    for _ in range(20):
        with pytest.raises(Throttled):
            ours.stranger(call_from("203.0.113.1"))
    often = ledger.read(lambda connection: connection.execute(sql.select(used.c.often)).scalar_one())
    assert often == 11


def test_addresses_are_buckets_that_nobody_can_aim_at(ledger: Ledger, clock: Clock) -> None:
    """Their number is bounded, no address is kept, and the next minute mixes them anew."""
    ours = limits(ledger, clock)
    names = []
    for minute in range(2):
        clock.now = BEGUN + minute * WINDOW
        ours.stranger(call_from("203.0.113.1"))
        names.append(ledger.read(lambda connection: connection.execute(sql.select(used.c.name)).scalar_one()))
    assert len(set(names)) == 2
    assert all(int(name, 16) < BUCKETS and len(name) == 4 for name in names)


def test_a_session_that_was_ended_is_not_heard(ledger: Ledger, clock: Clock) -> None:
    """Until it would have ended by itself; another one is."""
    ours = limits(ledger, clock)
    ours.caller(PERSON)
    ledger.write(use_once, Kind.SESSION, PERSON.session, BEGUN + 3 * WINDOW, clock())
    for minute in range(3):
        clock.now = BEGUN + minute * WINDOW
        with pytest.raises(NotSignedIn):
            ours.caller(PERSON)
        ours.caller(PERSON.model_copy(update={"session": "another"}))


@pytest.mark.parametrize(
    ("request_", "source"),
    [
        pytest.param(call_from("203.0.113.1"), "203.0.113.1", id="what the platform says"),
        pytest.param(call_from("203.0.113.1", "10.9.9.9", "x"), "203.0.113.1", id="whatever was written before it"),
        pytest.param(call_from("", host="192.0.2.1"), "192.0.2.1", id="the other end, where there is no header"),
        pytest.param(call_from("unknown"), "nowhere", id="what is no address"),
        pytest.param(call_from("::ffff:203.0.113.1"), "203.0.113.1", id="an IPv4 address in IPv6"),
    ],
)
def test_where_a_call_comes_from(request_: Request, source: str) -> None:
    """The last value counts: it is the platform's."""
    assert source_of(request_, "X-Forwarded-For") == source


def test_a_network_of_ipv6_is_one_source() -> None:
    """Whoever has one has all its addresses."""
    sources = [source_of(call_from(f"2001:db8:{net}::{host}"), "X-Forwarded-For") for net in (1, 2) for host in (1, 2)]
    assert sources[0] == sources[1] != sources[2] == sources[3]
    assert source_of(call_from("203.0.113.1", host="192.0.2.1"), "none") == "192.0.2.1"
