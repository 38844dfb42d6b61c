"""A cloud in memory that does at once what it is asked, for benches that measure the ledger behind the product's own loops."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from shared.cloud.calls import Trail
from shared.cloud.pace import Busiest
from shared.errors import GrantError
from shared.messages.forms import GrantKey
from shared.rules.facts import AssociationSeen, SpokeSeen

_NONE = AssociationSeen(None, None, ())


class CalmCloud:
    """Both accounts' sides of every grant, by look and by page. Every instance and every ECR is there."""

    def __init__(self) -> None:
        self.calls = 0
        self.granted: set[GrantKey] = set()
        self.associations: dict[GrantKey, AssociationSeen] = {}
        self.trouble: dict[GrantKey, GrantError] = {}
        """What account B's side answers about a grant instead."""
        self.ranges: dict[GrantKey, tuple[str, ...]] = {}
        """The address ranges of instances, where account B shows any."""
        self.missing: set[GrantKey] = set()
        """Whose instance is not there."""

    def look_at_spoke(self, key: GrantKey, _trail: Trail, _known: SpokeSeen | None = None) -> SpokeSeen:
        """Account B's view."""
        if key in self.trouble:
            raise self.trouble[key]
        here = key not in self.missing, key in self.granted, key in self.associations
        return SpokeSeen(*here, cidrs=self.ranges.get(key))

    def grant(self, key: GrantKey, _token: str, _trail: Trail) -> None:
        """As account B."""
        self.granted.add(key)

    def revoke(self, key: GrantKey, _token: str, _trail: Trail) -> None:
        """As account B."""
        self.granted.discard(key)

    def look_at_association(self, key: GrantKey, _trail: Trail) -> AssociationSeen:
        """Account A's view."""
        return self.associations.get(key, _NONE)

    def associate(self, key: GrantKey, prefixes: tuple[str, ...], token: str, _trail: Trail) -> None:
        """As account A."""
        self.associations[key] = AssociationSeen("ACTIVE", f"assoc-{token}", prefixes)

    def dissociate(self, key: GrantKey, _association_id: str | None, _token: str, _trail: Trail) -> None:
        """As account A."""
        self.associations.pop(key, None)

    def set_prefixes(
        self, key: GrantKey, association_id: str | None, prefixes: tuple[str, ...], _token: str, _trail: Trail
    ) -> None:
        """As account A."""
        self.associations[key] = AssociationSeen("ACTIVE", association_id, prefixes)

    def busiest(self) -> Busiest:
        """No budget."""
        return Busiest()

    def owns_ecr(self, _owner: str, _ecr_id: str) -> bool:
        """Every ECR stays with its owner here."""
        return True

    def grants_on_ecr(self, owner: str, ecr_id: str) -> Iterator[GrantKey]:
        """What is granted to an ECR."""
        return (key for key in self.granted if (key.ecr_owner_uid, key.ecr_id) == (owner, ecr_id))

    def associations_on_ecr(self, owner: str, ecr_id: str) -> Iterator[tuple[GrantKey, AssociationSeen]]:
        """What hangs on an ECR."""
        for key, seen in self.associations.items():
            if (key.ecr_owner_uid, key.ecr_id) == (owner, ecr_id):
                yield key, seen

    def grants_of_account(self, account: str, region: str, ecr_owner: str) -> Iterator[GrantKey]:
        """What an account B has granted."""
        for key in self.granted:
            if (key.instance_owner_uid, key.instance_region, key.ecr_owner_uid) == (account, region, ecr_owner):
                yield key

    def existing(self, _account: str, _region: str, instances: Sequence[str]) -> set[str]:
        """Which instances an account B has: all that it is asked about."""
        return set(instances)
