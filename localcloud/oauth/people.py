"""Who can be chosen when an application asks for a sign-in, and what tokens say about them (channels.md section 1.3)."""

import hashlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from localcloud.call import Caller
from localcloud.world import World, ram_id
from localcloud.worldspec import AccountSpec, ApplicationSpec, PersonSpec

Kind = Literal["account", "user", "role"]


@dataclass(frozen=True)
class Person:
    """Somebody of the world file."""

    name: str
    """What the world file and the page call them; no token does."""
    account: str
    account_name: str
    kind: Kind
    sub: str
    uid: str
    """The account's own id, a RAM user's, or a role's: everybody who assumes the role has the same."""
    label: dict[str, str]
    """The claim that is for people to read: login_name, or upn and name, or name."""
    caller: Caller = field(repr=False)

    def claims(self, scopes: Collection[str], *, older: bool) -> dict[str, Any]:
        """Who they are, as far as the scopes go; ``older``: as the pages said before."""
        claims: dict[str, Any] = {"sub": self.uid if older and self.kind != "role" else self.sub}
        if "aliuid" in scopes:
            claims |= {"aid": self.account, "uid": self.uid}
        if "profile" in scopes:
            claims |= self.label
            if not older:
                claims["type"] = self.kind
            elif self.kind == "account":
                claims["name"] = self.account_name or self.account
        return claims


@dataclass(frozen=True)
class Application:
    """An OAuth application and the account that owns it."""

    client_id: str
    account: str
    spec: ApplicationSpec

    def refuses(self, person: Person) -> str:
        """Why this person cannot use it; empty when they can."""
        if person.account not in {self.account, *self.spec.installed_in}:
            return f"account {person.account} has not installed this application"
        if person.kind == "role" and not self.spec.roles:
            return "this application does not let sessions of roles sign in"
        return ""


def people(world: World) -> dict[str, Person]:
    """Everybody, by name, in the order of the file."""
    return {person.name: person for uid, account in world.accounts.items() for person in _of(world, uid, account)}


def applications(world: World) -> dict[str, Application]:
    """All of them, by client id."""
    return {
        client: Application(client, uid, spec)
        for uid, account in world.accounts.items()
        for client, spec in account.oauth_applications.items()
    }


def _of(world: World, uid: str, account: AccountSpec) -> Iterator[Person]:
    for name, spec in account.people.items():
        kind, sub, own, label, caller = _identity(world, uid, account, spec)
        yield Person(name, uid, account.name, kind, sub, own, label, caller)


def _identity(
    world: World, uid: str, account: AccountSpec, spec: PersonSpec
) -> tuple[Kind, str, str, dict[str, str], Caller]:
    if spec.role is not None and spec.session is not None:
        role, session = spec.role, spec.session
        role_id = world.roles[uid, role].role_id
        arn = f"acs:ram::{uid}:assumed-role/{role}/{session}"
        caller = Caller(uid, "role", role, session, arn, "", "")
        return "role", f"{role_id}:{session}", role_id, {"name": f"{role}:{session}"}, caller
    if spec.user is not None:
        user = spec.user
        shown = {"upn": f"{user}@{uid}.onaliyun.com", "name": account.users[user].display_name or user}
        caller = Caller(uid, "user", user, None, f"acs:ram::{uid}:user/{user}", "", "")
        return "user", spec.sub or _opaque(uid, user), ram_id("user", uid, user), shown, caller
    caller = Caller(uid, "root", "", None, f"acs:ram::{uid}:root", "", "")
    return "account", spec.sub or _opaque(uid, ""), uid, {"login_name": spec.root or ""}, caller


def _opaque(account: str, user: str) -> str:
    """A sub that says nothing and stays."""
    return hashlib.sha256(f"sub of {user} in {account}".encode()).hexdigest()[:32]
