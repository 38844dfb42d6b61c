"""How RAM decides, for identity, session and trust policies (openapi-ecr-vpc-sts.md section 3.4).

Policies are compiled once, when a world is loaded or a session is minted; a decision is then a walk over a few
pre-compiled patterns. Whatever a policy says that is not understood here makes the policy invalid: a statement that
is silently skipped would be a permission nobody meant.
"""

import base64
import contextlib
import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

ALLOW, DENY = "Allow", "Deny"

CONDITION_KEYS = frozenset(
    {
        "acs:sourceip",
        "acs:currenttime",
        "acs:securetransport",
        "acs:mfapresent",
        "sts:externalid",
        "instancetype",
        "expressconnectrouter:instancetype",
    }
)
"""Keys a call can carry, in lower case: key names compare without case."""


class PolicyError(ValueError):
    """A policy document that cannot be used; says everything that is wrong, where, and what was found."""

    def __init__(self, *texts: str, name: str = "") -> None:
        super().__init__("; ".join(texts))
        self.texts = texts
        self.name = name

    @property
    def problems(self) -> list[tuple[str, str]]:
        """Each with its place inside the document."""
        return [(text.partition(": ")[0].removeprefix(self.name), text) for text in self.texts]


class _Findings(list[str]):
    """Mistakes of one part of a document; looking goes on behind each."""

    @contextlib.contextmanager
    def part(self) -> Iterator[None]:
        """What is wrong in here is noted."""
        try:
            yield
        except PolicyError as error:
            self.extend(error.texts)

    def settle(self) -> None:
        """Raise them all, when there are any."""
        if self:
            raise PolicyError(*self)


class Decision(NamedTuple):
    """What RAM said about one (action, resource), and why."""

    allowed: bool
    action: str
    resource: str
    why: str
    no_permission_type: str = ""
    """ImplicitDeny or ExplicitDeny when refused."""
    policy_type: str = ""
    """The kind of policy that refused: AccountLevelIdentityBasedPolicy, SessionPolicy or AssumeRolePolicy."""

    def to_json(self) -> dict[str, Any]:
        """The members the journal shows."""
        return {"allowed": self.allowed, "action": self.action, "resource": self.resource, "why": self.why}


Lookup = Callable[[str], str | None]
"""Finds the value a call carries for a condition key given in lower case."""

Test = Callable[[str, Sequence[str]], bool]


def _wildcard(patterns: Iterable[str], flags: int = 0) -> re.Pattern[str]:
    """One pattern that matches whatever one of several texts with * and ? does."""
    alternatives = [
        "".join(".*" if c == "*" else "." if c == "?" else re.escape(c) for c in pattern) for pattern in patterns
    ]
    return re.compile("|".join(alternatives), flags | re.DOTALL)


def _number(text: str) -> float:
    return float(text)


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _networks(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network(text, strict=False)


def _boolean(text: str) -> bool:
    if text.lower() not in {"true", "false"}:
        raise ValueError(f"not a boolean: {text}")
    return text.lower() == "true"


def _compare(parse: Callable[[str], Any], relation: Callable[[Any, Any], bool]) -> tuple[Callable[[str], Any], Test]:
    """An operator whose value must parse; a request value that does not parse matches nothing."""

    def test(found: str, wanted: Sequence[str]) -> bool:
        try:
            value = parse(found)
        except ValueError:
            return False
        return any(relation(value, parse(text)) for text in wanted)

    return parse, test


def _inside(found: str, wanted: Sequence[str]) -> bool:
    try:
        address = ipaddress.ip_address(found)
    except ValueError:
        return False
    return any(address in _networks(text) for text in wanted)


_PLAIN: Mapping[str, tuple[Callable[[str], Any], Test]] = {
    "StringEquals": _compare(str, lambda a, b: a == b),
    "StringEqualsIgnoreCase": _compare(str.casefold, lambda a, b: a == b),
    "StringLike": (str, lambda found, wanted: _wildcard(wanted).fullmatch(found) is not None),
    "NumericEquals": _compare(_number, lambda a, b: a == b),
    "NumericLessThan": _compare(_number, lambda a, b: a < b),
    "NumericLessThanEquals": _compare(_number, lambda a, b: a <= b),
    "NumericGreaterThan": _compare(_number, lambda a, b: a > b),
    "NumericGreaterThanEquals": _compare(_number, lambda a, b: a >= b),
    "DateEquals": _compare(_moment, lambda a, b: a == b),
    "DateLessThan": _compare(_moment, lambda a, b: a < b),
    "DateLessThanEquals": _compare(_moment, lambda a, b: a <= b),
    "DateGreaterThan": _compare(_moment, lambda a, b: a > b),
    "DateGreaterThanEquals": _compare(_moment, lambda a, b: a >= b),
    "Bool": _compare(_boolean, lambda a, b: a == b),
    "IpAddress": (_networks, _inside),
}
_NEGATED: Mapping[str, str] = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "NumericNotEquals": "NumericEquals",
    "DateNotEquals": "DateEquals",
    "NotIpAddress": "IpAddress",
}
CONDITION_OPERATORS = frozenset(_PLAIN) | frozenset(_NEGATED)


