"""Configurations: each is the successor of one, and is believed as far as its signatures go, whoever wrote its row."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import sqlalchemy as sql
from structlog.testing import capture_logs

from bench.calm import CalmCloud
from examples.keys import key as example_key
from shared.errors import GrantError, NotTheSuccessor, Unconfigured
from shared.ledger.configuration import Kept, apply_version, history, kept_version, list_versions, newest_number
from shared.ledger.heads import head_of
from shared.ledger.proof import first_fault
from shared.ledger.revision import CODE, GATED
from shared.ledger.tables import accepts, approvals, configurations, events, settings
from shared.ledger.transactions import Ledger
from shared.log import configure
from shared.loop.gate import Gate
from shared.loop.visits import Outcome
from shared.messages.configuration import payload, signed
from shared.rules.configuration import Configuration, digest_of
from shared.rules.facts import Side
from tests import configured
from tests.ledger.gated import ACCOUNTS, Gated, apply, content
from tests.ledger.kit import NOW, Database, check_order, closing, opening, read

SECOND = "tests-2"
BOTH = {**configured.CONFIG_KEYS, SECOND: configured.public(example_key(SECOND))}
EMPTY = {uid: one for uid, one in ACCOUNTS.items() if "ecrs" in one}
"""Account B is not listed any more."""


def version(
    number: int, previous: str, wanted: Configuration | None = None, signers: Sequence[str] = (configured.SIGNER,)
) -> Kept:
    """A version as it is applied."""
    raw, made = payload(number, previous, (wanted or content()).content), None
    for name in signers:
        made = signed(raw, name, example_key(name), made)
    assert made is not None
    return Kept(number, digest_of(raw), previous, made.text, NOW, "operator")


def applied(ledger: Ledger, one: Kept) -> Kept:
    """After it was admitted."""
    ledger.write(apply_version, one, signers=["tests-1"], difference=[], deployment=configured.DEPLOYMENT)
    return one


def three(ledger: Ledger, **more: Any) -> list[Kept]:
    """Three versions, one after the other."""
    made: list[Kept] = []
    for number in (1, 2, 3):
        made.append(applied(ledger, version(number, made[-1].digest if made else "", **more)))
    return made


# -- applying ----------------------------------------------------------------------------------------------------------


def test_a_version_is_an_event_and_the_heads_carry_its_number(ledger: Ledger, database: Database) -> None:
    """With its digest, who signed it and who applied it; and from the first on, older code is not accepted."""
    with database.connected() as connection:
        connection.execute(accepts.update().values(oldest=GATED - 1))
    try:
        assert (apply(ledger), apply(ledger)) == (1, 2)
        (row,) = database.rows(sql.select(accepts))
        assert (row.oldest, row.newest) == (GATED, CODE)
    finally:
        with database.connected() as connection:
            connection.execute(accepts.update().values(oldest=CODE))
    assert database.kinds() == ["configured", "configured"]
    assert ledger.read(head_of, NOW).configuration == 2
    assert ledger.read(first_fault, [], None) is None


@pytest.mark.parametrize(
    ("number", "previous"),
    [
        pytest.param(2, "the first's", id="applied already"),
        pytest.param(4, "the second's", id="a number is passed over"),
        pytest.param(3, "the first's", id="made for the one before"),
        pytest.param(1, "none", id="the first again"),
    ],
)
def test_what_is_no_successor_is_not_applied(ledger: Ledger, database: Database, number: int, previous: str) -> None:
    """Its number and what it was made for are the newest one's, or nothing is written; which one that is, is said."""
    first = applied(ledger, version(1, ""))
    second = applied(ledger, version(2, first.digest))
    digest = {"the first's": first.digest, "the second's": second.digest, "none": ""}[previous]
    before = database.everything()
    with pytest.raises(NotTheSuccessor, match=f"the newest version is version 2 with the digest {second.digest}"):
        applied(ledger, version(number, digest))
    assert database.everything() == before
    assert applied(ledger, version(3, second.digest)).number == ledger.read(newest_number)


