"""Seals: a JSON Web Signature around an approval (RFC 7515, flattened JSON), made with an issuer's Ed25519 key (RFC 9864).

Algorithm, key, kind, deployment and time stand in the signed header, so the content of an approval has one digest however
often it is sealed. No key comes from the seal itself: its header has five members, and no other is taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from shared.errors import BadInput, SealRefused
from shared.messages.approval import APPROVAL, APPROVALS, Action, GrantApproval, RevokeApproval
from shared.messages.bodies import decoded, modelled, once
from shared.messages.configuration import from_base64url, public_x
from shared.messages.forms import DeploymentId, Form, KeyId, Message, Signature
from shared.messages.texts import canonical, shown

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from joserfc.jws import JWSRegistry

ALGORITHM = "Ed25519"
SEALED = "ecr-grants-approval"

_BASE64 = r"[A-Za-z0-9_-]+"
_LAST_SECOND = 253_402_300_799  # of the year 9999, beyond which no clock of ours can count


class SealHeader(Message):
    """The protected header: these five members. ``aud``: the id of the deployment; ``iat``: when it was sealed, in seconds."""

    alg: Literal["Ed25519"]
    kid: KeyId
    typ: Literal["ecr-grants-approval"]
    aud: DeploymentId
    iat: Annotated[int, Field(ge=0, le=_LAST_SECOND)]


class SealedForm(Message):
    """A sealed approval as it is put on the queue. No member is left out, none is added."""

    # No longer than a message of the queue can be (mns.md section 4).
    payload: Annotated[str, Form(_BASE64, "must be Base64 for URLs, without padding, at most 65536 letters", 65_536)]
    protected: Annotated[str, Form(_BASE64, "must be Base64 for URLs, without padding, at most 512 letters", 512)]
    signature: Signature


@dataclass(frozen=True)
class Sealed:
    """A seal that can be read, which is no reason to believe it. ``sealed_at`` is in epoch milliseconds.

    ``payload`` is what was signed, byte for byte; ``text`` the whole as it is kept, which ``read_seal`` reads again.
    """

    kid: str
    audience: str
    sealed_at: int
    payload: bytes
    text: str


_FORM, _HEADER = TypeAdapter(SealedForm), TypeAdapter(SealHeader)


def read_seal(document: object) -> Sealed:
    """The parts of a sealed approval that came as JSON text, as Base64 of it, or as an object. Nothing is verified.

    Raises BadInput that names each faulty part: code ``Unsealed`` for an approval without a seal, else ``SealUnreadable``.
    """
    try:
        return _read(decoded(document) if isinstance(document, str) else document)
    except BadInput as why:
        code = why.code if why.code == "Unsealed" else "SealUnreadable"
        raise BadInput(str(why), code=code) from None


def _read(document: object) -> Sealed:
    if not isinstance(document, dict):
        raise BadInput(f"the seal is not a JSON object (found {shown(document)})")
    if str(document.get("schema", "")).startswith("ecr-grants/approval/"):
        raise BadInput("the approval is not sealed: its issuer must sign it, see docs/contracts.md", code="Unsealed")
    form = modelled(_FORM, document)
    protected, payload = _raw("protected", form.protected), _raw("payload", form.payload)
    try:
        header = modelled(_HEADER, _json(protected))
    except BadInput as why:
        raise BadInput(f"protected: {why}") from None
    return Sealed(
        kid=header.kid,
        audience=header.aud,
        sealed_at=header.iat * 1000,
        payload=payload,
        text=canonical(document).decode(),
    )


def open_seal(sealed: Sealed, x: str) -> GrantApproval | RevokeApproval:
    """What was sealed, if the key whose public half is ``x`` sealed it. The signature is verified before the content is read.

    Raises SealRefused (``SealForged``) for another key's seal or content that was altered, BadInput that names each faulty
    field of the content.
    """
    from joserfc import jws  # noqa: PLC0415  # only where approvals enter
    from joserfc.errors import JoseError  # noqa: PLC0415
    from joserfc.jwk import OKPKey  # noqa: PLC0415

    key = OKPKey.import_key({"kty": "OKP", "crv": ALGORITHM, "x": x})
    document: Any = once(sealed.text)
    try:
        verified = jws.deserialize_json(document, key, registry=_registry())
    except (JoseError, ValueError):
        raise SealRefused(f"the seal is not that of key {sealed.kid}, or was altered", code="SealForged") from None
    return approval_from(_json(verified.payload, "payload: "))


def approval_from(content: object) -> GrantApproval | RevokeApproval:
    """What the JSON in a seal says. Raises BadInput that names each faulty field. By itself it approves nothing."""
    if not isinstance(content, dict):
        raise BadInput(f"the payload is not a JSON object (found {shown(content)})")
    if {"payload", "signature"} <= content.keys():
        raise BadInput("the payload is itself sealed: an approval is sealed once")
    if content.get("schema") != APPROVAL:
        found = shown(content["schema"]) if "schema" in content else "nothing"
        raise BadInput(f"schema: must be {APPROVAL} (found {found})")
    return modelled(APPROVALS, content, tags=tuple(Action))


def seal(approval: object, private: Ed25519PrivateKey, *, kid: str, audience: str, at: int) -> str:
    """The JSON text of an approval, sealed. ``at`` in epoch seconds. Raises BadInput where it could not be read or opened."""
    from joserfc import jws  # noqa: PLC0415  # no function seals
    from joserfc.jwk import OKPKey  # noqa: PLC0415

    header = {"alg": ALGORITHM, "kid": kid, "typ": SEALED, "aud": audience, "iat": at}
    modelled(_HEADER, header)
    made = jws.serialize_json(
        {"protected": header}, canonical(approval), OKPKey.import_key(private), registry=_registry()
    )
    text = canonical(made).decode()
    open_seal(read_seal(text), public_x(private))
    return text


@cache
def _registry() -> JWSRegistry:
    """What joserfc lets through: one algorithm, whatever the header asks for, and the members that are ours."""
    from joserfc.jws import JWSRegistry  # noqa: PLC0415
    from joserfc.registry import HeaderParameter  # noqa: PLC0415

    ours = {"aud": HeaderParameter("Audience", "str", True), "iat": HeaderParameter("Issued At", "int", True)}
    return JWSRegistry(header_registry=ours, algorithms=[ALGORITHM])


def _raw(field: str, text: str) -> bytes:
    """The bytes in Base64 for URLs, to the last bit. Raises BadInput."""
    raw = from_base64url(text)
    if raw is None:
        raise BadInput(f"{field}: must be Base64 for URLs, without padding (found {shown(text)})")
    return raw


def _json(raw: bytes, field: str = "") -> object:
    """The JSON in bytes of UTF-8. Raises BadInput."""
    try:
        return once(raw.decode())
    except (ValueError, RecursionError):
        raise BadInput(f"{field}must hold JSON in UTF-8 (found {shown(raw.decode('utf-8', 'replace'))})") from None
