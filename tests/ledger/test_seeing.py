"""What somebody may see is all that any list, export or name gives them; and a page costs a page, however long the ledger."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sql

from bench.history import CountingLedger
from bench.past import Past, analyse, live_elsewhere
from shared.errors import BadInput
from shared.ledger.admission import admit
from shared.ledger.consent import RequestsAsked, add_facts, list_requests, seen_facts
from shared.ledger.looking import (
    GrantsAsked,
    LeasesAsked,
    history_seen,
    list_exposed,
    list_grants,
    list_leases,
    seen_grant,
)
from shared.ledger.seeing import Scope
from shared.ledger.tables import approvals, grants, sides
from shared.ledger.transactions import Ledger
from shared.loop.gate import Gate
from shared.loop.seeing import Sight
from shared.messages.approval import GrantApproval
from shared.messages.consent import Asked, Strength, Voice, Wish
from shared.messages.seal import approval_from
from shared.rules.shipped import POLICY
from tests.configured import CONFIG_KEYS
from tests.ledger.gated import ACCOUNTS, apply
from tests.ledger.kit import HOUR, NOW, Database, closing, key, opening
from tests.ledger.lives import come_up
from tests.ledger.room import PEOPLE, people_decide
from tests.ledger.test_bounded import plan, statements

A, OTHER_A = key().ecr_owner_uid, "1000000000000009"
B, OTHER_B = key().instance_owner_uid, "2000000000000009"
ECR, OTHER_ECR = key().ecr_id, "ecr-othertests"
SCOPES: dict[str, Scope] = {
    "nobody": Scope("nobody", frozenset()),
    "requester": Scope("requester", frozenset()),
    "owner of B": Scope("owner", frozenset({B})),
    "owner of A": Scope("router-owner", frozenset({A})),
    "owner of two": Scope("both", frozenset({B, OTHER_A})),
    "owner of many": Scope("many", frozenset({B, *(f"3{number:015d}" for number in range(40))})),
    "auditor": Scope("auditor", frozenset({A, B, OTHER_A, OTHER_B}), everything=True),
}


def lease(name: str, vpc: str, a: str = A, b: str = B, **more: Any) -> GrantApproval:
    """An approval on the router of an account A, for an instance of an account B."""
    said = json.loads(opening(name, vpc, **more).model_dump_json(by_alias=True))
    said["ecr"] = {"id": ECR if a == A else OTHER_ECR, "owner_uid": a}
    said["instance"]["owner_uid"] = b
    found = approval_from(said)
    assert isinstance(found, GrantApproval)
    return found


def asked(request_id: str, person: str, vpc: str, a: str = A, b: str = B) -> Asked:
    """Somebody asks for that."""
    grant = lease(request_id, vpc, a, b)
    document = {"kind": "grant", "ecr": grant.ecr.model_dump(), "instance": grant.instance.model_dump(mode="json")}
    wish = Wish.model_validate_json(json.dumps({**document, "reason": "A test needs it"}))
    by = Voice(person=person, subject=f"oidc:{person}", strength=Strength.SIGNED_IN)
    at = datetime.fromtimestamp(NOW / 1000, UTC)
    return Asked(request_id=request_id, at=at, wish=wish, by=by, lapses_at=at + timedelta(days=7), configuration=0)


@pytest.fixture
def world(ledger: Ledger) -> Ledger:
    """Grants between two accounts of each kind: open, closed, with ends, up; and one that somebody asked for at the desk."""
    number = 0
    for a in (A, OTHER_A):
        for b in (B, OTHER_B):
            for each in range(3):
                number += 1
                ends = NOW + number * HOUR if each else None
                found = lease(f"REQ-{number}", f"vpc-{number}", a, b, ends_at=ends, prefixes=(f"10.{number}.0.0/16",))
                ledger.write(admit, found, f"message-{number}", NOW + number, ledger.timing)
    for vpc in ("vpc-1", "vpc-2"):
        come_up(ledger, vpc)
    ledger.write(admit, closing("all", vpc="vpc-3"), "message-end", NOW, ledger.timing)
    ledger.write(add_facts, "r-1", lambda _: [asked("r-1", "requester", "vpc-1")])
    ledger.write(add_facts, "r-2", lambda _: [asked("r-2", "requester", "vpc-99", OTHER_A, OTHER_B)])
    ledger.write(add_facts, "r-3", lambda _: [asked("r-3", "somebody", "vpc-4", A, OTHER_B)])
    mine = lease("r-1", "vpc-1", issuer="desk", prefixes=("10.99.0.0/16",))
    ledger.write(admit, mine, "message-desk", NOW + 50, ledger.timing)
    return ledger


def may(scope: Scope, row: Any, own: bool) -> bool:
    """The same, told plainly."""
    return scope.everything or own or not scope.accounts.isdisjoint({row.ecr_owner_uid, row.instance_owner_uid})


def all_of(database: Database, query: sql.Select[Any]) -> list[Any]:
    """Rows, past everything that narrows."""
    return database.rows(query)


@pytest.mark.parametrize("who", SCOPES)
def test_every_list_gives_what_may_be_seen_and_all_of_it(world: Ledger, database: Database, who: str) -> None:
    """Against the same told plainly, over all rows that there are."""
    scope = SCOPES[who]
    every = all_of(database, sql.select(approvals).where(approvals.c.action == "grant"))
    visible = {one.request_id for one in every if may(scope, one, scope.person == "requester" and one.issuer == "desk")}
    found = world.read(list_leases, scope, LeasesAsked(), None, 100)
    assert sorted(one.request_id for one in found) == sorted(visible)
    assert [one.admitted_at for one in found] == sorted((one.admitted_at for one in found), reverse=True)

    shown = {one.grant_id: one for one in all_of(database, sql.select(grants))}
    mine = {one.grant_id for one in every if one.request_id == "r-1"} if scope.person == "requester" else set()
    seen = {name for name, one in shown.items() if may(scope, one, name in mine)}
    listed = world.read(list_grants, scope, GrantsAsked(history=True), None, 100)
    assert [one.grant_id for one in listed] == sorted(seen)
    for name, row in shown.items():
        view = world.read(seen_grant, scope, name)
        assert (view is not None) == (name in seen)
        if view is not None:
            ids = {one.lease.request_id for one in view.leases}
            assert ids <= visible
        events = world.read(history_seen, scope, name, None, 100)
        assert (events is not None) == may(scope, row, own=False)

    up = {
        one.grant_id for one in all_of(database, sql.select(sides).where(sides.c.state.not_in(["unknown", "absent"])))
    }
    exposed, open_ = world.read(list_exposed, scope, ECR, None, 100)
    assert {one.grant_id for one in exposed} == up & seen
    assert {one.request_id for each in open_.values() for one in each} <= visible

    people = {"r-1": "requester", "r-2": "requester", "r-3": "somebody"}
    ids = {one.request_id for one in world.read(list_requests, scope, RequestsAsked(), None, 100)}
    for request_id, person in people.items():
        facts = world.read(seen_facts, scope, request_id)
        assert bool(facts) == (request_id in ids)
        there = {"r-1": {A, B}, "r-2": {OTHER_A, OTHER_B}, "r-3": {A, OTHER_B}}[request_id]
        assert (request_id in ids) == (scope.everything or person == scope.person or bool(scope.accounts & there))


FILTERS: dict[str, tuple[LeasesAsked, set[str]]] = {
    "a grant": (LeasesAsked(grant=key("vpc-1").grant_id), {"REQ-1", "r-1"}),
    "an instance": (LeasesAsked(instance="vpc-7"), {"REQ-7"}),
    "a router": (LeasesAsked(ecr=OTHER_ECR), {f"REQ-{number}" for number in range(7, 13)}),
    "an account B": (LeasesAsked(account=B), {"REQ-1", "REQ-2", "REQ-3", "REQ-7", "REQ-8", "REQ-9", "r-1"}),
    "an account A": (LeasesAsked(account=OTHER_A), {f"REQ-{number}" for number in range(7, 13)}),
    "nobody's account": (LeasesAsked(account="4" * 16), set()),
    "a request": (LeasesAsked(request="REQ-5"), {"REQ-5"}),
    "what ends soon": (LeasesAsked(ends_before=NOW + 4 * HOUR), {"REQ-2", "REQ-3"}),
    "what ends late": (LeasesAsked(ends_after=NOW + 10 * HOUR), {"REQ-11", "REQ-12"}),
    "what is closed": (LeasesAsked(open=False), {"REQ-3"}),
    "how an instance begins": (LeasesAsked(text="vpc-1"), {"REQ-1", "REQ-10", "REQ-11", "REQ-12", "r-1"}),
    "how a request begins": (LeasesAsked(text="REQ-1"), {"REQ-1", "REQ-10", "REQ-11", "REQ-12"}),
    "how a router begins": (LeasesAsked(text="ecr-oth"), {f"REQ-{number}" for number in range(7, 13)}),
    "a grant by its id": (LeasesAsked(text=key("vpc-2").grant_id), {"REQ-2"}),
    "how a prefix begins": (LeasesAsked(text="10.1."), {"REQ-1"}),
    "a whole prefix": (LeasesAsked(text="10.12.0.0/16"), {"REQ-12"}),
    "what is no sign of its own": (LeasesAsked(text="REQ_1"), set()),
    "two of them": (LeasesAsked(account=B, ecr=OTHER_ECR, open=True), {"REQ-7", "REQ-8", "REQ-9"}),
}


@pytest.mark.parametrize("what", FILTERS)
@pytest.mark.parametrize("who", ["auditor", "owner of B", "owner of many"])
def test_filters_take_away_and_add_nothing(world: Ledger, who: str, what: str) -> None:
    """Whoever sees everything is told what the filter means; others that, as far as they see it."""
    wanted, expected = FILTERS[what]
    everything = {one.request_id for one in world.read(list_leases, SCOPES[who], LeasesAsked(), None, 100)}
    found = [one.request_id for one in world.read(list_leases, SCOPES[who], wanted, None, 100)]
    assert sorted(found) == sorted(expected & everything)


@pytest.mark.parametrize("text", ["%", "ab", "' OR 1=1", "vpc-%", "10.20.0.0/16 ", "\u0661\u0660.20", "a" * 200])
def test_a_text_that_nothing_begins_with_is_named(world: Ledger, text: str) -> None:
    """Not tried: it could mean something to a database."""
    with pytest.raises(BadInput, match=r"^text: must be"):
        world.read(list_leases, SCOPES["auditor"], LeasesAsked(text=text), None, 100)


@pytest.mark.parametrize("who", ["auditor", "owner of B", "owner of two", "owner of many", "requester"])
@pytest.mark.parametrize("size", [1, 4])
def test_pages_give_everything_once_while_more_comes(world: Ledger, who: str, size: int) -> None:
    """What was there when somebody began is on one page each; what comes meanwhile may be on none."""
    scope = SCOPES[who]
    before = [one.approval_id for one in world.read(list_leases, scope, LeasesAsked(), None, 100)]
    found, behind = [], None
    for number in range(100):
        page = world.read(list_leases, scope, LeasesAsked(), behind, size)
        found += [one.approval_id for one in page]
        if len(page) < size:
            break
        behind = page[-1].admitted_at, page[-1].approval_id
        more = lease(f"MORE-{number}", "vpc-1")
        world.write(admit, more, f"more-{number}", NOW + 1000 + number, world.timing)
    assert found == before


# -- what it costs -------------------------------------------------------------------------------------------------------

MANY, FEW = 4_000, 400
PAGE = 25


@pytest.fixture
def long(database: Database) -> Database:
    """Some leases on many grants, half of them with another account B; a tenth is open."""
    with_leases(database, FEW)
    return database


def with_leases(database: Database, count: int) -> None:
    """So many more."""
    ledger = Ledger(database.url)
    name = f"REQ-{count}"
    ledger.write(admit, opening(name, f"vpc-{count}"), f"message-{count}", NOW, ledger.timing)
    ledger.close()
    live_elsewhere(database, key(f"vpc-{count}").grant_id, Past(count, 0), lambda _: None)
    with database.connected() as connection:
        for table in (approvals, grants):
            elsewhere = sql.select(grants.c.grant_id).where(grants.c.instance_id.like("%1"))
            there = table.update().where(table.c.grant_id.in_(elsewhere))
            connection.execute(there.values(instance_owner_uid=OTHER_B))
        past = approvals.update().where(approvals.c.approved_at / 1000 % 10 != 0)
        connection.execute(past.values(open=False, live=False))
    analyse(database)


QUESTIONS: dict[str, LeasesAsked] = {
    "all": LeasesAsked(),
    "open ones": LeasesAsked(open=True),
    "of an account": LeasesAsked(account=B),
    "of an instance": LeasesAsked(instance="vpc-400-7"),
    "of a request": LeasesAsked(request=f"REQ-{FEW}"),
    "of a grant": LeasesAsked(grant=key(f"vpc-{FEW}").grant_id),
}


def cost(url: str, scope: Scope, wanted: LeasesAsked) -> tuple[int, int]:
    """(rows, what was read for them) of the second page of a list."""
    ledger = CountingLedger(url)
    try:
        first = ledger.read(list_leases, scope, wanted, None, PAGE)
        behind = (first[-1].admitted_at, first[-1].approval_id) if len(first) == PAGE else None
        for _ in range(2):
            ledger.counts.clear()
            with ledger.doing("page"):
                found = ledger.read(list_leases, scope, wanted, behind, PAGE)
        return len(found), ledger.counts["page: list_leases"]
    finally:
        ledger.close()


@pytest.mark.parametrize("what", QUESTIONS)
@pytest.mark.parametrize("who", ["owner of B", "owner of A", "owner of two", "auditor"])
def test_a_page_costs_no_more_where_there_is_ten_times_as_much(long: Database, who: str, what: str) -> None:
    """One statement, by indexes: what is read grows with the page, and not with the ledger."""
    scope, wanted = SCOPES[who], QUESTIONS[what]
    ledger = Ledger(long.url)
    with statements(ledger) as sent:
        ledger.glance(list_leases, scope, wanted, None, PAGE)
    ledger.close()
    assert len([one for one, _ in sent if "BEGIN" not in one]) == 1
    rows, before = cost(long.url, scope, wanted)
    with_leases(long, MANY)
    more, after = cost(long.url, scope, wanted)
    assert rows
    assert more >= rows
    assert after <= 1.5 * before + 500, (before, after)


def plan_of(database: Database, scope: Scope, ask: Any) -> str:
    """How the database means to answer."""
    ledger = Ledger(database.url)
    with statements(ledger) as sent:
        ledger.glance(ask, scope)
    ledger.close()
    (statement, parameters) = next((one, said) for one, said in sent if "BEGIN" not in one)
    return plan(database, statement, parameters)


ASKS: dict[str, tuple[Any, Sequence[str]]] = {
    **{
        f"leases, {what}": (lambda c, s, wanted=wanted: list_leases(c, s, wanted, None, PAGE), ["leases_"])
        for what, wanted in QUESTIONS.items()
        if what in ("all", "open ones", "of an account", "of a request")
    },
    "grants": (lambda c, s: list_grants(c, s, GrantsAsked(history=True), None, PAGE), ["grants_", "pkey", "autoindex"]),
    "grants of a router": (
        lambda c, s: list_grants(c, s, GrantsAsked(ecr=ECR, history=True), None, PAGE),
        ["grants_", "pkey", "autoindex"],
    ),
}


@pytest.mark.parametrize("what", ASKS)
def test_no_table_is_read_whole(long: Database, what: str) -> None:
    """Whoever asks: the plan names an index, and no table is gone through without one."""
    with_leases(long, MANY)
    ask, names = ASKS[what]
    for who in ("owner of B", "owner of A", "owner of two", "auditor"):
        found = plan_of(long, SCOPES[who], ask)
        assert any(name in found for name in names), found
        for line in found.splitlines():
            whole = re.search(r"(Seq Scan on|^SCAN) (approvals|grants|sides)\b(?!.*INDEX)", line)
            assert not whole, f"{who}: {line}\n{found}"


# -- who may see what ------------------------------------------------------------------------------------------------


def scopes(ledger: Ledger, *names: str, now: datetime | None = None) -> dict[str, Scope]:
    """What these people may see, by the newest configuration."""
    gate = Gate(ledger, CONFIG_KEYS, 1, lambda: NOW)
    sight = Sight(lambda: gate.standing)
    at = now or datetime.fromtimestamp(NOW / 1000, UTC)
    return {name: sight.scope(name, at) for name in names}


def test_owners_see_their_accounts_and_auditors_what_policy_says(ledger: Ledger) -> None:
    """By the shipped policy owners see their own; a rule more lets a group see everything, and a forbid wins."""
    auditors = '@id("auditors") permit (principal in Group::"leads", action == Action::"see", resource);\n'
    secret = '@id("no") @advice("You must.") forbid (principal, action == Action::"see", resource) when { !resource.listed };\n'
    apply(ledger, people_decide())
    found = scopes(ledger, "owner", "router-owner", "requester", "stranger", "lead")
    assert {name: set(one.accounts) for name, one in found.items()} == {
        "owner": {B},
        "router-owner": {A},
        "requester": set(),
        "stranger": set(),
        "lead": {B},
    }
    assert not any(one.everything for one in found.values())
    for policy, everything in ((POLICY + auditors, True), (POLICY + auditors + secret, False)):
        content = people_decide().model_copy(update={"policy": policy})
        apply(ledger, content)
        lead = scopes(ledger, "lead")["lead"]
        assert (set(lead.accounts), lead.everything) == ({A, B}, everything)
    assert set(ACCOUNTS) == {A, B}


def test_whom_somebody_delegated_to_sees_as_much_for_as_long(ledger: Ledger) -> None:
    """And the same remembered scope is not used a moment later."""
    at = datetime.fromtimestamp(NOW / 1000, UTC)
    lasts = {"of": "owner", "to": "deputy", "from": at.isoformat(), "until": (at + timedelta(hours=1)).isoformat()}
    apply(ledger, people_decide(people={**PEOPLE, "delegations": [lasts]}))
    gate = Gate(ledger, CONFIG_KEYS, 1, lambda: NOW)
    sight = Sight(lambda: gate.standing)
    seen = [set(sight.scope("deputy", at + timedelta(minutes=minutes)).accounts) for minutes in (-1, 0, 59, 60)]
    assert seen == [set(), {B}, {B}, set()]


def test_a_newer_configuration_is_asked_again(ledger: Ledger) -> None:
    """Whoever left a group sees nothing from then on."""
    apply(ledger, people_decide())
    gate = Gate(ledger, CONFIG_KEYS, 1, lambda: NOW)
    sight = Sight(lambda: gate.standing)
    at = datetime.fromtimestamp(NOW / 1000, UTC)
    assert sight.scope("owner", at).accounts == {B}
    groups = {**PEOPLE["groups"], "owners": ["second-owner", "lead"]}
    apply(ledger, people_decide(people={**PEOPLE, "groups": groups}))
    gate.overtaken()
    assert sight.scope("owner", at).accounts == frozenset()