@dataclass(frozen=True, slots=True)
class Condition:
    """One operator on one key; several values are alternatives."""

    operator: str
    key: str
    values: tuple[str, ...]
    test: Test
    negated: bool

    def holds(self, lookup: Lookup) -> bool:
        """Whether a call satisfies it. A call without the key satisfies only the negated operators."""
        found = lookup(self.key.lower())
        if found is None:
            return self.negated
        return self.test(found, self.values) is not self.negated

    def explain(self, lookup: Lookup) -> str:
        """For people: what was wanted and what the call carried."""
        found = lookup(self.key.lower())
        carried = "the call carries no value" if found is None else f"the call carries {found!r}"
        return f"{self.operator} {self.key} wants {' or '.join(map(repr, self.values))}, {carried}"


@dataclass(frozen=True, slots=True)
class Statement:
    """One compiled statement of an identity or session policy, or of a trust policy."""

    effect: str
    actions: re.Pattern[str]
    not_actions: bool
    resources: re.Pattern[str] | None
    """None when the statement is about every resource, as trust policies are."""
    conditions: tuple[Condition, ...]
    principals: frozenset[str] = frozenset()
    services: frozenset[str] = frozenset()
    where: str = ""

    def names(self, action: str, resource: str) -> bool:
        """Whether action and resource fall under this statement, conditions aside."""
        if (self.actions.fullmatch(action) is not None) is self.not_actions:
            return False
        return self.resources is None or self.resources.fullmatch(resource) is not None

    def unmet(self, lookup: Lookup) -> Condition | None:
        """The first condition that does not hold."""
        for condition in self.conditions:
            if not condition.holds(lookup):
                return condition
        return None


@dataclass(frozen=True, slots=True)
class Policy:
    """A compiled policy document under the name it has in the world."""

    name: str
    statements: tuple[Statement, ...]


def _strings(value: object, where: str) -> tuple[str, ...]:
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not values or not all(isinstance(item, str) and item for item in values):
        raise PolicyError(f"{where}: a string or a list of strings is wanted, found {value!r}")
    return tuple(values)


def _conditions(block: object, where: str) -> tuple[Condition, ...]:
    if not isinstance(block, dict):
        raise PolicyError(f"{where}: a mapping of operators is wanted, found {block!r}")
    conditions: list[Condition] = []
    found = _Findings()
    for operator, keys in block.items():
        here = f"{where}.{operator}"
        if operator not in CONDITION_OPERATORS:
            found.append(f"{here}: unknown condition operator; known: {', '.join(sorted(CONDITION_OPERATORS))}")
        elif not isinstance(keys, dict) or not keys:
            found.append(f"{here}: a mapping of condition keys is wanted, found {keys!r}")
        else:
            for key, raw in keys.items():
                with found.part():
                    conditions.append(_condition(operator, str(key), raw, f"{here}.{key}"))
    found.settle()
    return tuple(conditions)