def test_of_two_that_are_applied_at_once_one_wins(ledger: Ledger, database: Database) -> None:
    """Both were made for the same one; the other is told, and what it was is nowhere."""
    first = applied(ledger, version(1, ""))
    together, found = threading.Barrier(2), list[Kept | GrantError]()

    def race(one: Kept) -> None:
        together.wait()
        try:
            found.append(applied(ledger, one))
        except GrantError as error:
            found.append(error)

    threads = [threading.Thread(target=race, args=(version(2, first.digest, content(EMPTY)),)) for _ in range(2)]
    threads[1] = threading.Thread(target=race, args=(version(2, first.digest),))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (won,) = [one for one in found if isinstance(one, Kept)]
    assert [type(one) for one in found if one is not won] == [NotTheSuccessor]
    assert ledger.read(history) == [first, won]
    check_order(ledger, database)


def test_going_back_is_a_new_version(ledger: Ledger) -> None:
    """What the first one said holds again, under a number of its own."""
    apply(ledger)
    gated = Gated(ledger)
    apply(ledger, content(EMPTY))
    gated.gate.refresh()
    assert set(gated.gate.inventory.accounts) == set(EMPTY)
    assert apply(ledger) == 3
    gated.gate.refresh()
    assert (gated.gate.standing.number, set(gated.gate.inventory.accounts)) == (3, set(ACCOUNTS))


# -- what is believed --------------------------------------------------------------------------------------------------

Tamper = Callable[[sql.Connection, list[Kept]], object]


def _put(**values: object) -> Tamper:
    return lambda connection, _: connection.execute(
        configurations.update().where(configurations.c.number == 3).values(**values)
    )


def _altered(bundle: str) -> str:
    found = json.loads(bundle)
    first = found["signatures"][0]
    first["signature"] = ("A" if first["signature"][0] != "A" else "B") + first["signature"][1:]
    return json.dumps(found)


def _lowered(connection: sql.Connection, _: list[Kept]) -> None:
    connection.execute(settings.update().where(settings.c.name == "configuration").values(value="2"))


def _unreadable(connection: sql.Connection, _: list[Kept]) -> None:
    connection.execute(settings.update().where(settings.c.name == "configuration").values(value="newest"))


def _deleted(connection: sql.Connection, _: list[Kept]) -> None:
    connection.execute(configurations.delete().where(configurations.c.number == 3))


def _put_back(connection: sql.Connection, made: list[Kept]) -> None:
    _lowered(connection, made)
    _deleted(connection, made)


def _another(signer: str, key: str) -> Tamper:
    """A version of somebody's own in its place, whole but for who signed it."""

    def forge(connection: sql.Connection, made: list[Kept]) -> None:
        raw = payload(3, made[1].digest, content(EMPTY).content)
        text = signed(raw, signer, example_key(key)).text
        _put(bundle=text, digest=digest_of(raw))(connection, made)

    return forge


TAMPERED = [
    pytest.param(_deleted, "it is missing", 2, "configuration 3 is missing", id="its row deleted"),
    pytest.param(_lowered, "a newer one was applied", 3, "newest configuration is 2", id="the number lowered"),
    pytest.param(_unreadable, "configuration -1: ", 3, "newest configuration is -1", id="no number"),
    pytest.param(_put_back, "a newer one was applied", 2, "newest configuration is 2", id="the one before put back"),
    pytest.param(
        lambda connection, made: _put(bundle=made[1].bundle)(connection, made),
        "not the successor",
        2,
        "configuration 3 is not the one that was applied: it has another bundle",
        id="the bundle of the one before in its row",
    ),
    pytest.param(
        lambda connection, made: _put(bundle=made[1].bundle, digest=made[1].digest, previous=made[1].previous)(
            connection, made
        ),
        "not the successor",
        2,
        "configuration 3 is not the one",
        id="the row of the one before in its place",
    ),
    pytest.param(
        lambda connection, made: _put(bundle=_altered(made[2].bundle))(connection, made),
        "the signature of tests-1 is not good",
        2,
        "configuration 3 is not the one",
        id="a signature altered",
    ),
    pytest.param(_put(bundle="{rotten"), "not a signed configuration", 2, "another bundle", id="no bundle at all"),
    pytest.param(_put(digest="0" * 64), "not the one that its row names", 2, "another digest", id="another digest"),
    pytest.param(_another("mallory-1", "mallory-1"), "mallory-1", 2, "another digest and bundle", id="unknown key"),
    pytest.param(
        _another(configured.SIGNER, "mallory-1"),
        "the signature of tests-1 is not good",
        2,
        "another digest",
        id="a borrowed name",
    ),
]


