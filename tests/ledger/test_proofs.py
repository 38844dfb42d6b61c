"""Nothing is made for a lease that is not what its issuer sealed, however its row came to be; what stands for it is kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import sqlalchemy as sql

from bench.calm import CalmCloud
from examples.keys import key as example_key
from shared.errors import NotAllowed, SealRefused
from shared.ledger.operating import dead_rows, redrive
from shared.ledger.proof import first_fault
from shared.ledger.rows import raise_generation
from shared.ledger.tables import approvals
from shared.ledger.transactions import Ledger
from shared.loop.visits import Outcome
from shared.rules.configuration import Configuration
from shared.rules.facts import Side
from tests import configured
from tests.ledger.gated import ACCOUNTS, Gated, apply, content, seal_of
from tests.ledger.kit import HOUR, NOW, Database, closing, grant_id, key, opening

ROUTES, MORE = ("10.20.0.0/16",), ("10.30.0.0/16",)
DAY = 24 * HOUR


@pytest.fixture
def gated(ledger: Ledger) -> Gated:
    """The ledger behind its gate."""
    apply(ledger)
    return Gated(ledger)


def edit(database: Database, of: str = "REQ-1", **values: object) -> None:
    """What somebody with a pen in the database does to a lease."""
    with database.connected() as connection:
        if database.kind == "postgresql":
            connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        where = approvals.c.request_id == of, approvals.c.action == "grant"
        assert connection.execute(approvals.update().where(*where).values(**values)).rowcount == 1


def visits(gated: Gated, cloud: CalmCloud) -> list[Outcome]:
    """Both sides look, and do what is to be done."""
    return [gated.visit(cloud, side) for side in Side]


def look_again(gated: Gated) -> None:
    """The grant is looked at anew, as after every change and every repair."""
    gated.ledger.write(raise_generation, grant_id())


def up(gated: Gated) -> CalmCloud:
    """A cloud on which the first lease stands."""
    cloud = CalmCloud()
    gated.enter(opening())
    visits(gated, cloud)
    assert cloud.associations[key()].prefixes == ROUTES
    return cloud


EDITS: dict[str, Mapping[str, Any]] = {
    "issuer": {"issuer": "another"},
    "request_id": {"request_id": "REQ-9"},
    "digest": {"digest": "0" * 64},
    "approved_at": {"approved_at": NOW - 2 * HOUR},
    "ends_at": {"ends_at": NOW + 1000 * DAY},
    "ends_at to none": {"ends_at": None},
    "on_end": {"on_end": "report"},
    "allowed_prefixes": {"allowed_prefixes": '["0.0.0.0/1"]'},
    "allowed_prefixes to a text": {"allowed_prefixes": '"10.20.0.0/16"'},
    "no seal": {"seal": ""},
    "half a seal": {"seal": '{"payload": "e30"}'},
    "the seal of a revoke": {"seal": seal_of(closing("all"))},
    "the seal of another lease": {"seal": seal_of(opening("REQ-2"))},
    "the seal of another grant": {"seal": seal_of(opening(vpc="vpc-2"))},
    "a seal of its own": {"seal": seal_of(opening(), kid="mallory-1")},
    "a seal for another deployment": {"seal": seal_of(opening(), audience="somebody-elses")},
}


@pytest.mark.parametrize("how", EDITS)
def test_a_row_that_was_edited_makes_nothing_until_it_is_mended(gated: Gated, database: Database, how: str) -> None:
    """Each column that the seal speaks of; and with it as it was, the same lease comes up."""
    gated.enter(opening(ends_at=NOW + DAY, on_end="teardown"))
    (row,) = database.rows(sql.select(approvals))
    edit(database, **EDITS[how])
    cloud = CalmCloud()

    assert gated.visit(cloud, Side.GRANT) is Outcome.DEAD
    assert (cloud.granted, cloud.associations) == (set(), {})
    (dead,) = gated.ledger.read(dead_rows)
    assert dead.reason.code == "ProofBroken"
    assert gated.ledger.read(first_fault, [], None) is not None

    edit(database, str(EDITS[how].get("request_id", "REQ-1")), **{name: getattr(row, name) for name in EDITS[how]})
    assert gated.ledger.write(redrive, grant_id(), Side.GRANT, "operator", gated.now)
    visits(gated, cloud)
    assert set(cloud.associations) == {key()}
    assert gated.ledger.read(first_fault, [], None) is None


def test_a_lease_that_was_moved_to_another_grant_makes_nothing_there(gated: Gated, database: Database) -> None:
    """Its seal names the grant that it is for."""
    gated.enter(opening())
    gated.enter(opening("REQ-2", "vpc-2"))
    edit(database, grant_id=grant_id("vpc-2"))
    edit(database, "REQ-2", live=False, open=False)
    cloud = CalmCloud()
    gated.visit(cloud, Side.GRANT, "vpc-2")
    assert cloud.granted == set()
    assert "another grant" in gated.ledger.read(dead_rows)[0].reason.text


def test_a_lease_that_somebody_wrote_makes_nothing(gated: Gated, database: Database) -> None:
    """However like a true one it is: neither a grant of its own, nor a route beside a true one; verify names it."""
    cloud = up(gated)
    forge(database, "REQ-FORGED", prefixes='["10.30.0.0/16"]')
    look_again(gated)
    visits(gated, cloud)
    assert cloud.associations[key()].prefixes == ROUTES
    found = gated.ledger.read(first_fault, [], None)
    assert found is not None
    assert "'REQ-FORGED'" in found
    assert "never admitted" in found


def forge(database: Database, name: str, **more: object) -> None:
    """A row of somebody's own, after the true one's."""
    with database.connected() as connection:
        true = connection.execute(sql.select(approvals).where(approvals.c.request_id == "REQ-1")).one()._mapping
        values = {"approval_id": "forged", "request_id": name, "allowed_prefixes": more["prefixes"], "outcome": None}
        connection.execute(approvals.insert().values({**true, **values, "waits": True}))


def test_nothing_is_widened_and_everything_comes_down(gated: Gated, database: Database) -> None:
    """What stands for a lease is kept when its row is edited; and taken down when it is closed, for which no proof is asked."""
    cloud = up(gated)
    edit(database, allowed_prefixes='["10.0.0.0/8","10.20.0.0/16"]')
    look_again(gated)
    visits(gated, cloud)
    assert cloud.associations[key()].prefixes == ROUTES
    cloud.associations.clear()
    look_again(gated)
    visits(gated, cloud)
    assert cloud.associations == {}, "nor is it repaired"

    gated.enter(closing("all"))
    for side in (Side.ASSOCIATE, Side.GRANT):
        gated.visit(cloud, side)
    assert cloud.granted == set()


def test_a_good_lease_beside_a_broken_one_gets_its_own(gated: Gated, database: Database) -> None:
    """And no more; what is closed beside them goes, too."""
    gated.enter(opening())
    gated.enter(opening("REQ-2", prefixes=MORE))
    gated.enter(opening("REQ-3", prefixes=("10.40.0.0/16",)))
    edit(database, "REQ-2", seal="")
    cloud = CalmCloud()
    visits(gated, cloud)
    assert cloud.associations[key()].prefixes == (*ROUTES, "10.40.0.0/16")

    gated.enter(closing(["REQ-3"]))
    visits(gated, cloud)
    assert cloud.associations[key()].prefixes == ROUTES


def _tests(**key_changes: object) -> Configuration:
    entry = configured.rights("tests")
    entry["keys"]["keys"][0] |= key_changes
    return content(issuers={"tests": entry, "another": {"everyone": True}})


NEW_KEY = {"kid": "tests-2", "x": configured.public(example_key("tests-2"))}
BAD: dict[str, tuple[Configuration, str]] = {
    "key compromised": (_tests(state="compromised"), "KeyCompromised"),
    "key unlisted": (_tests(**NEW_KEY), "UnknownKey"),
    "key with another's half": (_tests(x=NEW_KEY["x"]), "SealForged"),
    "issuer unlisted": (configured.configuration(ACCOUNTS, issuers={"another": {"everyone": True}}), "UnknownKey"),
}


@pytest.mark.parametrize("how", BAD)
def test_a_key_that_is_believed_no_more_makes_nothing(gated: Gated, how: str) -> None:
    """What it sealed is not made, nor repaired; nothing is torn down by itself; who else may close does, and it comes down."""
    wanted, code = BAD[how]
    cloud = up(gated)
    gated.enter(opening("REQ-2", "vpc-2"))
    apply(gated.ledger, wanted)
    gated.gate.refresh()
    look_again(gated)
    visits(gated, cloud)
    for side in Side:
        gated.visit(cloud, side, "vpc-2")
    assert (cloud.granted, set(cloud.associations)) == ({key()}, {key()})
    cloud.associations.clear()
    look_again(gated)
    visits(gated, cloud)
    assert cloud.associations == {}
    for approval in (opening("REQ-3", "vpc-3"), closing("all")):
        with pytest.raises(SealRefused) as refused:
            gated.enter(approval)
        assert refused.value.code == code

    gated.enter(closing("everyone", issuer="another"))
    for side in (Side.ASSOCIATE, Side.GRANT):
        gated.visit(cloud, side)
    assert cloud.granted == set()


def test_what_a_retired_key_sealed_stands_and_is_repaired(gated: Gated) -> None:
    """It seals nothing new, and closes."""
    cloud = up(gated)
    apply(gated.ledger, _tests(state="retired"))
    gated.gate.refresh()
    cloud.associations.clear()
    look_again(gated)
    visits(gated, cloud)
    assert set(cloud.associations) == {key()}
    with pytest.raises(SealRefused, match="is retired"):
        gated.enter(opening("REQ-2"))
    assert gated.enter(closing("all")).new


def test_an_account_that_is_listed_no_more_gets_nothing(gated: Gated) -> None:
    """Although the loop that visits it had read the version before: the transaction that commits sees the newest one."""
    gated.enter(opening())
    hub = {uid: one for uid, one in ACCOUNTS.items() if "ecrs" in one}
    cloud = UnlistedMeanwhile(gated, content(hub))
    gated.visit(cloud, Side.GRANT)
    assert cloud.granted == set()


class UnlistedMeanwhile(CalmCloud):
    """A cloud that is looked at while somebody applies another configuration."""

    def __init__(self, gated: Gated, wanted: Configuration) -> None:
        super().__init__()
        self._gated, self._wanted = gated, wanted

    def look_at_spoke(self, *asked: Any) -> Any:
        """Account B's view, the first time after a while."""
        if self._gated.gate.standing.number == 1:
            apply(self._gated.ledger, self._wanted)
            self._gated.gate.refresh()
        return super().look_at_spoke(*asked)