def _condition(operator: str, key: str, raw: object, where: str) -> Condition:
    if key.lower() not in CONDITION_KEYS:
        raise PolicyError(f"{where}: this condition key is not emulated")
    parse, test = _PLAIN[_NEGATED.get(operator, operator)]
    plain = [str(item).lower() if isinstance(item, bool) else item for item in _listed(raw)]
    values = _strings([str(item) if isinstance(item, int | float) else item for item in plain], where)
    found = _Findings()
    for value in values:
        try:
            parse(value)
        except ValueError:
            found.append(f"{where}: {value!r} does not fit {operator}")
    found.settle()
    return Condition(operator, key, values, test, operator in _NEGATED)


def _listed(value: object) -> list[object]:
    return list(value) if isinstance(value, list) else [value]


_PRINCIPAL = re.compile(r"acs:ram::\d{15,20}:(root|user/[A-Za-z0-9.@_-]+|role/[A-Za-z0-9.-]+)")


def _principals(block: object, where: str) -> tuple[frozenset[str], frozenset[str]]:
    if not isinstance(block, dict) or not block:
        raise PolicyError(f"{where}: a mapping with RAM or Service is wanted, found {block!r}")
    people: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    found = _Findings()
    for kind, value in block.items():
        with found.part():
            if kind == "RAM":
                people = _strings(value, f"{where}.RAM")
            elif kind == "Service":
                services = _strings(value, f"{where}.Service")
            else:
                raise PolicyError(f"{where}.{kind}: this kind of principal is not emulated; known: RAM, Service")
    for person in people:
        if not _PRINCIPAL.fullmatch(person):
            found.append(
                f"{where}.RAM: {person!r} is none of acs:ram::<uid>:root, acs:ram::<uid>:user/<name>, "
                "acs:ram::<uid>:role/<name>"
            )
    found.settle()
    return frozenset(people), frozenset(services)


def _actions(raw: Mapping[str, object], where: str) -> tuple[str, ...]:
    if ("Action" in raw) == ("NotAction" in raw):
        raise PolicyError(f"{where}: exactly one of Action and NotAction is wanted")
    actions = _strings(raw.get("Action", raw.get("NotAction")), f"{where}.Action")
    _Findings(
        f"{where}.Action: {action!r} is not <product>:<operation>"
        for action in actions
        if not re.fullmatch(r"\*|[A-Za-z0-9*?-]+:[A-Za-z0-9*?]+", action)
    ).settle()
    return actions


def _resources(raw: object, where: str) -> tuple[str, ...]:
    resources = _strings(raw, where)
    _Findings(
        f"{where}: {resource!r} is not acs:<product>:<region>:<uid>:<resource> (or *)"
        for resource in resources
        if resource != "*" and not re.fullmatch(r"acs:[^:$]+:[^:$]*:[^:$]*:[^$]+", resource)
    ).settle()
    return resources


def _statement(raw: object, where: str, *, trust: bool) -> Statement:
    if not isinstance(raw, dict):
        raise PolicyError(f"{where}: a mapping is wanted, found {raw!r}")
    known = {"Effect", "Action", "NotAction", "Condition"} | ({"Principal"} if trust else {"Resource"})
    found = _Findings(
        f"{where}.{key}: unknown element; known here: {', '.join(sorted(known))}" for key in raw if key not in known
    )
    if raw.get("Effect") not in (ALLOW, DENY):
        found.append(f"{where}.Effect: Allow or Deny is wanted, found {raw.get('Effect')!r}")
    actions: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    conditions: tuple[Condition, ...] = ()
    principals: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset())
    with found.part():
        actions = _actions(raw, where)
    with found.part():
        if trust:
            principals = _principals(raw.get("Principal"), f"{where}.Principal")
        else:
            resources = _resources(raw.get("Resource"), f"{where}.Resource")
    with found.part():
        conditions = _conditions(raw.get("Condition", {}), f"{where}.Condition")
    found.settle()
    return Statement(
        effect=raw["Effect"],
        actions=_wildcard(actions, re.IGNORECASE),
        not_actions="NotAction" in raw,
        resources=None if not resources or "*" in resources else _wildcard(resources),
        conditions=conditions,
        principals=principals[0],
        services=principals[1],
        where=where,
    )