@pytest.mark.parametrize("start", ["warm", "cold"])
@pytest.mark.parametrize(("tamper", "why", "believed", "named"), TAMPERED)
def test_what_was_not_signed_is_not_believed(  # what stands is part of each case
    ledger: Ledger, database: Database, tamper: Tamper, why: str, believed: int, named: str, start: str
) -> None:
    """Nothing is granted; the last that verified is gone by, and closes; it is said once, verify names it, and it mends."""
    first = applied(ledger, version(1, ""))
    made = [first, applied(ledger, version(2, first.digest))]
    gated = Gated(ledger)
    gated.enter(opening())
    assert gated.gate.standing.number == 2
    made.append(applied(ledger, version(3, made[1].digest)))
    rows = database.rows(sql.select(configurations))
    with database.connected() as connection:
        tamper(connection, made)
    configure()
    with capture_logs() as lines:
        if start == "cold":
            gated = Gated(ledger)
        else:
            gated.gate.met(ledger.read(newest_number))
            gated.gate.refresh()  # where nothing but the number would have told: somebody looks anyway
        for _ in range(3):
            gated.gate.look()
        standing = gated.gate.standing
        assert standing.fault is not None
        assert standing.version is not None
        assert standing.version.number == believed

        with pytest.raises(Unconfigured, match="configuration"):
            gated.enter(opening("REQ-2"))
        assert gated.enter(closing(["REQ-1"])).new
    said = [line for line in lines if line["event"] == "configuration.refused"]
    assert len(said) == 1
    assert why in said[0]["reason"]
    (close,) = database.rows(sql.select(approvals).where(approvals.c.request_id == "REQ-END"))
    assert close.configuration == believed
    verify = ledger.read(first_fault, [], None)
    assert verify is not None
    assert named in verify

    with database.connected() as connection:
        connection.execute(configurations.delete())
        connection.execute(configurations.insert(), [dict(row._mapping) for row in rows])
        connection.execute(settings.update().where(settings.c.name == "configuration").values(value="3"))
    gated.gate.look()
    assert gated.gate.standing.fault is None
    assert gated.enter(opening("REQ-2")).new
    check_order(ledger, database)


def test_a_raised_quorum_asks_it_of_what_was_applied_before(ledger: Ledger) -> None:
    """One signature is not two: with the second, the last one that has both is gone by, and grants wait for the next."""
    first = applied(ledger, version(1, "", signers=(configured.SIGNER, SECOND)))
    second = applied(ledger, version(2, first.digest))
    Gated(ledger).enter(opening())
    gated = Gated(ledger, keys=BOTH, quorum=2)
    standing = gated.gate.standing
    assert standing.version is not None
    assert (standing.number, standing.version.number) == (2, 1)
    assert "1 of the keys signed (tests-1), and 2 must" in str(standing.fault)
    with pytest.raises(Unconfigured):
        gated.enter(opening("REQ-2"))
    assert gated.enter(closing(["REQ-1"])).new

    applied(ledger, version(3, second.digest, signers=(SECOND, configured.SIGNER)))
    gated.gate.look()
    assert gated.enter(opening("REQ-2")).new


def test_without_any_version_everything_waits(ledger: Ledger, database: Database) -> None:
    """A revoke too: nobody can tell yet whose keys are listed. Nothing is refused for good."""
    gated = Gated(ledger)
    for approval in (opening(), closing("all")):
        with pytest.raises(Unconfigured, match="no configuration was applied yet"):
            gated.enter(approval)
    assert database.count(events) == 0
    apply(ledger)
    gated.gate.look()
    assert gated.enter(opening()).new


def test_a_key_that_nobody_knows_yet_waits_while_the_newest_cannot_be_read(ledger: Ledger, database: Database) -> None:
    """It may be listed there: a revoke that is sealed with it comes again, and is not refused."""
    apply(ledger)
    gated = Gated(ledger)
    gated.enter(opening())
    apply(ledger, content(issuers={"newcomer": {}}))
    with database.connected() as connection:
        kept = connection.execute(sql.select(configurations.c.bundle).where(configurations.c.number == 2)).scalar_one()
        connection.execute(configurations.update().where(configurations.c.number == 2).values(bundle="{"))
    gated.gate.refresh()
    with pytest.raises(Unconfigured):
        gated.enter(closing("all", issuer="newcomer"))
    with database.connected() as connection:
        connection.execute(configurations.update().where(configurations.c.number == 2).values(bundle=kept))
    gated.gate.look()
    assert gated.enter(closing("all", issuer="newcomer")).new


