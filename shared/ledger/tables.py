"""The ledger's tables. Times are epoch milliseconds, documents are JSON text, ids are text.

``grants`` and ``sides`` are the work: a row that is not settled is found by whoever looks, whatever happened to the message
that made it so. ``approvals``, ``closes`` and ``marks`` only grow. ``events`` is append-only, numbered per grant, and proves
what decides: ``proof`` recomputes it. What is asked again and again is asked of what is open: partial indexes keep it apart
from all that ever was.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sql
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

EVERYONE = "*"
"""Whose leases a mark closes when it closes everybody's: no issuer has that name."""


def _index(name: str, *columns: Column[Any], only: str, **options: Any) -> None:
    """An index of some rows, said to both databases."""
    yes = only if " " in only else f"{only} = 1"  # as each database asks for a truth, so that it finds the index
    Index(name, *columns, sqlite_where=sql.text(yes), postgresql_where=sql.text(only), **options)


def _beginning(column: Column[Any]) -> dict[str, Any]:
    """By how texts begin, whatever PostgreSQL's collation is; SQLite's indexes can do that anyway."""
    return {"postgresql_ops": {column.name: "varchar_pattern_ops"}}


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
    Column("generation", Integer, nullable=False),  # raised by every change of the leases, and by repair
    Column("last_number", Integer, nullable=False),  # of this grant's events
    Column("created_at", BigInteger, nullable=False),
    Column("shown", Boolean, nullable=False),  # whether anything is wanted, up, under way or found: else it is history
)
_index("grants_shown", grants.c.grant_id, only="shown")
Index("grants_of_instance", grants.c.instance_id, **_beginning(grants.c.instance_id))
Index("grants_of_ecr", grants.c.ecr_id, grants.c.grant_id, **_beginning(grants.c.ecr_id))
Index("grants_of_instance_owner", grants.c.instance_owner_uid, grants.c.grant_id)
Index("grants_of_ecr_owner", grants.c.ecr_owner_uid, grants.c.grant_id)

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
    Column("prefixes", Text),  # as last read, of an association
    Column("since", BigInteger),  # when what is there was made, as the platform says
    Column("seen_at", BigInteger),
    Column("unsettled", Boolean, nullable=False),  # whether this side has something to do
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
_index("sides_unsettled", sides.c.waiting_since, sides.c.grant_id, only="unsettled")
_index("sides_dead", sides.c.dead_at, only="dead_at IS NOT NULL")
_index("sides_drifted", sides.c.grant_id, sides.c.side, only="drift IS NOT NULL")

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
    Column("mark", BigInteger),  # of a revoke: what was approved until then is closed; fixed at admission
    Column("early_until", BigInteger),  # dated too far ahead: without effect until then
    Column("closed_by", String(64)),  # the revoke that closed this lease, or the lease that replaces it
    Column("live", Boolean, nullable=False),  # whether this lease counts
    Column("open", Boolean, nullable=False),  # whether it counts, or will: what a revoke can close
    Column("due_at", BigInteger),  # when time does something to it next
    Column("warned_at", BigInteger),  # its end was announced
    Column("overdue_at", BigInteger),  # its end came and it stays up
    Column("ended_at", BigInteger),  # its end came and it is torn down
    Column("outcome", String(16)),  # done, rejected or dead; empty while the work goes on
    Column("outcome_at", BigInteger),
    Column("asked_again", String(200)),  # by this message, after the outcome: to be answered from what holds then
    Column("waits", Boolean, nullable=False),  # whether it has no final outcome, or was asked again
    Column("seal", Text, nullable=False),  # the approval as it was sealed and came
    Column("configuration", Integer, nullable=False),  # the version that it was admitted under
    Column("ecr_owner_uid", String(20)),  # as its grant has both, so that what an account sees is one index
    Column("instance_owner_uid", String(20)),
    UniqueConstraint("issuer", "request_id", "digest"),
)
_index("approvals_open", approvals.c.grant_id, only="open")
_index("approvals_due", approvals.c.due_at, only="due_at IS NOT NULL")
_index("approvals_waiting", approvals.c.grant_id, approvals.c.admitted_at, approvals.c.approval_id, only="waits")
Index(
    "approvals_done",
    approvals.c.outcome_at,
    sqlite_where=sql.text("outcome = 'done' AND action = 'grant'"),
    postgresql_where=sql.text("outcome = 'done' AND action = 'grant'"),
)
_index("approvals_closed", approvals.c.closed_by, only="closed_by IS NOT NULL")
Index(
    "approvals_ending",
    approvals.c.ends_at,
    approvals.c.approval_id,
    sqlite_where=sql.text("open = 1 AND ends_at IS NOT NULL"),
    postgresql_where=sql.text("open AND ends_at IS NOT NULL"),
)
Index("approvals_of_grant", approvals.c.grant_id, approvals.c.admitted_at)
Index("approvals_request", approvals.c.issuer, approvals.c.request_id)
LEASES = "action = 'grant'"
"""Which approvals are leases, as their indexes ask it: a query has to say it in the same words."""
_NEWEST = (approvals.c.open, approvals.c.admitted_at, approvals.c.approval_id)
_index("leases_newest", *_NEWEST, only=LEASES)
_index("leases_of_instance_owner", approvals.c.instance_owner_uid, *_NEWEST, only=LEASES)
_index("leases_of_ecr_owner", approvals.c.ecr_owner_uid, *_NEWEST, only=LEASES)
_index("leases_of_request", approvals.c.request_id, only=LEASES, **_beginning(approvals.c.request_id))

