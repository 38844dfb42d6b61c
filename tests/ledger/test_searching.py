"""What somebody finds who types a text: what it names, as far as they may see it, and by an index."""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sql

from shared.ledger.admission import admit
from shared.ledger.consent import add_facts
from shared.ledger.searching import instances_beginning, leases_beginning, named_exactly, people_seen
from shared.ledger.seeing import Scope
from shared.ledger.tables import approvals, grants, requests
from shared.ledger.transactions import Ledger
from shared.loop import searching
from shared.loop.searching import Findings, FoundKind, search
from tests.ledger.kit import NOW, Database, key
from tests.ledger.room import people_decide
from tests.ledger.test_bounded import plan, statements
from tests.ledger.test_seeing import ECR, OTHER_A, OTHER_B, OTHER_ECR, SCOPES, A, B, asked, lease, world

__all__ = ["world"]
GRANT = key("vpc-1").grant_id


def find(ledger: Ledger, text: str, who: str = "auditor") -> list[str]:
    """What is found, a word each."""
    return words(search(ledger, people_decide(), SCOPES[who], text))


def words(told: Findings) -> list[str]:
    """As they stand there."""
    return [f"{one.kind} {one.id}" for one in told.found]


FOUND: dict[str, tuple[str, list[str]]] = {
    "a grant by its id": (GRANT, [f"grant {GRANT}", "request r-1"]),
    "a part of one": (GRANT[:10], []),
    "an instance by its id": ("vpc-12", ["instance vpc-12"]),
    "how instances begin": (
        "vpc-1",
        ["instance vpc-1", *(f"instance vpc-1{number}" for number in range(3)), "request r-1"],
    ),
    "a request": ("REQ-12", ["lease REQ-12"]),
    "how requests begin": ("REQ-1", ["lease REQ-1", *(f"lease REQ-1{number}" for number in range(3))]),
    "one of the desk's": ("r-2", ["request r-2"]),
    "a listed router": (ECR, [f"router {ECR}"]),
    "how it begins": (ECR[:-3], [f"router {ECR}"]),
    "one that is not listed": (OTHER_ECR, [f"router {OTHER_ECR}"]),
    "a part of a name": ("ccoun", [f"account {A}", f"account {B}"]),
    "another way to write it": ("ACCOUNT", [f"account {A}", f"account {B}"]),
    "a uid": (A, [f"account {A}"]),
    "a person": ("requester", ["request r-2", "request r-1", "person requester"]),
    "a part of a person": ("quest", ["person requester"]),
    "one who is listed nowhere": ("somebody", ["request r-3", "person somebody"]),
    "one who said nothing": ("router-owner", []),
    "whole octets": ("10.12.", ["range 10.12.0.0/16"]),
    "an address": ("10.12.3.4", ["range 10.12.0.0/16"]),
    "a network within": ("10.12.16.0/20", ["range 10.12.0.0/16"]),
    "a network around": ("10.12.0.0/15", ["range 10.12.0.0/16"]),
    "what is closed": ("10.3.0.0/16", []),
    "no range": ("10.300.", []),
    "half an octet": ("10.1", []),
    "a sign of a database's": ("vpc_1", []),
    "another": ("%%%", []),
}


def test_whoever_sees_everything_finds_what_is_named(world: Ledger) -> None:
    """Kind by kind."""
    found = {what: sorted(find(world, text)) for what, (text, _) in FOUND.items()}
    assert found == {what: sorted(expected) for what, (_, expected) in FOUND.items()}


SEEN: dict[str, set[str]] = {
    "nobody": set(),
    "requester": {"instance vpc-1", "grant", "request r-1", "request r-2", "person requester", "range 10.99.0.0/16"},
    "owner of B": {
        "instance vpc-1",
        "grant",
        "request r-1",
        "person requester",
        "range 10.99.0.0/16",
        f"router {OTHER_ECR}",
    },
}


def test_others_find_what_they_may_see(world: Ledger) -> None:
    """The same, through every kind; and of what they may not see nothing, as of what is not there."""
    texts = (
        "vpc-1",
        GRANT,
        "r-1",
        "r-2",
        "requester",
        "10.99.",
        "somebody",
        "r-3",
        "vpc-12",
        OTHER_ECR,
        "REQ-12",
        "vpc-99",
    )
    for who, expected in SEEN.items():
        found = {one.replace(f"grant {GRANT}", "grant") for text in texts for one in find(world, text, who)}
        assert {one for one in found if not one.startswith("instance vpc-1") or one == "instance vpc-1"} == expected
    assert find(world, "vpc-1", "nobody") == find(world, "vpc-nowhere", "nobody") == []


