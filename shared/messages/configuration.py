"""Public keys by name, and the bundle: the signed file of one version of the configuration.

A bundle is a JWS in its general JSON form (RFC 7515 section 7.2.1): one payload, several signatures over it, made with Ed25519
(RFC 8037, named as in RFC 9864). What a payload says is nobody's business here: ``shared.rules.configuration`` reads it, once
enough of the keys have signed it.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from shared.errors import BadInput
from shared.messages.forms import KeyId, PublicKey
from shared.messages.texts import canonical, faults, shown

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SCHEMA = "ecr-grants/configuration/1"
TYP = "ecr-grants-configuration"
ALGORITHM = "Ed25519"
UNREADABLE = "ConfigurationUnreadable"
"""The code of a bundle, or of a payload, that cannot be read or verified."""

M = TypeVar("M", bound=BaseModel)
_LONGEST = 16 * 1024 * 1024


class KeyState(StrEnum):
    """What a key of an issuer is good for."""

    ACTIVE = "active"
    RETIRED = "retired"  # seals nothing any more; what it sealed stands
    COMPROMISED = "compromised"  # somebody else may have it: nothing it sealed is made


@dataclass(frozen=True)
class SealKey:
    """A key of an issuer, by which a seal is judged. ``x`` is the public key, base64url of its 32 bytes."""

    kid: str
    issuer: str
    x: str
    state: KeyState


def from_base64url(text: str) -> bytes | None:
    """The bytes in base64url without padding; None for anything else, two ways to write the same bytes included."""
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return None
    return raw if base64url(raw) == text else None


def base64url(raw: bytes) -> str:
    """Bytes as base64url without padding."""
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def public_x(key: Ed25519PrivateKey) -> str:
    """The public half of a key, as a JWK has it in ``x``."""
    return base64url(key.public_key().public_bytes_raw())


def parse_keys(text: str) -> dict[str, str]:
    """Public keys by name from ``name:x,name:x``, as CONFIG_KEYS has them. Raises ValueError that says what was found.

    Neither a name nor a key may be there twice: a quorum counts keys.
    """
    found: dict[str, str] = {}
    for part in filter(None, (one.strip() for one in text.split(","))):
        kid, colon, x = part.partition(":")
        if not colon:
            raise ValueError(f"must be name:key, name:key (found {shown(part)})")
        kid, x = _formed(KeyId, kid), _formed(PublicKey, x)
        if kid in found or x in found.values():
            raise ValueError(f"{kid}: the name or the key is there twice")
        found[kid] = x
    if not found:
        raise ValueError("must name at least one key")
    return found


def _formed(form: Any, text: str) -> str:
    try:
        return str(TypeAdapter(form).validate_python(text))
    except ValidationError as error:
        [fault, *_] = error.errors(include_url=False)
        raise ValueError(f"{str(fault['msg']).removeprefix('Value error, ')} (found {shown(text)})") from None


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Header(_Model):
    """All that a signature's protected header may say."""

    alg: Literal["Ed25519"]
    kid: KeyId
    typ: Literal["ecr-grants-configuration"]


class Signature(_Model):
    """One signature as the file has it. Nothing of it is true before it was verified."""

    protected: Annotated[str, Field(max_length=1_000)]
    signature: Annotated[str, Field(max_length=1_000)]

    @property
    def kid(self) -> str:
        """Whose it claims to be. Raises BadInput for a header that says anything but what it must."""
        raw = from_base64url(self.protected)
        if raw is None:
            raise unreadable("a signature's header is not base64url without padding")
        header: _Header = _strictly(_Header, raw, "a signature's header")
        return header.kid


