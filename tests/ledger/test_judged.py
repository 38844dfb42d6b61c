"""What the gate made of an approval holds under the version that it was made under, or is made again."""

from __future__ import annotations

import json
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sql

from shared.errors import BadInput, NotAllowed, SealRefused, Superseded
from shared.ledger.admission import Judged, admit_all
from shared.ledger.passing import let_time_pass, take_effect
from shared.ledger.proof import first_fault
from shared.ledger.tables import approvals, configurations, events
from shared.ledger.transactions import Ledger
from shared.loop.doors import Doors
from shared.loop.gate import Gate
from shared.loop.intake import Intake, Taken
from shared.messages.envelope import Item
from shared.messages.seal import read_seal
from shared.rules.configuration import Configuration
from shared.rules.facts import Side
from shared.settings import Settings
from tests import configured
from tests.ledger.gated import ACCOUNTS, Gated, apply, content, seal_of
from tests.ledger.kit import HOUR, NOW, Database, check_order, closing, opening, outcomes

DAY = 24 * HOUR
HUB = {uid: one for uid, one in ACCOUNTS.items() if "ecrs" in one}
"""Account B is not listed any more."""


@pytest.fixture
def gated(ledger: Ledger) -> Gated:
    """The ledger behind its gate."""
    apply(ledger)
    return Gated(ledger)


def intake(ledger: Ledger, gate: Gate) -> Intake:
    """The way in of account B's side, without its queue."""
    known = {"FC_REGION": "cn-hangzhou", "LEDGER_URL": "sqlite://", "CONFIG_KEYS": configured.CONFIG_KEYS_TEXT}
    usual = {"GRANT_ROLE": "role", "EVENT_SUBJECT": "optional"}
    return Intake(ledger, gate, Doors(Settings.model_validate(known | usual), ""), Side.GRANT)


def item(approval: Any, **how: Any) -> Item:
    """A message with a sealed approval."""
    return Item(f"message-{approval.request_id}", seal_of(approval, **how))


def forbidding() -> Configuration:
    """A policy that lets nothing be opened."""
    rule = (
        '@id("frozen") @advice("You must wait.") forbid (principal, action == Action::"vouch", resource)'
        " when { context.opens };"
    )
    return content(policy=f"{configured.PERMITS}\n{rule}")


# -- admission ---------------------------------------------------------------------------------------------------------


def test_what_was_judged_under_another_version_is_not_admitted(gated: Gated, database: Database) -> None:
    """Nothing of its batch is written, and under the newest one it is decided again."""
    judged = [gated.judged(opening(f"REQ-{number}", f"vpc-{number}")) for number in range(3)]
    apply(gated.ledger)
    before = database.everything()
    with pytest.raises(Superseded, match="configuration 2 is the newest"):
        gated.ledger.write(admit_all, judged, NOW, gated.ledger.timing)
    assert database.everything() == before
    gated.gate.met(2)
    gated.enter(opening())
    (row,) = database.rows(sql.select(approvals))
    assert row.configuration == 2


def test_a_batch_is_decided_again_under_what_stands_then(ledger: Ledger, database: Database) -> None:
    """The gate that takes it in has read the version before: what was let through then is refused now, and the other way."""
    apply(ledger)
    gate = Gated(ledger).gate
    assert gate.standing.number == 1
    apply(ledger, forbidding())
    found = intake(ledger, gate).take([item(opening(f"REQ-{n}", f"vpc-{n}")) for n in range(3)])
    assert [one.refused for one in found] == [True] * 3
    apply(ledger)
    found = intake(ledger, gate).take([item(opening(f"REQ-{n}", f"vpc-{n}")) for n in range(3, 6)])
    assert [(one.refused, one.later, len(one.grants)) for one in found] == [(False, None, 1)] * 3
    assert {row.configuration for row in database.rows(sql.select(approvals))} == {3}
    check_order(ledger, database)


def test_nothing_is_refused_for_good_by_a_version_that_stands_no_more(ledger: Ledger, database: Database) -> None:
    """A key that the newest one lists is not unknown, although the gate has not read that one yet."""
    apply(ledger)
    gate = Gated(ledger).gate
    assert gate.standing.number == 1
    apply(ledger, content(issuers={"newcomer": {}}))
    (found,) = intake(ledger, gate).take([item(opening(issuer="newcomer"))])
    assert (found.refused, len(found.grants)) == (False, 1)
    assert database.count(events, events.c.kind == "rejected") == 0


def test_what_cannot_be_judged_yet_is_sent_again(ledger: Ledger, database: Database) -> None:
    """Each for itself: what is no approval at all is refused meanwhile."""
    gate = Gated(ledger).gate
    found = intake(ledger, gate).take([item(opening()), Item("m-2", "{rotten"), item(closing("all"))])
    assert [one.refused for one in found] == [False, True, False]
    assert [one.later is not None and one.later.code for one in found] == ["Unconfigured", False, "Unconfigured"]
    assert database.kinds() == ["rejected"]