def compile_policy(document: object, name: str, *, trust: bool = False) -> Policy:
    """Check a policy document and make it fast; raises PolicyError with the path of what is wrong."""
    if not isinstance(document, dict):
        raise PolicyError(f"{name}: a policy document is a mapping, found {document!r}", name=name)
    found = _Findings(
        f"{name}.{key}: unknown element; known here: Statement, Version"
        for key in document
        if key not in {"Version", "Statement"}
    )
    if document.get("Version") != "1":
        found.append(f'{name}.Version: "1" (quoted) is wanted, found {document.get("Version")!r}')
    raw = document.get("Statement")
    statements: list[Statement] = []
    if isinstance(raw, list) and raw:
        for index, item in enumerate(raw):
            with found.part():
                statements.append(_statement(item, f"{name}.Statement[{index}]", trust=trust))
    else:
        found.append(f"{name}.Statement: a list of statements is wanted, found {raw!r}")
    if found:
        raise PolicyError(*found, name=name)
    return Policy(name, tuple(statements))


def evaluate(policies: Iterable[Policy], action: str, resource: str, lookup: Lookup, policy_type: str) -> Decision:
    """One layer of policies: an explicit Deny wins over every Allow, nothing that matches is an implicit deny."""
    allowing: Statement | None = None
    nearly: list[str] = []
    for policy in policies:
        for statement in policy.statements:
            if not statement.names(action, resource):
                continue
            unmet = statement.unmet(lookup)
            if unmet is not None:
                nearly.append(f"{statement.where}: {unmet.explain(lookup)}")
            elif statement.effect == DENY:
                return Decision(False, action, resource, f"denied by {statement.where}", "ExplicitDeny", policy_type)
            else:
                allowing = allowing or statement
    if allowing is not None:
        return Decision(True, action, resource, f"allowed by {allowing.where}")
    why = f"no {_LAYER[policy_type]} allows {action} on {resource}"
    if nearly:
        why += f" ({'; '.join(nearly)})"
    return Decision(False, action, resource, why, "ImplicitDeny", policy_type)


_LAYER = {
    "AccountLevelIdentityBasedPolicy": "identity policy",
    "SessionPolicy": "session policy",
    "AssumeRolePolicy": "trust policy",
}


def evaluate_trust(
    policy: Policy, role_arn: str, principals: Sequence[str], service: str | None, lookup: Lookup
) -> Decision:
    """Whether a role's trust policy lets a principal (under any of its names) or a cloud service assume it."""
    action = "sts:AssumeRole"
    allowing: Statement | None = None
    nearly: list[str] = []
    for statement in policy.statements:
        trusted = service in statement.services if service is not None else statement.principals & set(principals)
        if not trusted or not statement.names(action, role_arn):
            continue
        unmet = statement.unmet(lookup)
        if unmet is not None:
            nearly.append(f"{statement.where}: {unmet.explain(lookup)}")
        elif statement.effect == DENY:
            why = f"denied by trust policy {statement.where}"
            return Decision(False, action, role_arn, why, "ExplicitDeny", "AssumeRolePolicy")
        else:
            allowing = allowing or statement
    if allowing is not None:
        return Decision(True, action, role_arn, f"trusted by {allowing.where}")
    who = service if service is not None else principals[0]
    why = f"the trust policy of {role_arn} does not trust {who}"
    if nearly:
        why += f" ({'; '.join(nearly)})"
    return Decision(False, action, role_arn, why, "ImplicitDeny", "AssumeRolePolicy")


_PRINCIPAL_TYPES = {"root": "Account", "user": "SubUser", "role": "AssumedRoleUser"}


def access_denied_detail(decision: Decision, kind: str, account: str, display_name: str) -> dict[str, str]:
    """The object that RAM refusals carry (section 4.5).

    EncodedDiagnosticMessage is an encrypted text on the real service; here it is Base64 of the reason, so that a
    person who decodes it is helped.
    """
    return {
        "AuthAction": decision.action,
        "AuthPrincipalType": _PRINCIPAL_TYPES[kind],
        "AuthPrincipalOwnerId": account,
        "AuthPrincipalDisplayName": display_name,
        "NoPermissionType": decision.no_permission_type,
        "PolicyType": decision.policy_type,
        "EncodedDiagnosticMessage": base64.b64encode(decision.why.encode()).decode(),
    }