class Bundle(_Model):
    """A bundle as its file has it."""

    payload: str
    signatures: Annotated[tuple[Signature, ...], Field(min_length=1, max_length=50)]

    @property
    def content(self) -> bytes:
        """The bytes that are signed. Raises BadInput where the file does not have them in base64url."""
        raw = from_base64url(self.payload)
        if raw is None:
            raise unreadable("payload: must be base64url without padding")
        return raw

    @property
    def text(self) -> str:
        """The file."""
        return json.dumps(self.model_dump(mode="json"), indent=1) + "\n"


def read_bundle(text: str) -> Bundle:
    """A bundle's parts, none of which is trusted. Raises BadInput, code ConfigurationUnreadable."""
    if len(text) > _LONGEST:
        raise unreadable(f"the bundle is longer than {_LONGEST} characters")
    return _strictly(Bundle, text.encode(errors="replace"), "not a signed configuration")


def _strictly(model: type[M], raw: bytes, what: str) -> M:
    """A JSON document of that model, no member of it twice: readers differ in which of the two they take."""
    try:
        json.loads(raw, object_pairs_hook=_once)
        return model.model_validate_json(raw)
    except ValidationError as error:
        raise unreadable(f"{what}: {faults(error)}") from None
    except (ValueError, RecursionError) as error:
        raise unreadable(f"{what}: not usable JSON ({type(error).__name__}: {error})") from None


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a member is there twice")
    return dict(pairs)


def signers(bundle: Bundle, keys: Mapping[str, str]) -> tuple[str, ...]:
    """The names of the keys that have signed, in order. Every signature must be good, and each key's only one.

    ``keys``: the public keys that may sign, by name. Raises BadInput, code ConfigurationUnreadable.
    """
    signed: set[str] = set()
    for one in bundle.signatures:
        kid = one.kid
        if kid in signed:
            raise unreadable(f"{kid} has signed twice")
        if kid not in keys:
            raise unreadable(f"{kid} is not one of the keys that may sign: {', '.join(sorted(keys))}")
        if not _good(bundle.payload, one, keys[kid]):
            raise unreadable(f"the signature of {kid} is not good: the bundle was changed, or another key signed")
        signed.add(kid)
    return tuple(sorted(signed))


def _good(payload: str, one: Signature, x: str) -> bool:
    """Whether a key made this signature. Its header was read: it is of the one algorithm, and has nothing else to say.

    By the signing input of RFC 7515 section 5.1 and nothing that has to be loaded for it: every cold start verifies.
    """
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415  # only where a configuration is read
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415

    signature, public = from_base64url(one.signature), from_base64url(x)
    if signature is None or public is None:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, f"{one.protected}.{payload}".encode())
    except (InvalidSignature, ValueError):
        return False
    return True


def signed(content: bytes, kid: str, key: Ed25519PrivateKey, bundle: Bundle | None = None) -> Bundle:
    """A bundle with one more signature, over ``content``. Raises BadInput where a key of that name has signed ``bundle``."""
    from joserfc import jws  # noqa: PLC0415  # only where somebody signs
    from joserfc.jwk import OKPKey  # noqa: PLC0415

    before = () if bundle is None else bundle.signatures
    if kid in {one.kid for one in before}:
        raise unreadable(f"{kid} has signed already")
    d = base64url(key.private_bytes_raw())
    whole = OKPKey.import_key({"kty": "OKP", "crv": ALGORITHM, "x": public_x(key), "d": d})
    made = jws.serialize_json({"protected": {"alg": ALGORITHM, "kid": kid, "typ": TYP}}, content, whole, [ALGORITHM])
    one = Signature.model_validate({name: made.get(name) for name in ("protected", "signature")})
    return Bundle(payload=base64url(content), signatures=(*before, one))


def payload(number: int, previous: str, content: object) -> bytes:
    """What is signed: one version's number, the digest of the one before it (empty for the first), and its content."""
    return canonical({"schema": SCHEMA, "number": number, "previous": previous, "content": content})


def unreadable(text: str) -> BadInput:
    """The error for a configuration that cannot be read or verified."""
    return BadInput(text, code=UNREADABLE)
