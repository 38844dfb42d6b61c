"""What the shapes of a world file alone do not show: names that lead nowhere, ids used twice, what MNS would refuse."""

import ipaddress
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError

from localcloud.mistakes import meant
from localcloud.quotas import PUBLISHED
from localcloud.ram import PolicyError, compile_policy
from localcloud.switches import Switches
from localcloud.worldspec import REGIONS, AccountSpec, EcrSpec, Policies, VbrSpec, VpcSpec, WorldFile
from localcloud.yamlfile import Mistake, Place, dotted

MOST_QUEUES = MOST_TOPICS = 1_000
MOST_SUBSCRIPTIONS = 100


class Named(NamedTuple):
    """Names that a file gives, also where what carries them is wrong: a reference to such a thing is no mistake."""

    accounts: frozenset[str]
    queues: dict[str, frozenset[str]]
    """By account, like the others."""
    users: dict[str, frozenset[str]]
    roles: dict[str, frozenset[str]]


def named(raw: Any) -> Named:
    """The names in a file as it was given, whatever its shape."""
    accounts = raw.get("accounts") if isinstance(raw, dict) else None
    accounts = accounts if isinstance(accounts, dict) else {}

    def owned(kind: str) -> dict[str, frozenset[str]]:
        things = {
            str(uid): account.get(kind) if isinstance(account, dict) else None for uid, account in accounts.items()
        }
        return {
            uid: frozenset(map(str, found)) if isinstance(found, dict) else frozenset() for uid, found in things.items()
        }

    return Named(frozenset(map(str, accounts)), owned("queues"), owned("users"), owned("roles"))


def world_mistakes(world: WorldFile, names: Named) -> Iterator[Mistake]:
    """All of them, each with its place."""
    if world.region not in REGIONS:
        yield Mistake(("region",), f"region: unknown region {world.region!r}{meant(world.region, REGIONS)}")
    for at, region in enumerate(world.ecr_regions or ()):
        if region not in REGIONS:
            yield Mistake(("ecr_regions", at), f"ecr_regions: unknown region {region!r}{meant(region, REGIONS)}")
    if world.deploy is not None and world.deploy.account not in names.accounts:
        account = world.deploy.account
        yield Mistake(
            ("deploy", "account"), f"deploy.account: no such account {account!r}{meant(account, names.accounts)}"
        )
    yield from _switch_mistakes(world.switches)
    for name in world.quotas:
        if name not in PUBLISHED:
            hint = meant(name, PUBLISHED)
            yield Mistake(("quotas", name), f"quotas.{name}: unknown quota{hint}; known: {', '.join(PUBLISHED)}")
    yield from _duplicates(world)
    for uid, account_spec in world.accounts.items():
        yield from _account_mistakes(uid, account_spec, names.queues.get(uid, frozenset()))
        yield from _sign_in_mistakes(uid, account_spec, names)


def _switch_mistakes(switches: dict[str, str]) -> Iterator[Mistake]:
    try:
        Switches.model_validate(switches)
    except ValidationError as invalid:
        for error in invalid.errors():
            name = str(error["loc"][0])
            if error["type"] == "extra_forbidden":
                text = f"unknown key (value {error['input']!r}){meant(name, Switches.model_fields)}"
            else:
                text = f"{error['msg']}; found {error['input']!r}"
            yield Mistake(("switches", name), f"switches.{name}: {text}")


def _duplicates(world: WorldFile) -> Iterator[Mistake]:
    seen: dict[str, str] = {}
    for uid, account in world.accounts.items():
        found: list[tuple[Place, str, str]] = [
            (("users", name, "access_key", "id"), f"users.{name}.access_key", user.access_key.id)
            for name, user in account.users.items()
            if user.access_key is not None
        ]
        if account.access_key is not None:
            found.append((("access_key", "id"), "access_key", account.access_key.id))
        kinds: dict[str, Sequence[VpcSpec | VbrSpec | EcrSpec]] = {
            "vpcs": account.vpcs,
            "vbrs": account.vbrs,
            "ecrs": account.ecrs,
        }
        for kind, things in kinds.items():
            found += [((kind, at, "id"), f"{kind}.{thing.id}", thing.id) for at, thing in enumerate(things)]
        found += [(("people", name), f"people.{name}", f"person {name}") for name in account.people]
        found += [
            (("oauth_applications", client), f"oauth_applications.{client}", f"client {client}")
            for client in account.oauth_applications
        ]
        for inner, shown, identity in found:
            where = f"accounts.{uid}.{shown}"
            if identity in seen:
                yield Mistake(("accounts", uid, *inner), f"{where}: {identity!r} is used at {seen[identity]} already")
            seen[identity] = where


def _account_mistakes(uid: str, account: AccountSpec, queues: frozenset[str]) -> Iterator[Mistake]:
    where: Place = ("accounts", uid)
    for name, user in account.users.items():
        yield from _policy_mistakes((*where, "users", name, "policies"), user.policies)
    for name, role in account.roles.items():
        yield from _policy_mistakes((*where, "roles", name, "policies"), role.policies)
        yield from _document_mistakes((*where, "roles", name, "trust"), role.trust, trust=True)
    yield from _instance_mistakes(uid, account)
    yield from _queue_mistakes(uid, account, queues)
    yield from _topic_mistakes(uid, account, queues)