@pytest.mark.parametrize(
    ("approval", "how", "code"),
    [
        (opening(), {"audience": "somebody-elses"}, "WrongAudience"),
        (opening(), {"kid": "another-1"}, "WrongIssuer"),
        (opening(), {"kid": "mallory-1"}, "UnknownKey"),
        (opening(), {"now": NOW - 8 * DAY}, "SealTooOld"),
        (opening(), {"now": NOW + HOUR}, "SealFromTheFuture"),
        (closing("everyone"), {}, "BeyondScope"),
    ],
)
def test_what_is_refused_says_why_and_its_twin_enters(
    ledger: Ledger, database: Database, approval: Any, how: dict[str, Any], code: str
) -> None:
    """An event with the reason; once only its fault is taken out, the same approval is admitted."""
    apply(ledger, content(issuers={"tests": {"everyone": code != "BeyondScope"}}))
    gated = Gated(ledger)
    (found,) = intake(ledger, gated.gate).take([item(approval, **how)])
    assert found.refused
    told = json.loads(database.rows(sql.select(events.c.body).where(events.c.kind == "rejected"))[0].body)
    assert told["reason"]["code"] == code
    assert database.count(approvals) == 0

    apply(ledger, content(issuers={"tests": {"everyone": True}}))
    (found,) = intake(ledger, gated.gate).take([item(approval)])
    assert (found.refused, found.later) == (False, None)
    assert database.count(approvals) == 1
    assert ledger.read(first_fault, [], None) is None


def test_of_a_revoke_age_and_what_is_listed_refuse_nothing(gated: Gated) -> None:
    """An old seal, one from the future, accounts that are listed no more: it closes, and everyone's where that is its right."""
    gated.enter(opening())
    apply(gated.ledger, content(HUB, issuers={"another": {"everyone": True}}))
    gated.gate.refresh()
    for number, days in enumerate((-30, 30)):
        seal = seal_of(closing("all", f"END-{number}"), NOW + days * DAY)
        standing, sealed = gated.gate.standing, read_seal(seal)
        approval = gated.gate.open(standing, sealed)
        assert gated.gate.judge(standing, sealed, approval, gated.ledger.timing).refused is None
    assert gated.enter(closing("everyone", "END-9", issuer="another")).new


def test_the_record_has_the_question_and_what_decided_it(gated: Gated, database: Database) -> None:
    """With the version and the digest of the seal: enough to ask again."""
    gated.enter(opening())
    (row,) = database.rows(sql.select(events).where(events.c.kind == "admitted"))
    facts = json.loads(row.facts)
    assert (facts["configuration"], facts["rules"], facts["errors"]) == (1, ["may-vouch"], [])
    assert facts["question"]["act"] == "vouch"


# -- a configuration in the middle of a crowd --------------------------------------------------------------------------


def test_applied_in_the_middle_of_a_crowd_each_names_one_and_none_is_lost(database: Database) -> None:
    """500 approvals by several functions, each with a gate of its own, while five versions are applied: each admission names a
    version that stood at its place in the record."""
    count, workers = (500, 4) if database.kind == "postgresql" else (100, 2)
    ledger = Ledger(database.url)
    apply(ledger)
    found = list[Taken]()
    started, applied, lock = threading.Event(), threading.Event(), threading.Lock()

    def work(number: int) -> None:
        mine = Ledger(database.url)
        way = intake(mine, Gated(mine).gate)
        left = [item(opening(f"REQ-{n}", f"vpc-{n}")) for n in range(number, count, workers)]
        half = len(left) // 2
        while left:
            if len(left) <= half:
                applied.wait(30)
            batch, left = left[:5], left[5:]
            taken = way.take(batch)
            started.set()
            left += [one for one, became in zip(batch, taken, strict=True) if became.later is not None]  # sent again
            with lock:
                found.extend(became for became in taken if became.later is None)
        mine.close()

    try:
        with ThreadPoolExecutor(workers) as pool:
            running = [pool.submit(work, number) for number in range(workers)]
            started.wait(30)
            for _ in range(5):
                apply(ledger)
                applied.set()
            for one in running:
                one.result()
        assert not any(one.refused for one in found)
        assert len(found) == database.count(approvals) == count
        rows = {row.request_id: row.configuration for row in database.rows(sql.select(approvals))}
        newest, named = 0, Counter[int]()
        for event in database.rows(sql.select(events).order_by(events.c.seq)):
            if event.kind == "configured":
                newest = json.loads(event.facts)["number"]
            elif event.kind == "admitted":
                name = json.loads(event.body)["request"]["request_id"]
                assert rows[name] == json.loads(event.facts)["configuration"] == newest
                named[newest] += 1
        assert sum(named.values()) == count
        assert newest == database.count(configurations) == 6
        assert len(named) > 1, "they were applied in the middle"
        check_order(ledger, database)
    finally:
        ledger.close()


