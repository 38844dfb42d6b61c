"""What is different between two configurations, in words: for whoever is about to sign, and for the record."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from shared.messages.texts import canonical, shown
from shared.rules.configuration import Configuration
from shared.rules.people import Delegation

_HIDDEN = frozenset({"external_id"})
_UNNAMED = "without @id"


def difference(old: Configuration | None, new: Configuration) -> list[str]:
    """Each difference as one line that names what it is about; nothing where they say the same. No external id is shown.

    ``old``: None where there was none before.
    """
    before, after = _said(old), _said(new)
    lines: list[str] = []
    lines += _fields("inventory", before["regions"], after["regions"])
    for what in ("account", "router", "issuer", "key", "person", "group", "delegation"):
        lines += _things(what, before[what], after[what])
    lines += _policy("" if old is None else old.policy, new.policy)
    return lines


def _said(configuration: Configuration | None) -> dict[str, dict[str, Any]]:
    """Everything that has a name, by its kind and its name."""
    kinds = ("regions", "account", "router", "issuer", "key", "person", "group", "delegation")
    found: dict[str, dict[str, Any]] = {kind: {} for kind in kinds}
    if configuration is None:
        return found
    inventory = configuration.inventory.model_dump()
    found["regions"] = {"regions": inventory["regions"]}
    for uid, account in inventory["accounts"].items():
        ecrs = account.pop("ecrs")
        found["account"][uid] = account
        found["router"] |= {ecr: {"account": uid, **facts} for ecr, facts in ecrs.items()}
    for name, rights in configuration.issuers.items():
        found["issuer"][name] = rights.model_dump(exclude={"keys"})
        found["key"] |= {key.kid: {"issuer": name, "state": key.state, "x": key.x} for key in rights.keys.keys}
    people = configuration.people
    found["person"] = {name: entry.model_dump() for name, entry in people.persons.items()}
    found["group"] = {name: {"members": sorted(members)} for name, members in people.groups.items()}
    found["delegation"] = {_delegated(one): {} for one in people.delegations}
    return found


def _delegated(one: Delegation) -> str:
    return f"of {one.of} to {one.to} from {one.from_.isoformat()} until {one.until.isoformat()}"


def _things(what: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted(before.keys() | after.keys()):
        if name not in after:
            yield f"{what} {name}: taken out"
        elif name not in before:
            yield f"{what} {name}: listed{_listed_as(what, after[name])}"
        else:
            yield from _fields(f"{what} {name}", before[name], after[name])


def _listed_as(what: str, facts: Mapping[str, Any]) -> str:
    """What is worth saying of something new: of a key whose it is, of a group who is in it, of an issuer its scope."""
    if what == "account":
        facts = {name: facts[name] for name in ("name", "owner", "environment")}
    told = [f"{name} {_value(value)}" for name, value in facts.items() if name != "x"]
    return f", {', '.join(told)}" if told else ""


def _fields(about: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        if name in _HIDDEN:
            yield f"{about}: {name} is another"
        elif isinstance(old, list) and isinstance(new, list):
            gone, come = (", ".join(map(str, sorted(set(a) - set(b)))) for a, b in ((old, new), (new, old)))
            told = [f"{verb} {items}" for verb, items in (("without", gone), ("with", come)) if items]
            yield f"{about}: {name} {' and '.join(told) or 'in another order'}"
        else:
            yield f"{about}: {name} is {_value(new)}, was {_value(old)}"


def _value(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, list):
        return f"[{', '.join(map(str, value))}]"
    return value if isinstance(value, str) and value.isprintable() else shown(value)


def _policy(old: str, new: str) -> Iterator[str]:
    if old == new:
        return
    before, after = _rules(old), _rules(new)
    if before is None or after is None:
        yield "policy: changed"
        return
    lines = []
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            verb = "taken out" if name not in after else "added" if name not in before else "changed"
            lines.append(f"policy: rule {name} {verb}")
    yield from lines or ["policy: written otherwise, and every rule says the same"]


def _rules(text: str) -> dict[str, list[bytes]] | None:
    """What the rules of a policy say, by their @id; None for a text that is no policy."""
    from cedarpy import policies_to_json_str  # noqa: PLC0415  # only where a policy is read

    if not text:
        return {}
    try:
        document = json.loads(policies_to_json_str(text))
    except ValueError:
        return None
    found: dict[str, list[bytes]] = {}
    for rule in (*document["staticPolicies"].values(), *document["templates"].values()):
        found.setdefault(rule.get("annotations", {}).get("id") or _UNNAMED, []).append(canonical(rule))
    return {name: sorted(rules) for name, rules in found.items()}