class ListedMeanwhile(CalmCloud):
    """A cloud that could not be entered by the version before, while somebody applies the one that lists the account again."""

    def __init__(self, gated: Gated) -> None:
        super().__init__()
        self._gated, self._asked = gated, False

    def look_at_spoke(self, *asked: Any) -> Any:
        """The first time it is refused by what stood, and the next version stands by then."""
        if not self._asked:
            self._asked = True
            apply(self._gated.ledger)
            raise NotAllowed("instance.owner_uid: the account is not listed in the inventory")
        return super().look_at_spoke(*asked)


def test_nothing_is_refused_for_good_by_a_version_that_stands_no_more(gated: Gated) -> None:
    """The transaction that would record the refusal sees the newer one, and it is decided again."""
    gated.enter(opening())
    cloud = ListedMeanwhile(gated)
    visits(gated, cloud)
    assert cloud.associations[key()].prefixes == ROUTES
    assert gated.ledger.read(dead_rows) == []


def test_an_early_lease_that_somebody_brought_forward_makes_nothing(gated: Gated, database: Database) -> None:
    """Its row says that it counts, its seal says from when."""
    gated.enter(opening(approved_at=NOW + DAY))
    edit(database, early_until=None, live=True, due_at=None)
    look_again(gated)
    cloud = CalmCloud()
    visits(gated, cloud)
    assert cloud.granted == set()
    assert "has no effect yet" in gated.ledger.read(dead_rows)[0].reason.text
