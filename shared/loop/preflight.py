"""The look that people decide by: enters both accounts of a request, reads, and returns what was seen.

What cannot be read is unknown with its reason, and stops nothing else. Bounded: a few pages of each listing, a few other regions
and accounts, and after some seconds no further read begins.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol, TypeVar

from shared import words
from shared.errors import GrantError, LedgerError, NeedsSomebody, PermanentError, PermissionMissing
from shared.messages.forms import GrantKey, InstanceType
from shared.rules.inventory import Inventory
from shared.rules.looked import (
    Asked,
    EcrSeen,
    EcrUse,
    GrantSeen,
    InstanceSeen,
    NeighbourSeen,
    Own,
    RoleSeen,
    Unread,
    World,
)

SECONDS = 25.0
_REGIONS = 8  # of account B, where an instance is looked for that is not where it was asked for
_ACCOUNTS = 20  # that may have what the asked one has not
_RANGES = 12  # calls for the address ranges of what is on the router, 20 VPCs each
_IDS = 20

T = TypeVar("T")


class Accounts(Protocol):
    """Both accounts to look at, as ``shared.cloud.survey`` has them. Every method raises GrantError."""

    def enter(self, account: str) -> None:
        """Assume the account's role anew."""
        ...

    def instance(self, key: GrantKey) -> InstanceSeen | None:
        """The instance where it is asked for."""
        ...

    def has(self, account: str, region: str, instance: str) -> bool:
        """Whether an account has this instance in a region."""
        ...

    def asns(self, key: GrantKey) -> tuple[int, ...]:
        """The cloud's side of a VBR's BGP groups."""
        ...

    def grants(self, key: GrantKey) -> tuple[GrantSeen, ...]:
        """The routers that the instance is granted to."""
        ...

    def router(self, owner: str, ecr_id: str) -> EcrSeen | None:
        """The router as that account has it."""
        ...

    def regions(self, owner: str, kind: InstanceType) -> tuple[str, ...]:
        """Where an ECR reaches instances of this kind."""
        ...

    def use(self, owner: str, ecr_id: str) -> EcrUse:
        """What is on the router and granted to it."""
        ...

    def ranges(self, account: str, region: str, vpcs: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
        """The address ranges of an account's VPCs in a region."""
        ...


class Preflight:
    """Looks at the world of one request after another; not for two threads at once."""

    def __init__(
        self,
        accounts: Accounts,
        inventory: Inventory,
        *,
        seconds: float = SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``seconds``: after so long no further read of a look begins; one that has begun may take as long as a read may."""
        self._accounts = accounts
        self._inventory = inventory
        self._seconds = seconds
        self._clock = clock
        self._until = 0.0
        self._missing: list[tuple[str, str]] = []  # (account, what its role did not let us read)

    def look(self, asked: Asked, own: Own) -> World:
        """Everything that can be seen of a request. Raises LedgerError alone. ``own``: what the ledger and an operator know; the
        routers that the inventory lists are filled in.
        """
        key = asked.key
        self._until, self._missing = self._clock() + self._seconds, []
        role_a, role_b = self._role(key.ecr_owner_uid), self._role(key.instance_owner_uid)
        in_a, in_b = _let_in(role_a), _let_in(role_b)
        ecr = self._router(key, in_a)
        at_home = in_a if isinstance(ecr, Unread) or ecr.owner == key.ecr_owner_uid else _elsewhere(key, ecr)
        regions = self._read("regions", key.ecr_owner_uid, in_a, lambda: self._regions(key))
        use = self._read("use of the router", key.ecr_owner_uid, at_home, lambda: self._use(key))
        instance = self._instance(key, in_b, use)
        there = in_b
        placed = key.instance_owner_uid, key.instance_region
        if not isinstance(instance, Unread) and (instance.owner, instance.region) != placed:
            there = f"{key.instance_id} is not where it was asked for"
        grants = self._read("grants", key.instance_owner_uid, there, lambda: self._accounts.grants(key))
        if key.instance_type is InstanceType.VPC and not isinstance(use, Unread):
            use = replace(use, neighbours=self._with_ranges(key, use.neighbours))
        listed = frozenset(ecr_id for account in self._inventory.accounts.values() for ecr_id in account.ecrs)
        hub = self._inventory.accounts.get(key.ecr_owner_uid)
        if hub is not None and key.ecr_id in hub.ecrs:  # its role need not let us look at a router that is not listed
            role_a = self._with_missing(key.ecr_owner_uid, role_a)
        role_b = self._with_missing(key.instance_owner_uid, role_b)
        return World(role_a, role_b, instance, grants, ecr, regions, use, replace(own, ecrs=listed))

    def _with_missing(self, account: str, role: RoleSeen | Unread) -> RoleSeen | Unread:
        """What is known of a role after everything was read."""
        found = tuple(dict.fromkeys(text for uid, text in self._missing if uid == account))
        return role if isinstance(role, Unread) or role.refusal is not None else replace(role, missing=found)

    # -- one read ----------------------------------------------------------------------------------------------------

    def _read(
        self, what: str, account: str, why_not: str | None, read: Callable[[], T], *, aside: bool = False
    ) -> T | Unread:
        """What a read shows, or why it shows nothing. ``why_not``: why it need not be tried. ``aside``: the account is asked for
        what it need not have, nor let us look for.
        """
        if why_not is not None:
            return Unread(why_not)
        if self._clock() >= self._until:
            return Unread(f"it was not looked at: {self._seconds:g} s were over")
        try:
            return read()
        except LedgerError:
            raise
        except GrantError as error:
            if isinstance(error, PermissionMissing) and not aside:
                self._missing.append((account, str(error)))
            return Unread(str(error))
        except Exception as error:  # noqa: BLE001  # said, with its traceback; whoever decides is told that it is unknown
            words.preflight_failed(what=what, account=account)
            return Unread(f"unexpected {type(error).__name__}")

    def _role(self, account: str) -> RoleSeen | Unread:
        """A refusal is an answer: of the role, or of whoever has no such role."""

        def attempt() -> RoleSeen:
            try:
                self._accounts.enter(account)
            except (NeedsSomebody, PermanentError) as error:
                return RoleSeen(str(error))
            return RoleSeen()

        return self._read("role", account, None, attempt)

    # -- account A ---------------------------------------------------------------------------------------------------

    def _router(self, key: GrantKey, in_a: str | None) -> EcrSeen | Unread:
        """The router, wherever it is: as account A has it, else as another account of the inventory that has routers."""
        owner = key.ecr_owner_uid
        found = self._read("router", owner, in_a, lambda: self._accounts.router(owner, key.ecr_id))
        if isinstance(found, EcrSeen):
            return found
        for other in [uid for uid, one in self._inventory.accounts.items() if one.ecrs and uid != owner][:_ACCOUNTS]:
            there = self._read("router", other, None, partial(self._accounts.router, other, key.ecr_id), aside=True)
            if isinstance(there, EcrSeen):
                return there
        return EcrSeen(None) if found is None else found

    def _regions(self, key: GrantKey) -> tuple[str, ...]:
        return self._accounts.regions(key.ecr_owner_uid, key.instance_type)

    def _use(self, key: GrantKey) -> EcrUse:
        return self._accounts.use(key.ecr_owner_uid, key.ecr_id)

    # -- account B ---------------------------------------------------------------------------------------------------

    def _instance(self, key: GrantKey, in_b: str | None, use: EcrUse | Unread) -> InstanceSeen | Unread:
        """The instance where it was asked for; else where it is."""
        found = self._read("instance", key.instance_owner_uid, in_b, lambda: self._accounts.instance(key))
        if isinstance(found, Unread):
            return found
        if found is not None and key.instance_type is InstanceType.VBR:
            asns = self._read("BGP groups", key.instance_owner_uid, None, lambda: self._accounts.asns(key))
            return replace(found, asns=asns)
        return found or self._strayed(key, use)

    def _strayed(self, key: GrantKey, use: EcrUse | Unread) -> InstanceSeen:
        """Where else an instance is: as account A shows it, in other regions of account B, or with other accounts there."""
        if not isinstance(use, Unread):
            shown = [(one.name, one.owner, one.region) for one in use.granted]
            shown += [(one.name, one.owner, one.region) for one in use.neighbours]
            for name, owner, region in shown:
                # What outlasts a deleted instance is no sign of it.
                if name == key.instance_id and (owner, region) != (key.instance_owner_uid, key.instance_region):
                    return InstanceSeen(owner, region)
        uid = key.instance_owner_uid
        mine = self._inventory.accounts.get(uid)
        regions = (mine.regions if mine else None) or self._inventory.regions or []
        places = [(uid, region) for region in regions if region != key.instance_region][:_REGIONS]
        others = [other for other in self._inventory.accounts if other != uid]
        places += [(other, key.instance_region) for other in others][:_ACCOUNTS]
        for account, region in places:
            has = partial(self._accounts.has, account, region, key.instance_id)
            there = self._read("instance", account, None, has, aside=account != uid)
            if there is True:
                return InstanceSeen(account, region)
        return InstanceSeen(None, None)

    def _with_ranges(self, key: GrantKey, neighbours: tuple[NeighbourSeen, ...]) -> tuple[NeighbourSeen, ...]:
        """The neighbours with their address ranges, as far as their accounts are listed and show them."""
        places: dict[tuple[str, str], list[str]] = {}
        for one in neighbours:
            if one.kind == InstanceType.VPC and one.name != key.instance_id and one.owner in self._inventory.accounts:
                places.setdefault((one.owner, one.region), []).append(one.name)
        chunks = [
            (place, names[start : start + _IDS])
            for place, names in places.items()
            for start in range(0, len(names), _IDS)
        ]
        known: dict[str, tuple[str, ...]] = {}
        for (account, region), names in chunks[:_RANGES]:
            ranges = partial(self._accounts.ranges, account, region, names)
            shown = self._read("address ranges", account, None, ranges, aside=account != key.instance_owner_uid)
            if not isinstance(shown, Unread):
                known |= shown
        return tuple(replace(one, cidrs=known.get(one.name)) for one in neighbours)


def _let_in(role: RoleSeen | Unread) -> str | None:
    """Why nothing can be read in an account; None where something can."""
    if isinstance(role, Unread):
        return role.reason
    return None if role.refusal is None else f"its role does not let us in: {role.refusal}"


def _elsewhere(key: GrantKey, ecr: EcrSeen) -> str:
    where = "nobody who was asked has it" if ecr.owner is None else f"account {ecr.owner} has it"
    return f"{key.ecr_id} is not account {key.ecr_owner_uid}'s: {where}"
