"""What is true of every policy and every question: found by trying many, each judged by plain Python beside Cedar."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Network
from typing import Any

import cedarpy
from hypothesis import assume, example, given, settings
from hypothesis import strategies as some

from shared.messages.approval import GrantApproval
from shared.rules.policy import Policy
from shared.rules.questions import Act, Answer, Entity, Named, Question
from shared.rules.shipped import POLICY
from shared.rules.vouching import UNSEEN, grant_entity, vouch
from tests.unit.conftest import EXAMPLE, varied
from tests.unit.issuing import ISSUER, PEOPLE, at, inventory, rights

PERMITTING = '@id("all") permit (principal, action, resource);'
unhurried = settings(deadline=None, max_examples=60, derandomize=True)


@dataclass(frozen=True)
class Fact:
    """A condition in Cedar, and the same in Python."""

    cedar: str
    holds: Callable[[Question], bool]


def _command(question: Question) -> str:
    value = question.context["command"]
    assert isinstance(value, dict)
    return str(value["id"])


FACTS = [
    Fact("true", lambda _: True),
    Fact("principal.known", lambda q: q.principal.attrs["known"] is True),
    Fact('context.command == Command::"mode"', lambda q: _command(q) == "mode"),
    Fact('[Command::"hold", Command::"lift"].contains(context.command)', lambda q: _command(q) in {"hold", "lift"}),
    Fact('principal in Group::"network"', lambda q: "network" in {parent.id for parent in q.principal.parents}),
    Fact('resource == Target::"d"', lambda q: q.resource.id == "d"),
]


@dataclass(frozen=True)
class Written:
    """A rule as written, and when it applies: ``when`` holds and ``unless`` does not."""

    name: str
    effect: str
    when: Fact
    unless: Fact | None

    @property
    def text(self) -> str:
        """In Cedar."""
        unless = "" if self.unless is None else f" unless {{ {self.unless.cedar} }}"
        head = f'@id("{self.name}") @advice("You must {self.name}.") {self.effect}'
        return f'{head} (principal, action == Action::"operate", resource) when {{ {self.when.cedar} }}{unless};'

    def applies(self, question: Question) -> bool:
        """To that question."""
        return self.when.holds(question) and not (self.unless is not None and self.unless.holds(question))


rules_without_names = some.tuples(
    some.sampled_from(["permit", "forbid"]), some.sampled_from(FACTS), some.none() | some.sampled_from(FACTS[1:])
)
policies = some.lists(rules_without_names, max_size=6).map(
    lambda rules: [Written(f"rule-{number}", *rule) for number, rule in enumerate(rules)]
)
operations = some.builds(
    lambda known, groups, name, command: Question(
        act=Act.OPERATE,
        principal=Entity(
            type="Person",
            id="ops",
            attrs={"known": known},
            parents=tuple(Named(type="Group", id=group) for group in sorted(groups)),
        ),
        resource=Entity(type="Target", id=name, attrs={"kind": {"type": "TargetKind", "id": "deployment"}}),
        context={
            "command": {"type": "Command", "id": command},
            "via": {"type": "Via", "id": "ledger"},
            "fresh": False,
        },
    ),
    some.booleans(),
    some.sets(some.sampled_from(["network", "orders"])),
    some.sampled_from(["d", "e"]),
    some.sampled_from(["mode", "hold", "lift", "adopt"]),
)


def answered(rules: list[Written], question: Question) -> Answer:
    """By Cedar."""
    policy = Policy("\n".join(rule.text for rule in rules))
    assert policy.faults() == []
    return policy.decide(question)


@unhurried
@given(policies, operations)
def test_a_forbid_always_wins(rules: list[Written], question: Question) -> None:
    """All that apply are named and give their advice; else what permits is; else nothing does."""
    applying = [rule for rule in rules if rule.applies(question)]
    forbids = [rule.name for rule in applying if rule.effect == "forbid"]
    permits = [rule.name for rule in applying if rule.effect == "permit"]
    assert answered(rules, question) == Answer(
        allowed=not forbids and bool(permits),
        rules=tuple(forbids or permits),
        advice=tuple(f"You must {name}." for name in forbids),
    )


@unhurried
@given(policies, operations)
def test_the_rules_that_are_named_are_the_ones_that_decided(rules: list[Written], question: Question) -> None:
    """Without all of them the answer is another; without any other one it is the same."""
    answer = answered(rules, question)
    unnamed = [rule for rule in rules if rule.name not in answer.rules]
    if answer.rules:
        assert answered(unnamed, question) != answer
    for one in unnamed:
        assert answered([rule for rule in rules if rule is not one], question) == answer


@unhurried
@given(policies, operations, some.sampled_from(["permit", "forbid"]), some.integers(0, 6))
def test_an_error_anywhere_is_a_refusal(rules: list[Written], question: Question, effect: str, where: int) -> None:
    """Whatever the other rules say; those that forbid are still named."""
    overflow = Fact('9223372036854775807 + (if principal == Person::"x" then 0 else 1) > 0', lambda _: True)
    answer = answered([*rules[:where], Written("errs", effect, overflow, None), *rules[where:]], question)
    assert not answer.allowed
    assert len(answer.errors) == 1
    assert answer.rules == tuple(rule.name for rule in rules if rule.effect == "forbid" and rule.applies(question))


JSON = (
    some.none()
    | some.booleans()
    | some.integers()
    | some.floats()
    | some.text()
    | some.lists(some.integers(), max_size=2)
)


@unhurried
@given(operations, some.sampled_from(["principal", "resource", "context"]), some.text(), JSON)
def test_an_attribute_that_is_not_in_the_schema_is_a_refusal(
    question: Question, part: str, name: str, value: Any
) -> None:
    """Wherever it is, whatever it is called; so is one that has another kind of value, and one that is missing."""
    document = question.model_dump(mode="json")
    place = document[part] if part == "context" else document[part]["attrs"]
    assume(name not in place)
    only = next(iter(place))
    permitted = Policy(PERMITTING)
    assert permitted.decide(Question.model_validate(document)).allowed
    for changed in ({**place, name: value}, {only: None}, {}):
        place.clear()
        place.update(changed)
        answer = permitted.decide(Question.model_validate(document))
        assert not answer.allowed
        assert answer.errors


SCRAPS = [
    *(PERMITTING, PERMITTING, "permit", "when { ", " }", "@id(", ")", '"a"', " "),
    *(";", ";", "// ", "\n", "\r\n", '"', "\\\\"),
]


@unhurried
@given(some.lists(some.sampled_from(SCRAPS), max_size=8).map("".join))
@example(f'// "\n{PERMITTING}')
@example(f"{PERMITTING} // {PERMITTING}")
def test_a_policy_is_cut_into_the_rules_that_cedar_reads(text: str) -> None:
    """No rule hides in what looks like a comment or a text: the whole, read by Cedar, is what was read rule by rule."""
    policy = Policy(text)
    others = {fault.text for fault in policy.faults() if not fault.text.endswith("is the name of another rule already")}
    if others:
        return
    whole = json.loads(cedarpy.policies_to_json_str(text))["staticPolicies"].values()
    assert {rule.id: rule.document for rule in policy.rules} == {one["annotations"]["id"]: one for one in whole}
    assert len(whole) == len(policy.rules) + len(policy.faults())


sides = some.fixed_dictionaries({"grant": some.booleans(), "associate": some.booleans()})
vouchings = some.fixed_dictionaries(
    {
        "opens": some.booleans(),
        "everyone": some.booleans(),
        "endless": some.booleans(),
        "hours": some.sampled_from([0, 1, 24, 25, 2160, 2161, 10**9]),
        "age": some.integers(-200, 200),
        "prefixes": some.fixed_dictionaries(
            {
                "count": some.integers(0, 100),
                "outside": some.integers(0, 2),
                "widest": some.integers(8, 33),
                "supernets": some.sampled_from(["listed", "unknown"]).map(lambda id_: {"type": "Supernets", "id": id_}),
            }
        ),
        "sides": sides,
        "leads": sides,
        "four_eyes": some.sampled_from(["kept", "own", "unproved", "broken"]).map(
            lambda id_: {"type": "FourEyes", "id": id_}
        ),
        "emergency": some.booleans(),
    }
)
SHIPPED = Policy(POLICY)
GRANT = grant_entity(GrantApproval.model_validate_json(json.dumps(EXAMPLE)).grant, inventory())
NAMES = frozenset(rule.id for rule in SHIPPED.rules)


@cache
def shipped_without(names: frozenset[str]) -> Policy:
    """The shipped policy without some of its rules."""
    return Policy("\n".join(rule.text for rule in SHIPPED.rules if rule.id not in names))


def forbidden_by(context: dict[str, Any]) -> set[str]:
    """What the shipped policy says, said once more."""
    sides, hours = context["sides"], context["hours"]
    of_both = {"emergency-day": not context["emergency"] or (not context["endless"] and hours <= 24)}
    of_a_revoke = {"someone-answers": any(sides.values())}
    rules = of_both | (
        of_a_revoke
        if not context["opens"]
        else {
            "four-eyes": context["four_eyes"]["id"] in {"kept", "own"},
            "instance-side": sides["grant"] or (context["emergency"] and sides["associate"]),
            "endless-both-sides": not context["endless"] or all(context["sides"].values()),
            "longest-lease": context["endless"] or context["hours"] <= 90 * 24,
            "inside-supernets": context["prefixes"]["outside"] == 0,
            "wide-range": context["prefixes"]["widest"] >= 12 or all(context["leads"].values()),
        }
    )
    return {name for name, fine in rules.items() if not fine}


@unhurried
@given(vouchings)
def test_the_shipped_policy_says_what_it_is_meant_to(context: dict[str, Any]) -> None:
    """And names what decided: without that every answer is another, without anything else it is the same."""
    question = Question(
        act=Act.VOUCH,
        principal=Entity(type="Issuer", id=ISSUER),
        resource=GRANT,
        context=context,
    )
    answer = SHIPPED.decide(question)
    forbidden = forbidden_by(context)
    assert (answer.allowed, set(answer.rules), answer.errors) == (not forbidden, forbidden or {"issuers-vouch"}, ())
    assert len(answer.advice) == len(forbidden)
    assert shipped_without(frozenset(answer.rules)).decide(question).allowed is not answer.allowed
    for name in NAMES.difference(answer.rules):
        if answer.allowed or name != "issuers-vouch":
            assert shipped_without(frozenset({name})).decide(question) == answer


BLOCK = int(IPv4Network("10.0.0.0/27").network_address)
# Of eight neighbours: narrow ranges that often make up a wider one, and wider ones among them.
small_prefixes = some.sampled_from([30, 30, 30, 29, 28]).flatmap(
    lambda length: some.integers(0, 2 ** (length - 27) - 1).map(
        lambda number: str(IPv4Network((BLOCK + number * 2 ** (32 - length), length)))
    )
)


def addresses(prefixes: list[str]) -> set[int]:
    """All of them."""
    return {int(address) for prefix in prefixes for address in IPv4Network(prefix)}


@unhurried
@given(some.lists(small_prefixes, min_size=2, max_size=8, unique=True), some.lists(small_prefixes, max_size=8))
def test_ranges_are_counted_address_by_address(prefixes: list[str], supernets: list[str]) -> None:
    """What is outside has an address that is not listed; the widest range is the widest whose every address is asked for."""
    approval = GrantApproval.model_validate_json(json.dumps(varied(allowed_prefixes=prefixes)))
    question = vouch(approval, ISSUER, rights(), inventory(supernets=supernets), PEOPLE, at())
    assert SHIPPED.decide(question).errors == ()
    counted = question.context["prefixes"]
    assert isinstance(counted, dict)
    inside, asked = addresses(supernets), addresses(prefixes)
    assert counted["outside"] == sum(not addresses([prefix]) <= inside for prefix in prefixes)
    ranges = [
        str(network.supernet(new_prefix=length))
        for network in map(IPv4Network, prefixes)
        for length in range(27, network.prefixlen + 1)
    ]
    assert counted["widest"] == min(IPv4Network(one).prefixlen for one in ranges if addresses([one]) <= asked)


asking = some.fixed_dictionaries(
    {
        "kind": some.sampled_from(["grant", "change", "revoke"]).map(lambda id_: {"type": "RequestKind", "id": id_}),
        "owns": sides,
        "emergency": some.booleans(),
    }
)
deciding = some.fixed_dictionaries(
    {
        "side": some.sampled_from(["grant", "associate"]).map(lambda id_: {"type": "Side", "id": id_}),
        **{name: some.booleans() for name in ("agrees", "own", "owner", "fresh", "emergency")},
        "failed": some.sampled_from([0, 0, 1, 7, UNSEEN]),
        "unknown": some.sampled_from([0, 1, UNSEEN]),
    }
)
environments = some.sampled_from(["test", "production"])


def about_people(act: Act, context: dict[str, Any], environment: tuple[str, str], *, known: bool) -> Question:
    """What a person asks of policy about the grant, whose ECR and instance are in these environments."""
    places = dict(zip(("ecr", "instance"), environment, strict=True))
    attrs = {name: {**as_dict(GRANT.attrs[name]), "environment": one} for name, one in places.items()}
    return Question(
        act=act,
        principal=Entity(type="Person", id="a-person", attrs={"known": known}),
        resource=GRANT.model_copy(update={"attrs": attrs}),
        context=context,
    )


def as_dict(value: Any) -> dict[str, Any]:
    """A record of Cedar's."""
    assert isinstance(value, dict)
    return value


