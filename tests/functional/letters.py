"""Sealed approvals put together by hand, whole or with one fault; what somebody does to them on their way; and the cases of both.

Nothing here uses what the product seals with: whoever attacks does not either.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from examples.keys import key as private_key
from tests.configured import DEPLOYMENT, kid_of
from tests.functional.approvals import approval

Json = dict[str, Any]
DAY = 24 * 3_600


def b64(raw: bytes) -> str:
    """Base64 for URLs, without padding."""
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def compact(document: object) -> bytes:
    """JSON without blanks, fields in the order that they have."""
    return json.dumps(document, separators=(",", ":")).encode()


def as_text(form: Json) -> str:
    """The three members as they are sent."""
    return json.dumps(form)


@dataclass(frozen=True)
class Letter:
    """One sealed approval. Without changes it is as its issuer makes it.

    ``head``: members of the header that are changed or added or, where None, left out. ``signer``: whose key signs, where it is
    not the one that the header names. ``write`` and ``write_head`` make the bytes that are signed; ``post`` makes the message of
    what was signed.
    """

    content: Json
    head: Json = field(default_factory=dict)
    signer: str | None = None
    write: Callable[[Json], bytes] = compact
    write_head: Callable[[Json], bytes] = compact
    post: Callable[[Json], str] = as_text

    @property
    def header(self) -> Json:
        """The protected header."""
        whole = {
            "alg": "Ed25519",
            "kid": kid_of(self.content["issuer"]),
            "typ": "ecr-grants-approval",
            "aud": DEPLOYMENT,
            "iat": int(time.time()),
        }
        return {name: value for name, value in {**whole, **self.head}.items() if value is not None}

    @property
    def form(self) -> Json:
        """What was signed, in its three members."""
        header = self.header
        protected, payload = b64(self.write_head(header)), b64(self.write(self.content))
        signer = self.signer or str(header.get("kid", kid_of(self.content["issuer"])))
        signature = b64(private_key(signer).sign(f"{protected}.{payload}".encode()))
        return {"payload": payload, "protected": protected, "signature": signature}

    @property
    def text(self) -> str:
        """The message."""
        return self.post(self.form)

    def saying(self, **changes: Any) -> Letter:
        """The same with other content, sealed by its issuer."""
        return replace(self, content={**self.content, **changes})

    def headed(self, **changes: Any) -> Letter:
        """The same with another header, sealed by its issuer."""
        return replace(self, head={**self.head, **changes})


@dataclass(frozen=True)
class Ground:
    """What one case has for itself: a VPC of an account that is listed; and what others have."""

    spoke: str
    vpc: str
    vbr: str
    stranger: str
    """An account B that is listed, and one of its VPCs."""
    strange_vpc: str
    hub: Json
    """An ECR of another account A that is listed, as approvals name it."""

    def letter(self, **changes: Any) -> Letter:
        """A good one about the VPC."""
        return Letter(approval(self.spoke, self.vpc, **changes))


Good = Callable[[Ground], Letter]
Fault = Callable[[Letter, Ground], Letter]


@dataclass(frozen=True)
class Case:
    """One attempt. ``good``: the letter without the fault, which passes; ``fault``: the same with it.

    ``code`` and ``says``: of the rejection; ``rule``: of the policy, which forbids it. ``why``: what would come of it if it
    passed.
    """

    id: str
    code: str
    says: str
    why: str
    fault: Fault
    good: Good = Ground.letter
    rule: str = ""


def headed(**changes: Any) -> Fault:
    """The fault is in the header, which the issuer's own key signs."""
    return lambda letter, _: letter.headed(**changes)


def saying(**changes: Any) -> Fault:
    """The fault is in the content, which the issuer's own key signs."""
    return lambda letter, _: letter.saying(**changes)


def posted(change: Callable[[Json], str]) -> Fault:
    """The fault came after sealing."""
    return lambda letter, _: replace(letter, post=change)


def signed_by(name: str) -> Fault:
    """The seal names the issuer's key, and another one signed."""
    return lambda letter, _: replace(letter, signer=name)


def by(issuer: str, **changes: Any) -> Good:
    """A good letter of another issuer than the usual one."""
    return lambda ground: ground.letter(issuer=issuer, **changes)


def for_days(days: float) -> Json:
    """What a lease of this length says, from its approval on, taken down at its end."""
    now = int(time.time())
    moments = {"approved_at": now - 3_600, "ends_at": now - 3_600 + round(days * DAY)}
    return {"on_end": "teardown"} | {
        name: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at)) for name, at in moments.items()
    }
