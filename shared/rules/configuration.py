"""The configuration: what an operator decides, in numbered versions of which whoever deploys says who may sign them.

Accounts, issuers and people are checked against each other here, so that one that holds together is the only kind there is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from shared.errors import BadInput
from shared.messages.configuration import SealKey, read_bundle, signers, unreadable
from shared.messages.forms import Digest, Issuer
from shared.messages.texts import canonical, faults
from shared.rules.consistency import inconsistencies
from shared.rules.inventory import Inventory
from shared.rules.issuers import IssuerRights
from shared.rules.people import People


class Configuration(BaseModel):
    """One version's content. Refuses, field by field, what does not hold together."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    inventory: Inventory
    issuers: dict[Issuer, IssuerRights]
    people: People
    policy: Annotated[str, Field(min_length=1, max_length=1_000_000)]

    @model_validator(mode="after")
    def _holds_together(self) -> Configuration:
        found = [one for one in inconsistencies(self.inventory, self.issuers, self.people) if one.refused]
        if found:
            raise ValueError("; ".join(f"{'.'.join(map(str, one.path))}: {one.text}" for one in found[:20]))
        return self

    @cached_property
    def seal_keys(self) -> Mapping[str, SealKey]:
        """Every key that an approval may be sealed with, whatever its state, by its name."""
        return {key.kid: key for name, rights in self.issuers.items() for key in rights.seal_keys(name)}

    @property
    def content(self) -> dict[str, object]:
        """As a bundle has it: JSON."""
        return self.model_dump(mode="json", by_alias=True)


class Statement(BaseModel):
    """What a bundle's payload says, apart from its content."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    schema_: Literal["ecr-grants/configuration/1"] = Field(alias="schema")
    number: Annotated[int, Field(ge=1, le=2**31 - 1)]
    previous: Digest
    content: dict[str, object]


@dataclass(frozen=True)
class Version:
    """One version that enough keys have signed. ``digest`` is the SHA-256 of ``payload``, ``previous`` that of the one before."""

    number: int
    digest: str
    previous: str
    signers: tuple[str, ...]
    configuration: Configuration
    payload: bytes


def digest_of(raw: bytes) -> str:
    """The digest by which a version is named: SHA-256 of its payload."""
    return hashlib.sha256(raw).hexdigest()


def stated(raw: bytes, successor_of: tuple[int, str] | None = None) -> tuple[Statement, Configuration]:
    """What a payload says; where ``successor_of`` names a number and a digest, of the version after that one.

    Raises BadInput: code ConfigurationUnreadable, or NotTheSuccessor before anything of the content is read.
    """
    try:
        # One byte string per meaning: blanks, another order or a member that is there twice are somebody's mischief.
        if canonical(json.loads(raw)) != raw:
            raise unreadable("the payload is not in canonical form: sorted, without blanks, in ASCII, nothing twice")
        said = Statement.model_validate_json(raw)
    except ValidationError as error:
        raise unreadable(f"the payload: {faults(error)}") from None
    except (ValueError, RecursionError) as error:
        raise unreadable(f"the payload is not usable JSON ({type(error).__name__})") from None
    _check_successor(said, successor_of)
    try:
        return said, Configuration.model_validate_json(canonical(said.content))
    except ValidationError as error:
        raise unreadable(f"the content: {faults(error, hidden='external_id')}") from None


def _check_successor(said: Statement, before: tuple[int, str] | None) -> None:
    if (said.number == 1) != (said.previous == ""):
        raise unreadable("previous: must be empty in version 1, and in every other the digest of the one before")
    if before is None:
        return
    number, digest = before
    if said.number != number + 1 or said.previous != digest:
        raise BadInput(
            f"version {said.number} (after {said.previous or 'none'}) is not the successor of what stands:"
            f" {f'version {number} ({digest})' if number else 'none'}",
            code="NotTheSuccessor",
        )


def verified(text: str, keys: Mapping[str, str], quorum: int, previous: tuple[int, str] | None) -> Version:
    """The version in a bundle, once ``quorum`` of the keys have signed it and it follows on ``previous``.

    ``keys``: the public keys that may sign, by name. ``previous``: number and digest of the version that stands; None where none
    does. Nothing of the payload is read before the quorum is there. Raises BadInput with one of the codes ConfigurationUnreadable
    (a signature that is not good or not theirs included), QuorumMissing, NotTheSuccessor.
    """
    bundle = read_bundle(text)
    signed_by = signers(bundle, keys)
    if len(signed_by) < quorum:
        raise BadInput(
            f"{len(signed_by)} of the keys signed ({', '.join(signed_by)}), and {quorum} must", code="QuorumMissing"
        )
    raw = bundle.content
    said, configuration = stated(raw, previous or (0, ""))
    return Version(said.number, digest_of(raw), said.previous, signed_by, configuration, raw)
