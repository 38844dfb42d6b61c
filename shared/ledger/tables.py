"""The ledger's tables. Times are epoch milliseconds, documents are JSON text, ids are text.

``grants`` and ``sides`` are the work: a row that is not settled is found by whoever looks, whatever happened to the
message that made it so. ``approvals`` and ``closes`` only grow. ``events`` is append-only and numbered per grant.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()

grants = Table(
    "grants",
    metadata,
    Column("grant_id", String(40), primary_key=True),
    Column("ecr_id", String(64), nullable=False),
    Column("ecr_owner_uid", String(20), nullable=False),
    Column("instance_type", String(8), nullable=False),
    Column("instance_id", String(64), nullable=False),
    Column("instance_region", String(64), nullable=False),
    Column("instance_owner_uid", String(20), nullable=False),
    Column("generation", Integer, nullable=False),  # raised by every change of the leases
    Column("watermark", BigInteger),  # leases approved at or before it are dead
    Column("last_number", Integer, nullable=False),  # of this grant's events
    Column("created_at", BigInteger, nullable=False),
)

sides = Table(
    "sides",
    metadata,
    Column("grant_id", ForeignKey("grants.grant_id"), primary_key=True),
    Column("side", String(16), primary_key=True),  # grant: account B; associate: account A
    Column("observed_generation", Integer, nullable=False),
    Column("observed_wanted", Text),  # what was wanted when this side last settled
    Column("state", String(32), nullable=False),  # as last read: unknown, absent, present, or the platform's status
    Column("ours", Boolean),  # whether we made what is there; unknown until something is
    Column("association_id", String(64)),
    Column("seen_at", BigInteger),
    Column("attempts", Integer, nullable=False),
    Column("next_at", BigInteger),  # when to look again
    Column("waiting_since", BigInteger),  # since when this side has been unsettled
    Column("claimed_by", String(64)),
    Column("claimed_until", BigInteger),
    Column("knocks", Integer, nullable=False),  # wakes that found the row claimed
    Column("trouble", Text),  # the last reason for looking again, or for being dead
    Column("dead_at", BigInteger),
    Column("drift", Text),  # how the cloud was found to differ from what had settled; empty when it does not
)
Index("sides_next", sides.c.side, sides.c.next_at)

approvals = Table(
    "approvals",
    metadata,
    Column("approval_id", String(64), primary_key=True),  # digest over issuer, request id and content
    Column("issuer", String(200), nullable=False),
    Column("request_id", String(128), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("action", String(16), nullable=False),
    Column("grant_id", ForeignKey("grants.grant_id"), nullable=False),
    Column("approved_at", BigInteger, nullable=False),
    Column("ends_at", BigInteger),
    Column("on_end", String(16), nullable=False),
    Column("allowed_prefixes", Text, nullable=False),
    Column("content", Text, nullable=False),
    Column("message_id", String(200), nullable=False),
    Column("admitted_at", BigInteger, nullable=False),
    Column("held_until", BigInteger),  # dated too far ahead: without effect until then
    Column("warned_at", BigInteger),  # its end was announced
    Column("overdue_at", BigInteger),  # its end came and it stays up
    Column("ended_at", BigInteger),  # its end came and it is torn down
    Column("outcome", String(16)),  # done, rejected or dead; empty while the work goes on
    UniqueConstraint("issuer", "request_id", "digest"),
)
Index("approvals_grant", approvals.c.grant_id)
Index("approvals_request", approvals.c.issuer, approvals.c.request_id)

closes = Table(  # a close names a lease, and may come before it
    "closes",
    metadata,
    Column("issuer", String(200), primary_key=True),
    Column("request_id", String(128), primary_key=True),
    Column("closed_by", String(64), nullable=False),
    Column("closed_at", BigInteger, nullable=False),
)

intents = Table(
    "intents",
    metadata,
    Column("intent_id", String(64), primary_key=True),  # also the client token: kept across retries, never reused
    Column("grant_id", ForeignKey("grants.grant_id"), nullable=False),
    Column("side", String(16), nullable=False),
    Column("operation", String(32), nullable=False),
    Column("generation", Integer, nullable=False),
    Column("made_at", BigInteger, nullable=False),  # at the latest
    Column("prefixes", Text, nullable=False),  # what an association was asked for
    Column("served", Text),  # the call that carried it out
    Column("result", String(16)),  # landed, refused, lost; empty while it may still land
    Column("resolved_at", BigInteger),
)
Index("intents_grant", intents.c.grant_id, intents.c.result)

events = Table(
    "events",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("event_id", String(64), nullable=False, unique=True),
    Column("grant_id", String(40)),
    Column("number", Integer),
    Column("kind", String(32), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
)
Index("events_grant", events.c.grant_id, events.c.seq)

chain = Table(  # one row: the end of the events' hash chain, and the lock that keeps them in order
    "chain",
    metadata,
    Column("name", String(16), primary_key=True),
    Column("seq", Integer, nullable=False),
    Column("hash", String(64), nullable=False),
)

settings = Table(  # what an operator may turn while everything runs
    "settings",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", String(64), nullable=False),
    Column("changed_at", BigInteger, nullable=False),
)

outbox = Table(
    "outbox",
    metadata,
    Column("seq", Integer, ForeignKey("events.seq"), primary_key=True, autoincrement=False),
    Column("published_at", BigInteger),
    Column("taken_until", BigInteger),  # somebody is publishing it
)
Index("outbox_waiting", outbox.c.published_at)