def _sign_in_mistakes(uid: str, account: AccountSpec, names: Named) -> Iterator[Mistake]:
    for name, person in account.people.items():
        for kind, wanted, there in (
            ("user", person.user, names.users.get(uid, frozenset())),
            ("role", person.role, names.roles.get(uid, frozenset())),
        ):
            if wanted is not None and wanted not in there:
                place: Place = ("accounts", uid, "people", name, kind)
                yield Mistake(place, f"{dotted(place)}: no {kind} {wanted!r} in this account{meant(wanted, there)}")
    for client, application in account.oauth_applications.items():
        for at, other in enumerate(application.installed_in):
            if other not in names.accounts:
                place = ("accounts", uid, "oauth_applications", client, "installed_in", at)
                yield Mistake(place, f"{dotted(place)}: no such account {other!r}{meant(other, names.accounts)}")


def _policy_mistakes(where: Place, policies: Policies) -> Iterator[Mistake]:
    for name, document in policies.items():
        yield from _document_mistakes((*where, name), document, trust=False)


def _document_mistakes(where: Place, document: object, *, trust: bool) -> Iterator[Mistake]:
    try:
        compile_policy(document, ".".join(map(str, where)), trust=trust)
    except PolicyError as error:
        for place, text in error.problems:
            yield Mistake((*where, *_steps(place)), text)


def _steps(inside: str) -> Iterator[str | int]:
    """The way into a policy document, from how its checker writes it: Statement[0].Condition."""
    for part in inside.replace("[", ".").replace("]", "").split("."):
        if part:
            yield int(part) if part.isdecimal() else part


def _instance_mistakes(uid: str, account: AccountSpec) -> Iterator[Mistake]:
    kinds: dict[str, Sequence[VpcSpec | VbrSpec]] = {"vpcs": account.vpcs, "vbrs": account.vbrs}
    for kind, instances in kinds.items():
        for at, instance in enumerate(instances):
            if instance.region not in REGIONS:
                yield Mistake(
                    ("accounts", uid, kind, at, "region"),
                    f"accounts.{uid}.{instance.id}.region: unknown region {instance.region!r}"
                    f"{meant(instance.region, REGIONS)}",
                )
    for at, vpc in enumerate(account.vpcs):
        where: Place = ("accounts", uid, "vpcs", at)
        ranges = [((*where, "cidr"), vpc.cidr)]
        ranges += [((*where, "secondary_cidrs", number), cidr) for number, cidr in enumerate(vpc.secondary_cidrs)]
        for place, cidr in ranges:
            try:
                ipaddress.ip_network(cidr)
            except ValueError as error:
                yield Mistake(place, f"accounts.{uid}.vpcs.{vpc.id}.cidr: {error}")


def _queue_mistakes(uid: str, account: AccountSpec, queues: frozenset[str]) -> Iterator[Mistake]:
    where: Place = ("accounts", uid, "queues")
    if len(queues) > MOST_QUEUES:
        yield Mistake(where, f"accounts.{uid}.queues: an account may have {MOST_QUEUES} queues, found {len(queues)}")
    for name, queue in account.queues.items():
        if queue.dead_letter is None:
            continue
        there = queue.dead_letter.queue
        shown = f"accounts.{uid}.queues.{name}.dead_letter.queue"
        place: Place = (*where, name, "dead_letter", "queue")
        if there not in queues:
            yield Mistake(place, f"{shown}: no queue {there!r} in this account{meant(there, queues)}")
        elif there == name:
            yield Mistake(place, f"{shown}: a queue cannot be its own dead-letter queue")


def _topic_mistakes(uid: str, account: AccountSpec, queues: frozenset[str]) -> Iterator[Mistake]:
    if len(account.topics) > MOST_TOPICS:
        text = f"accounts.{uid}.topics: an account may have {MOST_TOPICS} topics, found {len(account.topics)}"
        yield Mistake(("accounts", uid, "topics"), text)
    for topic_name, topic in account.topics.items():
        where: Place = ("accounts", uid, "topics", topic_name, "subscriptions")
        if len(topic.subscriptions) > MOST_SUBSCRIPTIONS:
            text = f"a topic may have {MOST_SUBSCRIPTIONS} subscriptions, found {len(topic.subscriptions)}"
            yield Mistake(where, f"{'.'.join(map(str, where))}: {text}")
        for name, subscription in topic.subscriptions.items():
            shown = f"{'.'.join(map(str, where))}.{name}"
            for key, target in (("queue", subscription.queue), ("dead_letter", subscription.dead_letter)):
                if target is not None and target not in queues:
                    text = f"{shown}.{key}: no queue {target!r} in this account{meant(target, queues)}"
                    yield Mistake((*where, name, key), text)
            if subscription.queue is not None and subscription.dead_letter == subscription.queue:
                text = f"{shown}.dead_letter: a subscription cannot use its own target queue"
                yield Mistake((*where, name, "dead_letter"), text)
            queue = account.queues.get(subscription.queue or "")
            if queue is not None and queue.MaximumMessageSize < topic.MaximumMessageSize:
                yield Mistake(
                    (*where, name, "queue"),
                    f"{shown}.queue: MaximumMessageSize of the queue ({queue.MaximumMessageSize}) is smaller than that "
                    f"of the topic ({topic.MaximumMessageSize})",
                )
