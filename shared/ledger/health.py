"""Whether the ledger is well, as far as a few statements show it: its record's end, its clock, how it is reached."""

from __future__ import annotations

import time
from ipaddress import ip_address

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from shared.ledger.record import START_OF_CHAIN, chained
from shared.ledger.tables import chain, events
from shared.rules.health import Transport


def end_fault(connection: Connection) -> str | None:
    """What is wrong with the end of the record, as a sentence; None when the last event and the end of the chain agree.

    Two statements: what lies before the end is ``shared.ledger.proof``'s to prove.
    """
    end = connection.execute(sql.select(chain).where(chain.c.name == "events")).one_or_none()
    last = connection.execute(sql.select(events).order_by(events.c.seq.desc()).limit(1)).one_or_none()
    if end is None:
        return "the end of the chain is missing"
    seq, hashed = (0, START_OF_CHAIN) if last is None else (last.seq, last.hash)
    if end.seq != seq:
        return f"the chain ends with event {end.seq}, and the last event is {seq}"
    if end.hash != hashed:
        return f"the end of the chain is not the hash of event {seq}"
    if last is not None and last.hash != chained(last.previous, last.seq, last.digest):
        return f"event {seq} is not what was recorded"
    return None


def end_of(connection: Connection) -> int:
    """The number of the last event."""
    return int(connection.execute(sql.select(chain.c.seq).where(chain.c.name == "events")).scalar_one())


def clock_ahead(connection: Connection) -> float | None:
    """By how many seconds the database's clock is ahead of this machine's; None where it is this machine's."""
    if connection.dialect.name != "postgresql":
        return None
    before = time.time()
    there = connection.execute(sql.text("SELECT now()")).scalar_one().timestamp()
    return float(there - (before + time.time()) / 2)


def transport(connection: Connection) -> Transport:
    """How the database is reached (PostgreSQL, "pg_stat_ssl" and "inet_server_addr")."""
    url = connection.engine.url
    if connection.dialect.name != "postgresql":
        return Transport(here=True, mode="", used=False)
    used = connection.execute(sql.text("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")).scalar()
    mode = url.query.get("sslmode", "prefer")
    host = url.host or str(url.query.get("host", ""))
    return Transport(here=_here(host), mode=mode if isinstance(mode, str) else mode[-1], used=bool(used))


def _here(host: str) -> bool:
    """Whether a host is this machine: a socket's folder, no name at all, or a loopback address."""
    if host in ("", "localhost") or host.startswith("/"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