closes = Table(  # a close names a lease of its issuer on its grant, and may come before it
    "closes",
    metadata,
    Column("grant_id", ForeignKey("grants.grant_id"), primary_key=True),
    Column("issuer", String(200), primary_key=True),
    Column("request_id", String(128), primary_key=True),
    Column("closed_by", String(64), nullable=False),
    Column("closed_at", BigInteger, nullable=False),
)

marks = Table(  # leases of this issuer that were approved at or before it are closed; issuer *: of every issuer
    "marks",
    metadata,
    Column("grant_id", ForeignKey("grants.grant_id"), primary_key=True),
    Column("issuer", String(200), primary_key=True),
    Column("mark", BigInteger, nullable=False),
    Column("set_by", String(64), nullable=False),
)

holds = Table(  # what a person froze
    "holds",
    metadata,
    Column("kind", String(16), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("everything", Boolean, nullable=False),
    Column("who", String(200), nullable=False),
    Column("reason", String(1000), nullable=False),
    Column("at", BigInteger, nullable=False),
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
    Column("matters", Boolean, nullable=False),  # whether a look may still have to be compared with it
    Column("configuration", Integer, nullable=False),  # the version that it was decided under
)
_index("intents_matter", intents.c.grant_id, only="matters")
Index("intents_made", intents.c.made_at)
Index("intents_generation", intents.c.grant_id, intents.c.generation)

events = Table(
    "events",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("event_id", String(64), nullable=False, unique=True),
    Column("grant_id", String(40)),
    Column("number", Integer),
    Column("kind", String(32), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("body", Text, nullable=False),  # what is published, or the fact alone
    Column("facts", Text),  # what only the record needs
    Column("digest", String(64), nullable=False),  # of body and facts: they may go one day, it stays
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
)
Index("events_grant", events.c.grant_id, events.c.seq)
_index("events_granted", events.c.grant_id, events.c.at, only="kind = 'granted'")

chain = Table(  # one row: the end of the events' hash chain, and the lock that keeps them in order
    "chain",
    metadata,
    Column("name", String(16), primary_key=True),
    Column("seq", Integer, nullable=False),
    Column("hash", String(64), nullable=False),
)

configurations = Table(  # what an operator decides, version by version
    "configurations",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("digest", String(64), nullable=False),
    Column("previous", String(64), nullable=False),  # the digest of the version before; empty for the first
    Column("bundle", Text, nullable=False),  # as it was signed
    Column("applied_at", BigInteger, nullable=False),
    Column("applied_by", String(200), nullable=False),
)

settings = Table(  # what an operator may turn while all runs; the newest configuration's number; the deployment's id
    "settings",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", String(64), nullable=False),
    Column("changed_at", BigInteger, nullable=False),
)

accepts = Table(  # which revisions of the code may work on this ledger
    "accepts",
    metadata,
    Column("name", String(16), primary_key=True),
    Column("oldest", Integer, nullable=False),
    Column("newest", Integer, nullable=False),
)

outbox = Table(  # completions that are still to be published; what is out leaves
    "outbox",
    metadata,
    Column("seq", Integer, ForeignKey("events.seq"), primary_key=True, autoincrement=False),
    Column("taken_until", BigInteger),  # somebody is publishing it
)

consent = (
    Table(  # what people said: facts that only grow, a chain of their own that the desk may add to and nothing else
        "consent",
        metadata,
        Column("seq", Integer, primary_key=True, autoincrement=False),
        Column("fact_id", String(64), nullable=False, unique=True),
        Column("request_id", String(128), nullable=False),
        Column("kind", String(16), nullable=False),
        Column("at", BigInteger, nullable=False),
        Column("body", Text, nullable=False),
        Column("previous", String(64), nullable=False),
        Column("hash", String(64), nullable=False),
    )
)
Index("consent_request", consent.c.request_id, consent.c.seq)

requests = Table(  # how each request stands, as the grant function has heard it: a projection of the facts
    "requests",
    metadata,
    Column("request_id", String(128), primary_key=True),
    Column("batch", String(128)),
    Column("grant_id", String(40), nullable=False),  # perhaps of a grant that nobody has opened yet
    Column("ecr_owner_uid", String(20), nullable=False),
    Column("instance_owner_uid", String(20), nullable=False),
    Column("ecr_id", String(64)),  # both as the wish names them, so that a list can say what it is about
    Column("instance_id", String(64)),
    Column("kind", String(16), nullable=False),
    Column("requester", String(200), nullable=False),
    Column("asked_at", BigInteger, nullable=False),
    Column("stage", String(16), nullable=False),
    Column("round", Integer, nullable=False),
    Column("due_at", BigInteger),  # when time does something to it next: a reminder, or its lapse; empty once it ended
    Column("reminded", Integer, nullable=False),
    Column("heard", Integer, nullable=False),  # its last fact that this row reckons with
    Column("ended_at", BigInteger),
    Column("emergency", Boolean, nullable=False),
    Column("review_at", BigInteger),  # until when an emergency that was approved is to be reviewed; empty once it was
)
_index("requests_reviewed", requests.c.grant_id, only="review_at IS NOT NULL")
_index("requests_due", requests.c.due_at, only="due_at IS NOT NULL")
_index("requests_open", requests.c.grant_id, only="due_at IS NOT NULL")
Index("requests_of_batch", requests.c.batch, requests.c.request_id)
_index("requests_ended", requests.c.ended_at, only="ended_at IS NOT NULL")
Index("requests_named", requests.c.request_id, **_beginning(requests.c.request_id))
Index("requests_of_instance", requests.c.instance_id, **_beginning(requests.c.instance_id))
Index("requests_of_grant", requests.c.grant_id, requests.c.asked_at, requests.c.request_id)
Index("requests_asked", requests.c.asked_at, requests.c.request_id)
for _name in ("requester", "instance_owner_uid", "ecr_owner_uid"):
    Index(f"requests_of_{_name.removesuffix('_uid')}", requests.c[_name], requests.c.asked_at, requests.c.request_id)

operations = Table(  # what operators said at the desk, and what became of it: a projection of those facts and of events
    "operations",
    metadata,
    Column("operation_id", String(22), primary_key=True),
    Column("word", String(16), nullable=False),
    Column("kind", String(16)),
    Column("name", String(64), nullable=False),
    Column("side", String(16)),
    Column("mode", String(16)),
    Column("everything", Boolean, nullable=False),
    Column("reason", String(1000), nullable=False),
    Column("who", String(200), nullable=False),
    Column("said_at", BigInteger, nullable=False),
    Column("ecr_owner_uid", String(20)),  # whose it is what it is about
    Column("instance_owner_uid", String(20)),
    Column("carried_out_at", BigInteger),  # empty while it waits
    Column("outcome", String(16)),
    Column("code", String(64)),
    Column("text", Text),
)
_index("operations_open", operations.c.said_at, operations.c.operation_id, only="carried_out_at IS NULL")
Index("operations_said", operations.c.said_at, operations.c.operation_id)
for _name in ("who", "instance_owner_uid", "ecr_owner_uid"):
    _of = f"operations_of_{_name.removesuffix('_uid')}"
    Index(_of, operations.c[_name], operations.c.said_at, operations.c.operation_id)

told = Table(  # what was found of the deployment last, for whoever looks at the desk: reconcile's words
    "told",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("value", Text, nullable=False),
)

decisions = Table(  # each word for a side, as the grant function has heard it: a projection of the facts
    "decisions",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),  # its place in the consent chain
    Column("at", BigInteger, nullable=False),
    Column("request_id", String(128), nullable=False),
    Column("grant_id", String(40), nullable=False),
    Column("ecr_owner_uid", String(20), nullable=False),
    Column("instance_owner_uid", String(20), nullable=False),
    Column("requester", String(200), nullable=False),
    Column("side", String(16), nullable=False),
    Column("person", String(200), nullable=False),
    Column("instead_of", String(200)),
    Column("agrees", Boolean, nullable=False),
    Column("reason", Text, nullable=False),
    Column("strength", String(16), nullable=False),
    Column("relay", String(200)),
)
Index("decisions_newest", decisions.c.at, decisions.c.seq)
for _name in ("person", "requester", "instance_owner_uid", "ecr_owner_uid", "grant_id"):
    Index(
        f"decisions_of_{_name.removesuffix('_uid').removesuffix('_id')}",
        decisions.c[_name],
        decisions.c.at,
        decisions.c.seq,
    )

figures = Table(  # what the timer counted, the most of each hour: nothing is decided by it
    "figures",
    metadata,
    Column("at", BigInteger, primary_key=True, autoincrement=False),
    Column("name", String(32), primary_key=True),
    Column("value", BigInteger, nullable=False),
)

used = Table(  # what counts once, or so often, until a time: tokens, names of what was asked, callers; the desk's own
    "used",
    metadata,
    Column("kind", String(16), primary_key=True),
    Column("name", String(200), primary_key=True),
    Column("often", Integer, nullable=False),
    Column("until", BigInteger, nullable=False),
)
Index("used_until", used.c.until)
