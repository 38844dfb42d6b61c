"""What the page looks at: what ends by an index, what a request is about, each word that was said for a
side, figures; what operators say, and what reconcile found last.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_OPEN = sa.text("carried_out_at IS NULL")
_DRIFTED = sa.text("drift IS NOT NULL")


def before() -> None:
    """Code of before does not mind an index, leaves empty what a request is about, and writes no word as a row: until this
    version's code runs alone ``ledger verify`` names both.
    """
    _index("approvals_ending", "approvals", ["ends_at", "approval_id"], "open AND ends_at IS NOT NULL")
    _index("approvals_done", "approvals", ["outcome_at"], "outcome = 'done' AND action = 'grant'")
    _index("events_granted", "events", ["grant_id", "at"], "kind = 'granted'")
    op.create_index("intents_made", "intents", ["made_at"], unique=False)
    for name, length in (("ecr_id", 64), ("instance_id", 64)):
        op.add_column("requests", sa.Column(name, sa.String(length=length), nullable=True))
    op.create_index("requests_of_grant", "requests", ["grant_id", "asked_at", "request_id"], unique=False)
    _index("requests_ended", "requests", ["ended_at"], "ended_at IS NOT NULL")
    for name, column in (("requests_named", "request_id"), ("requests_of_instance", "instance_id")):
        begins = {column: "varchar_pattern_ops"}
        op.create_index(name, "requests", [column], unique=False, postgresql_ops=begins)
    op.create_table(
        "decisions",
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("request_id", sa.String(length=128), nullable=False),
        sa.Column("grant_id", sa.String(length=40), nullable=False),
        sa.Column("ecr_owner_uid", sa.String(length=20), nullable=False),
        sa.Column("instance_owner_uid", sa.String(length=20), nullable=False),
        sa.Column("requester", sa.String(length=200), nullable=False),
        sa.Column("side", sa.String(length=16), nullable=False),
        sa.Column("person", sa.String(length=200), nullable=False),
        sa.Column("instead_of", sa.String(length=200), nullable=True),
        sa.Column("agrees", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("strength", sa.String(length=16), nullable=False),
        sa.Column("relay", sa.String(length=200), nullable=True),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_index("decisions_newest", "decisions", ["at", "seq"], unique=False)
    for name in ("person", "requester", "instance_owner_uid", "ecr_owner_uid", "grant_id"):
        what = name.removesuffix("_uid").removesuffix("_id")
        op.create_index(f"decisions_of_{what}", "decisions", [name, "at", "seq"], unique=False)
    op.create_table(
        "figures",
        sa.Column("at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("at", "name"),
    )
    _operating()
    _fill_in()


def _operating() -> None:
    """What operators say, and what reconcile found last. Code of before takes an operator's word for a fact that it cannot read,
    and says so; the word waits until this version's code carries it out.
    """
    op.create_table(
        "operations",
        sa.Column("operation_id", sa.String(length=22), nullable=False),
        sa.Column("word", sa.String(length=16), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=True),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("side", sa.String(length=16), nullable=True),
        sa.Column("mode", sa.String(length=16), nullable=True),
        sa.Column("everything", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.String(length=1000), nullable=False),
        sa.Column("who", sa.String(length=200), nullable=False),
        sa.Column("said_at", sa.BigInteger(), nullable=False),
        sa.Column("ecr_owner_uid", sa.String(length=20), nullable=True),
        sa.Column("instance_owner_uid", sa.String(length=20), nullable=True),
        sa.Column("carried_out_at", sa.BigInteger(), nullable=True),
        sa.Column("outcome", sa.String(length=16), nullable=True),
        sa.Column("code", sa.String(length=64), nullable=True),
        sa.Column("text", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("operation_id"),
    )
    said = ["said_at", "operation_id"]
    op.create_index("operations_open", "operations", said, unique=False, sqlite_where=_OPEN, postgresql_where=_OPEN)
    op.create_index("operations_said", "operations", said, unique=False)
    for name in ("who", "instance_owner_uid", "ecr_owner_uid"):
        index = f"operations_of_{name.removesuffix('_uid')}"
        op.create_index(index, "operations", [name, *said], unique=False)
    op.create_table(
        "told",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_index(
        "sides_drifted",
        "sides",
        ["grant_id", "side"],
        unique=False,
        sqlite_where=_DRIFTED,
        postgresql_where=_DRIFTED,
    )


def _index(name: str, table: str, columns: list[str], only: str) -> None:
    sqlite = only.replace("open AND", "open = 1 AND")
    op.create_index(name, table, columns, unique=False, sqlite_where=sa.text(sqlite), postgresql_where=sa.text(only))


_APART = "\ufffd"


def _said(*path: str) -> str:
    """A text of a fact's body, as the database reads JSON. PostgreSQL reads none with a null character, which some were taken
    with: it is told as in ``ledger.decisions``. Bodies are ASCII, so what stands for an escaped backslash meanwhile is in none.
    """
    body = rf"replace(replace(replace(consent.body, '\\', '{_APART}'), '\u0000', '\ufffd'), '{_APART}', '\\')"
    if op.get_bind().dialect.name == "postgresql":
        return f"({body}::jsonb #>> '{{{','.join(path)}}}')"
    return f"json_extract({body}, '$.{'.'.join(path)}')"


def _fill_in() -> None:
    """What the facts say, as far as they were heard."""
    asked = "FROM consent WHERE consent.request_id = requests.request_id AND consent.kind = 'asked'"
    for name, path in (("ecr_id", ("wish", "ecr", "id")), ("instance_id", ("wish", "instance", "id"))):
        first = f"(SELECT {_said(*path)} {asked} ORDER BY consent.seq LIMIT 1)"
        op.execute(f"UPDATE requests SET {name} = {first} WHERE {name} IS NULL")  # noqa: S608  # of our own names
    yes = "'true'" if op.get_bind().dialect.name == "postgresql" else "1"
    values = {
        "seq": "consent.seq",
        "at": "consent.at",
        "request_id": "consent.request_id",
        "grant_id": "requests.grant_id",
        "ecr_owner_uid": "requests.ecr_owner_uid",
        "instance_owner_uid": "requests.instance_owner_uid",
        "requester": "requests.requester",
        "side": _said("side"),
        "person": _said("by", "person"),
        "instead_of": _said("instead_of"),
        "agrees": f"{_said('agrees')} = {yes}",
        "reason": _said("reason"),
        "strength": _said("by", "strength"),
        "relay": _said("by", "relay"),
    }
    op.execute(
        f"INSERT INTO decisions ({', '.join(values)}) SELECT {', '.join(values.values())}"  # noqa: S608  # of our own names
        " FROM consent JOIN requests ON requests.request_id = consent.request_id"
        " WHERE consent.kind = 'decided' AND consent.seq <= requests.heard"
        " AND NOT EXISTS (SELECT 1 FROM decisions WHERE decisions.seq = consent.seq)"
    )


def upgrade() -> None:
    """What code of before has heard meanwhile."""
    _fill_in()
