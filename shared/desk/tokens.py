"""Tokens: what the desk gives a person who signed in, and what a system shows that asks for one.

The desk's own are encrypted (JWE, ``dir`` with ``A256GCM``) under a key that only it has, each for one purpose; a system's is
signed with the key of its issuer (JWS, ``Ed25519``), short, and shown once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal

from joserfc import jwe, jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey, OKPKey
from joserfc.registry import HeaderParameter
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.desk.callers import Caller, CallerKind
from shared.desk.problems import NotSignedIn
from shared.messages.configuration import ALGORITHM, KeyState, SealKey
from shared.messages.forms import Issuer, Person
from shared.messages.texts import faults

TYP = "ecr-grants-request+jwt"
SESSION = timedelta(hours=8)
"""How long a sign-in lasts."""
SHORT = timedelta(minutes=5)
"""How long a system's token may live, and a code of the command line."""
SKEW = timedelta(minutes=1)
_HEADER = {"alg": "dir", "enc": "A256GCM"}
_LONGEST = 8_000


class Use(StrEnum):
    """What a token of the desk is for: none is good for anything else."""

    SESSION = "session"  # a browser's
    BEARER = "bearer"  # a command line's
    STATE = "state"  # a sign-in that is under way
    CODE = "code"  # what the command line exchanges for its bearer
    PLACE = "place"  # where the next page of one list begins


class Seals:
    """Makes and reads the desk's own tokens. The first key makes them, all of them read."""

    def __init__(self, keys: Sequence[bytes], clock: Callable[[], datetime]) -> None:
        """``keys``: 32 bytes each, the newest first; an old one stays until what it made has run out."""
        self._keys = [OctKey.import_key(one) for one in keys]
        self._clock = clock

    def make(self, use: Use, content: Mapping[str, Any], life: timedelta) -> str:
        """A token with that content, for that long."""
        until = int((self._clock() + life).timestamp())
        text = json.dumps({"use": use, "exp": until, "content": dict(content)}, separators=(",", ":"))
        return jwe.encrypt_compact(_HEADER, text, self._keys[0])

    def read(self, use: Use, token: str) -> dict[str, Any]:
        """What is in it. Raises NotSignedIn for anything that is not such a token of ours, or has run out."""
        for key in self._keys if len(token) <= _LONGEST else []:
            try:
                plain = jwe.decrypt_compact(token, key, algorithms=["dir", "A256GCM"]).plaintext
            except (JoseError, ValueError):
                continue
            said = json.loads(plain or b"{}")
            if said.get("use") == use and said["exp"] > self._clock().timestamp():
                found: dict[str, Any] = said["content"]
                return found
            break
        raise NotSignedIn("the sign-in is not one of ours, or has run out: sign in again")


class Claims(BaseModel):
    """What a system's token says: who it is, for whom it asks, and for how long. ``sub``: a person by the issuer's own name."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    iss: Issuer
    aud: str
    sub: Person
    iat: Annotated[int, Field(strict=True, ge=0, lt=2**40)]
    exp: Annotated[int, Field(strict=True, ge=0, lt=2**40)]
    jti: Annotated[str, Field(strict=True, pattern=r"^[A-Za-z0-9._-]{8,100}$")]


class Header(BaseModel):
    """What its header may say, and nothing else."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    alg: Literal["Ed25519"]
    typ: Literal["ecr-grants-request+jwt"]
    kid: str


UseOnce = Callable[[str, datetime], bool]
"""Whether a token's name is used for the first time; it need be remembered until then."""


def system_of(token: str, keys: Mapping[str, SealKey], deployment: str, now: datetime, use_once: UseOnce) -> Caller:
    """The system that shows this token, and for whom it asks. Raises NotSignedIn, which says what is wrong with the token."""
    try:
        header = Header.model_validate(jws.extract_compact(token.encode()).headers())
    except (JoseError, ValueError, ValidationError):
        raise NotSignedIn("the token is no JWT of a system: see docs/desk.md") from None
    key = keys.get(header.kid)
    if key is None or key.state is not KeyState.ACTIVE:
        raise NotSignedIn(f"kid: {header.kid[:64]!r} is no active key of a listed issuer")
    registry = jws.JWSRegistry(algorithms=[ALGORITHM], header_registry={"typ": HeaderParameter("Type", "str")})
    try:
        verified = jwt.decode(token, OKPKey.import_key({"kty": "OKP", "crv": ALGORITHM, "x": key.x}), registry=registry)
        claims = Claims.model_validate(verified.claims)
    except ValidationError as error:
        raise NotSignedIn(f"the token: {faults(error)}") from None
    except (JoseError, ValueError):
        raise NotSignedIn(f"the token is not signed with {header.kid}") from None
    issued, until = (datetime.fromtimestamp(one, UTC) for one in (claims.iat, claims.exp))
    wrong = {
        "iss": claims.iss != key.issuer,
        "aud": claims.aud != deployment,
        "exp": until <= now or until - issued > SHORT,
        "iat": issued > now + SKEW,
    }
    if any(wrong.values()):
        raise NotSignedIn(
            f"the token is not good here and now: {', '.join(name for name, bad in wrong.items() if bad)}"
        )
    if not use_once(f"{claims.iss} {claims.jti}", until):
        raise NotSignedIn(f"jti: {claims.jti!r} was shown before: make a token for each call")
    return Caller(kind=CallerKind.SYSTEM, subject=f"{claims.iss}:{claims.sub}", system=claims.iss)