def test_while_it_cannot_be_believed_nothing_is_made_and_everything_comes_down(
    ledger: Ledger, database: Database
) -> None:
    """What stands is kept, what was admitted before waits without being counted as tried, what is closed is taken down."""
    apply(ledger)
    gated, cloud = Gated(ledger), CalmCloud()
    gated.enter(opening())
    for side in Side:
        assert gated.visit(cloud, side) in (Outcome.SETTLED, Outcome.WAITING)
    gated.enter(opening("REQ-2", "vpc-2"))
    gated.enter(opening("REQ-3", prefixes=("10.30.0.0/16",)))
    with database.connected() as connection:
        connection.execute(configurations.update().values(bundle="{"))
    apply_broken(database)
    standing_before = set(cloud.granted), dict(cloud.associations)

    for vpc in ("vpc-1", "vpc-2"):
        for side in Side:
            gated.visit(cloud, side, vpc)
    assert (cloud.granted, cloud.associations) == standing_before
    assert [read(ledger, vpc=vpc).mine.attempts for vpc in ("vpc-1", "vpc-2")] == [0, 0]
    assert not any(read(ledger, side, vpc="vpc-2").mine.dead for side in Side)

    gated.enter(closing("all"))
    for side in (Side.ASSOCIATE, Side.GRANT):
        gated.visit(cloud, side)
    assert (cloud.granted, cloud.associations) == (set(), {})


def apply_broken(database: Database) -> None:
    """A newer version, of which nothing can be read."""
    with database.connected() as connection:
        newest = connection.execute(sql.select(configurations)).one()._mapping
        connection.execute(configurations.insert().values({**newest, "number": 2}))
        connection.execute(settings.update().where(settings.c.name == "configuration").values(value="2"))


def test_what_is_narrowed_is_narrowed_while_it_cannot_be_believed(ledger: Ledger, database: Database) -> None:
    """Where one lease was closed and another waits to be made, the routes of the one go and those of the other do not come."""
    apply(ledger)
    gated, cloud = Gated(ledger), CalmCloud()
    gated.enter(opening())
    gated.enter(opening("REQ-2", prefixes=("10.30.0.0/16",)))
    for side in Side:
        gated.visit(cloud, side)
    gated.enter(opening("REQ-3", prefixes=("10.40.0.0/16",)))
    apply_broken(database)
    gated.gate.met(2)
    gated.enter(closing(["REQ-1"]))
    gated.visit(cloud, Side.ASSOCIATE)
    (seen,) = cloud.associations.values()
    assert seen.prefixes == ("10.30.0.0/16",)


def test_a_gate_is_read_once_for_many_threads(ledger: Ledger) -> None:
    """Whoever comes at the same time sees one of the two, whole."""
    apply(ledger)
    gate: Gate = Gated(ledger).gate
    apply(ledger, content(EMPTY))
    found = list[tuple[int, int]]()

    def ask() -> None:
        gate.met(2)
        standing = gate.standing
        assert standing.version is not None
        found.append((standing.number, standing.version.number))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [(2, 2)] * 8


def test_versions_are_listed_a_page_at_a_time_with_what_the_record_has_of_them(ledger: Ledger) -> None:
    """The newest first; one that somebody wrote past the record has no facts."""
    made = three(ledger)
    pages = [ledger.read(list_versions, behind, 2) for behind in (None, 2)]
    assert [[one.number for one in page] for page in pages] == [[3, 2], [1]]
    for one in (*pages[0], *pages[1]):
        kept = made[one.number - 1]
        assert (one.digest, one.previous, one.applied_by) == (kept.digest, kept.previous, kept.applied_by)
        assert (one.facts["digest"], one.facts["number"]) == (kept.digest, kept.number)
    found = ledger.read(kept_version, 2)
    assert found is not None
    assert (found[0], found[1]["digest"]) == (made[1], made[1].digest)
    assert ledger.read(kept_version, 4) is None
    with ledger.engine.begin() as connection:
        connection.execute(configurations.insert().values(**{**vars(made[2]), "number": 4}))
    assert [one.facts == {} for one in ledger.read(list_versions, None, 10)] == [True, False, False, False]