def test_every_row_leads_to_a_page(world: Ledger) -> None:
    """With what it names as it is written in an address."""
    told = search(world, people_decide(), SCOPES["auditor"], "requester")
    assert {one.where for one in told.found} == {"/requests/r-1", "/requests/r-2", "/requests?person=requester"}
    (found,) = search(world, people_decide(), SCOPES["auditor"], "vpc-12").found
    assert (found.where, found.detail) == ("/grants?instance=vpc-12", f"VPC in cn-hangzhou of {OTHER_B}")
    (found,) = search(world, people_decide(), SCOPES["auditor"], "10.12.3.4").found
    assert found.where.startswith("/grants/g-")
    assert found.detail == "around 10.12.3.4/32"


def test_a_few_of_each_are_told(world: Ledger) -> None:
    """Those with the whole name first; and that there is more."""
    for number in range(100, 100 + searching.MOST + 5):
        world.write(admit, lease(f"REQ-{number}", f"vpc-{number}"), f"more-{number}", NOW, world.timing)
    told = search(world, people_decide(), SCOPES["auditor"], "vpc-1")
    assert words(told)[0] == "instance vpc-1"
    assert told.more == (FoundKind.INSTANCE,)
    assert len([one for one in told.found if one.kind is FoundKind.INSTANCE]) == searching.MOST


def test_what_was_not_looked_for_is_said(world: Ledger) -> None:
    """A text that no id begins with is no fault."""
    assert search(world, people_decide(), SCOPES["auditor"], "vpc").passed == ()
    assert "ids were not looked for" in search(world, people_decide(), SCOPES["auditor"], "研发").passed[0]


def test_batches_are_found_by_their_whole_name(world: Ledger) -> None:
    """By whoever may see a request of them."""
    fact = asked("r-9", "requester", "vpc-1").model_copy(update={"batch": "b-1234"})
    world.write(add_facts, "r-9", lambda _: [fact])
    assert find(world, "b-1234") == ["request r-9", "batch b-1234"]
    assert find(world, "b-1234", "nobody") == []


def test_at_most_five_statements(world: Ledger) -> None:
    """However long the text finds things."""
    for text in ("vpc-1", "10.12.", "requester", GRANT):
        find(world, text)
        with statements(world) as sent:
            find(world, text)
        assert len([one for one, _ in sent if "BEGIN" not in one]) <= 5


def test_each_goes_by_an_index(world: Ledger, database: Database) -> None:
    """No table is read whole for a name."""
    for who in ("auditor", "owner of B", "owner of many"):
        _by_an_index(world, database, SCOPES[who])


def _by_an_index(world: Ledger, database: Database, scope: Scope) -> None:
    asks: dict[str, Callable[[], object]] = {
        "grants_": lambda: world.glance(named_exactly, scope, GRANT),
        "grants_of_": lambda: world.glance(instances_beginning, scope, "vpc-1", 20),
        "leases_of_": lambda: world.glance(leases_beginning, scope, "REQ-1", 20),
        "requests_of_requester": lambda: world.glance(people_seen, scope, ["requester", "somebody"]),
    }
    for index, ask in asks.items():
        with statements(world) as sent:
            ask()
        [(statement, parameters)] = [one for one in sent if "BEGIN" not in one[0]]
        found = plan(database, statement, parameters)
        assert index in found, found
        for table in (approvals, grants, requests):
            assert f"Seq Scan on {table.name}" not in found, found
            assert f"SCAN {table.name}\n" not in found + "\n", found


def test_a_name_is_compared_letter_by_letter(world: Ledger) -> None:
    """What looks for a pattern in it finds none."""
    assert find(world, "vpc-_") == []
    named = world.read(named_exactly, SCOPES["auditor"], "%")
    assert (named.grant, named.router, named.batch) == (None, None, None)
    with world.engine.connect() as connection:
        assert connection.execute(sql.select(sql.func.count()).select_from(grants)).scalar_one() == 12
    assert {A, B} != {OTHER_A, OTHER_B}
