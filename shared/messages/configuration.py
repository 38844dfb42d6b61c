"""The keys by which systems that approve are known."""

from __future__ import annotations

from enum import StrEnum

from shared.messages.forms import Issuer, KeyId, Message, PublicKey


class KeyState(StrEnum):
    """What a key may still be used for."""

    ACTIVE = "active"
    RETIRED = "retired"  # what it sealed stands, and it may close
    COMPROMISED = "compromised"  # anybody may have it: nothing that it sealed is believed


class SealKey(Message):
    """The public half of an issuer's key. A key belongs to one issuer, which its name leads to."""

    kid: KeyId
    issuer: Issuer
    x: PublicKey
    state: KeyState
