"""Issuers: the systems that seal approvals, the keys they seal with, and what each may vouch for. `issuers.yaml` lists them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag

from shared.messages.configuration import KeyState, SealKey
from shared.messages.forms import AccountId, EcrId, InstanceType, Issuer, KeyId, PublicKey
from shared.rules.facts import Side

ANY = "any"


def _in_order(values: list[Any]) -> list[Any]:
    return sorted(set(values))


def _listed(value: object) -> str:
    return ANY if isinstance(value, str) else "listed"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class IssuerKey(_Model):
    """A public key as a JWK (RFC 8037) with its state. It has no member for a private key, which is refused unseen."""

    kty: Literal["OKP"]
    crv: Literal["Ed25519"]
    kid: KeyId
    x: PublicKey
    state: KeyState


class KeySet(_Model):
    """A JWK set (RFC 7517)."""

    keys: Annotated[list[IssuerKey], Field(max_length=100)]


# What is listed, or the word any: a list that was forgotten must not mean everything.
Accounts = Annotated[
    Annotated[Literal["any"], Tag(ANY)]
    | Annotated[list[AccountId], Field(min_length=1), AfterValidator(_in_order), Tag("listed")],
    Discriminator(_listed),
]
Ecrs = Annotated[
    Annotated[Literal["any"], Tag(ANY)]
    | Annotated[list[EcrId], Field(min_length=1), AfterValidator(_in_order), Tag("listed")],
    Discriminator(_listed),
]


class IssuerRights(_Model):
    """The keys of an issuer and its scope: what it may vouch for.

    ``longest_days``: how long a lease of it may be; None: it may be endless. ``everyone``: a revoke of it may close everyone's
    leases. ``keeps_four_eyes``: it sees to it by itself that nobody approves what they asked for.
    """

    keys: KeySet
    accounts: Accounts
    ecrs: Ecrs
    kinds: Annotated[list[InstanceType], Field(min_length=1), AfterValidator(_in_order)]
    sides: Annotated[list[Side], Field(min_length=1), AfterValidator(_in_order)] = [Side.GRANT]
    longest_days: Annotated[int, Field(ge=1, le=36_500, strict=True)] | None
    everyone: bool = Field(default=False, strict=True)
    keeps_four_eyes: bool = Field(default=False, strict=True)

    def seal_keys(self, issuer: str) -> list[SealKey]:
        """The keys by which a seal of this issuer is judged, in every state."""
        return [SealKey(one.kid, issuer, one.x, one.state) for one in self.keys.keys]


class Issuers(_Model):
    """The file."""

    version: Literal[1]
    issuers: dict[Issuer, IssuerRights]