# -- leases that take effect late --------------------------------------------------------------------------------------


def pass_a_day(gated: Gated) -> list[str]:
    """Until what was dated a day ahead takes effect."""
    gated.now = NOW + DAY + HOUR
    return let_time_pass(gated.ledger, gated.now, gated.judge)


def test_policy_is_asked_again_when_a_lease_takes_effect(gated: Gated, database: Database) -> None:
    """It is rejected by the advice of the newest one, although another let it in; of two, only the one that is refused."""
    gated.enter(opening(approved_at=NOW + DAY))
    gated.enter(opening("REQ-2", "vpc-2", approved_at=NOW + 9 * DAY))
    apply(gated.ledger, forbidding())
    gated.gate.refresh()
    assert pass_a_day(gated) == []
    assert outcomes(database) == [("REQ-1", "rejected")]
    told = json.loads(database.rows(sql.select(events.c.body).where(events.c.kind == "rejected"))[0].body)
    assert (told["reason"]["code"], told["reason"]["text"]) == ("PolicyForbids", "You must wait.")
    check_order(gated.ledger, database)


def test_no_lease_takes_effect_by_an_older_version(gated: Gated, database: Database) -> None:
    """What was judged before another version was applied is decided again; until then nothing has changed."""
    gated.enter(opening(approved_at=NOW + DAY))
    (row,) = database.rows(sql.select(approvals))
    apply(gated.ledger, forbidding())
    before = database.everything()
    with pytest.raises(Superseded):
        gated.ledger.write(take_effect, row.approval_id, Judged(row.seal, 1), NOW + DAY + HOUR, gated.ledger.timing)
    assert database.everything() == before


def test_an_early_lease_names_the_version_that_it_took_effect_under(gated: Gated, database: Database) -> None:
    """Its age is no reason: it may have been sealed long before."""
    gated.enter(opening(approved_at=NOW + 30 * DAY))
    apply(gated.ledger)
    gated.gate.refresh()
    gated.now = NOW + 30 * DAY
    assert len(let_time_pass(gated.ledger, gated.now, gated.judge)) == 1
    (row,) = database.rows(sql.select(events).where(events.c.kind == "took-effect"))
    assert json.loads(row.facts)["configuration"] == 2
    check_order(gated.ledger, database)


def test_it_stays_early_while_the_newest_cannot_be_believed(gated: Gated, database: Database) -> None:
    """Or was not read yet by who asks; and takes effect when that is over."""
    gated.enter(opening(approved_at=NOW + DAY))
    apply(gated.ledger)
    assert pass_a_day(gated) == [], "the gate has not read the newest one"
    (kept,) = database.rows(sql.select(configurations).where(configurations.c.number == 2))
    with database.connected() as connection:
        connection.execute(configurations.update().where(configurations.c.number == 2).values(bundle="{"))
    gated.gate.refresh()
    assert pass_a_day(gated) == []
    assert database.count(approvals, approvals.c.early_until.is_not(None)) == 1
    with database.connected() as connection:
        connection.execute(configurations.update().where(configurations.c.number == 2).values(bundle=kept.bundle))
    gated.gate.look()
    assert len(pass_a_day(gated)) == 1
    check_order(gated.ledger, database)


@pytest.mark.parametrize("seal", ["", "{", "[]", '{"payload":"e30"}', '"text"', "\x7f"])
def test_an_early_lease_whose_seal_is_rotten_is_rejected_and_stops_nothing(
    gated: Gated, database: Database, seal: str
) -> None:
    """The one beside it takes effect."""
    gated.enter(opening(approved_at=NOW + DAY))
    gated.enter(opening("REQ-2", "vpc-2", approved_at=NOW + DAY))
    with database.connected() as connection:
        connection.execute(approvals.update().where(approvals.c.request_id == "REQ-1").values(seal=seal))
    assert len(pass_a_day(gated)) == 1
    assert outcomes(database) == [("REQ-1", "rejected")]


def test_nothing_else_is_raised_by_the_gate(gated: Gated) -> None:
    """What is refused at the gate has an error of its own."""
    for approval, how, kind in (
        (opening("REQ-3", "vpc-3"), {"kid": "mallory-1"}, SealRefused),
        (opening("REQ-4", "vpc-4", prefixes=("127.0.0.0/8",)), {}, NotAllowed),
    ):
        with pytest.raises(kind):
            gated.enter(approval, **how)
    with pytest.raises(BadInput):
        read_seal("{}")