def says_just_that(question: Question, permitting: str, fine: dict[str, bool]) -> None:
    """The shipped policy allows it if and only if everything is fine, and names what is not; without what it names every answer
    is another, without anything else it is the same.
    """
    forbidden = {name for name, holds in fine.items() if not holds}
    answer = SHIPPED.decide(question)
    assert (answer.allowed, set(answer.rules), answer.errors) == (not forbidden, forbidden or {permitting}, ())
    assert len(answer.advice) == len(forbidden)
    assert shipped_without(frozenset(answer.rules)).decide(question).allowed is not answer.allowed
    for name in NAMES.difference(answer.rules):
        if answer.allowed or name != permitting:
            assert shipped_without(frozenset({name})).decide(question) == answer


@unhurried
@given(asking, some.tuples(environments, environments), some.booleans())
def test_whoever_is_known_may_ask(context: dict[str, Any], environment: tuple[str, str], known: bool) -> None:
    """For anything, whatever they own: who has to agree is asked of their words."""
    says_just_that(about_people(Act.ASK, context, environment, known=known), "people-ask", {"known-people-ask": known})


@unhurried
@given(deciding, some.tuples(environments, environments), some.booleans())
def test_whose_word_counts(context: dict[str, Any], environment: tuple[str, str], known: bool) -> None:
    """An owner's, or their delegate's, who did not ask for it; a yes only where nothing is wrong, and signed in just now where it
    is about production.
    """
    fine = {
        "not-your-own": not context["own"],
        "owners-decide": context["owner"],
        "preflight-first": not context["agrees"] or context["failed"] == 0,
        "fresh-in-production": not context["agrees"] or "production" not in environment or context["fresh"],
    }
    says_just_that(about_people(Act.DECIDE, context, environment, known=known), "people-decide", fine)
