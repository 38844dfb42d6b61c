"""What exists in a running local cloud: accounts, principals and their keys, role sessions.

Network resources that change (grants, associations) live in ``network``; queues and functions in their services.
"""

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from localcloud.call import Caller
from localcloud.clock import Clock, iso
from localcloud.ram import Decision, Policy, compile_policy, evaluate_trust
from localcloud.refusal import Unauthenticated
from localcloud.worldfile import AccountSpec, RoleSpec, WorldFile


class Credentials(NamedTuple):
    """What a role session is handed."""

    access_key_id: str
    access_key_secret: str
    security_token: str
    expiration: float
    """Cloud time, epoch seconds."""


@dataclass(slots=True)
class Session:
    """A role session: temporary credentials and where they came from."""

    credentials: Credentials
    caller: Caller
    role_id: str
    policy: Policy | None
    created: float
    expires: float


@dataclass(frozen=True, slots=True)
class Role:
    """A role with its compiled policies."""

    account: str
    name: str
    arn: str
    role_id: str
    spec: RoleSpec
    trust: Policy
    policies: tuple[Policy, ...]


class SecretVersion(NamedTuple):
    """One value that a secret had."""

    name: str
    value: str


class Secret:
    """A generic secret: the value that counts, and the one before it."""

    def __init__(self, value: str, created: float) -> None:
        self.created = created
        self._versions = [SecretVersion("v1", value)]

    def put(self, value: str) -> SecretVersion:
        """A new value that counts from now on."""
        made = SecretVersion(f"v{int(self._versions[-1].name[1:]) + 1}", value)
        self._versions = [self._versions[-1], made]
        return made

    def version(self, stage: str) -> SecretVersion | None:
        """What carries a stage: ACSCurrent, or ACSPrevious once there is one."""
        if stage == "ACSCurrent":
            return self._versions[-1]
        return self._versions[-2] if len(self._versions) > 1 else None


@dataclass(frozen=True, slots=True)
class _Key:
    secret: str
    active: bool
    caller: Caller


TOKEN_BYTES = 360
"""Makes tokens of a realistic length, which clients must not bound (section 3.1)."""
SESSIONS_BEFORE_SWEEP = 10_000

_MISMATCH = (400, "InvalidSecurityToken.MismatchWithAccessKey", "Specified SecurityToken mismatch with the AccessKey.")
_REASONS = {
    "unknown_key": (404, "InvalidAccessKeyId.NotFound", "Specified access key is not found."),
    "inactive_key": (400, "InvalidAccessKeyId.Inactive", "Specified access key is disabled."),
    "missing_token": (400, "MissingSecurityToken", "SecurityToken is mandatory for this action."),
    "unexpected_token": _MISMATCH,
    "malformed_token": (400, "InvalidSecurityToken.Malformed", "Specified SecurityToken is malformed."),
    "mismatched_token": _MISMATCH,
    "expired_token": (400, "InvalidSecurityToken.Expired", "Specified SecurityToken is expired."),
}


def unauthenticated(reason: str) -> Unauthenticated:
    """The refusal for one reason, with the API gateway's code (section 4.5); other services map the reason."""
    return Unauthenticated(reason, *_REASONS[reason])


class World:
    """Accounts, users, roles and sessions of one local cloud."""

    def __init__(self, file: WorldFile, clock: Clock) -> None:
        self.file = file
        self.clock = clock
        self.region = file.region
        self.accounts: Mapping[str, AccountSpec] = file.accounts
        self.deploy_account = file.deploy.account if file.deploy else next(iter(file.accounts))
        self.roles: dict[tuple[str, str], Role] = {}
        self.sessions: dict[str, Session] = {}
        self.secrets: dict[tuple[str, str], Secret] = {}
        """By account and name."""
        self._keys: dict[str, _Key] = {}
        self._tokens: dict[str, str] = {}
        self._most_sessions = SESSIONS_BEFORE_SWEEP
        self._token_stem = f"CAIS{secrets.token_urlsafe(TOKEN_BYTES)}"
        self._policies: dict[tuple[str, str, str], tuple[Policy, ...]] = {}
        for uid, account in file.accounts.items():
            self._settle_account(uid, account)

    def _settle_account(self, uid: str, account: AccountSpec) -> None:
        if account.access_key is not None:
            key = account.access_key
            root = Caller(uid, "root", "", None, f"acs:ram::{uid}:root", key.id, key.id)
            self._keys[key.id] = _Key(key.secret, key.status == "Active", root)
        for name, user in account.users.items():
            if user.access_key is not None:
                key = user.access_key
                caller = Caller(uid, "user", name, None, f"acs:ram::{uid}:user/{name}", key.id, key.id)
                self._keys[key.id] = _Key(key.secret, key.status == "Active", caller)
            self._policies[uid, "user", name] = _compiled(f"user {name}", user.policies)
        for name, secret in account.secrets.items():
            self.secrets[uid, name] = Secret(secret.value, self.clock.now())
        for name, spec in account.roles.items():
            role = Role(
                account=uid,
                name=name,
                arn=f"acs:ram::{uid}:role/{name}",
                role_id=ram_id("role", uid, name),
                spec=spec,
                trust=compile_policy(spec.trust, f"role {name}/trust", trust=True),
                policies=_compiled(f"role {name}", spec.policies),
            )
            self.roles[uid, name] = role
            self._policies[uid, "role", name] = role.policies

    def secret_of(self, access_key_id: str) -> str:
        """The secret that belongs to a key; raises Unauthenticated when there is no such key."""
        key = self._keys.get(access_key_id)
        if key is not None:
            if not key.active:
                raise unauthenticated("inactive_key")
            return key.secret
        session = self.sessions.get(access_key_id)
        if session is None:
            raise unauthenticated("unknown_key")
        return session.credentials.access_key_secret

    def account_of(self, access_key_id: str) -> str | None:
        """Whose key this is, whether or not somebody proved to hold it."""
        known = self._keys.get(access_key_id) or self.sessions.get(access_key_id)
        return known.caller.account if known is not None else None

    def authenticate(self, access_key_id: str, security_token: str | None) -> Caller:
        """Who signed with this key; raises Unauthenticated. The signature itself is checked by ``signatures``."""
        key = self._keys.get(access_key_id)
        if key is not None:
            if not key.active:
                raise unauthenticated("inactive_key")
            if security_token:
                raise unauthenticated("unexpected_token")
            return key.caller
        session = self.sessions.get(access_key_id)
        if session is None:
            raise unauthenticated("unknown_key")
        if not security_token:
            raise unauthenticated("missing_token")
        if security_token != session.credentials.security_token:
            raise unauthenticated("mismatched_token" if security_token in self._tokens else "malformed_token")
        if self.clock.now() >= session.expires:
            raise unauthenticated("expired_token")
        return session.caller

    def policies_of(self, caller: Caller) -> Sequence[Policy]:
        """The identity policies of a user or role."""
        return self._policies.get((caller.account, caller.kind, caller.name), ())

    def session_policy_of(self, caller: Caller) -> Policy | None:
        """The session policy of a role session, when it has one."""
        session = self.sessions.get(caller.access_key_id)
        return session.policy if session else None

    def service_may_assume(self, account: str, role: str, service: str) -> Decision:
        """Whether a role's trust policy lets a cloud service (``fc.aliyuncs.com``) use it."""
        found = self.roles[account, role]
        return evaluate_trust(found.trust, found.arn, (), service, lambda _: None)

    def mint_role_session(
        self,
        account: str,
        role: str,
        session_name: str,
        seconds: float,
        *,
        policy: Policy | None = None,
        origin: str | None = None,
        function: str = "",
    ) -> Credentials:
        """New temporary credentials of a role, without asking whether they may be had.

        ``origin`` is the key at the start of the chain; None lets the new key start one (a function instance), and
        ``function`` then names the function.
        """
        found = self.roles[account, role]
        now = self.clock.now()
        chance = secrets.token_hex(12 + 22 + 24)
        key_id = f"STS.{chance[:24]}"
        credentials = Credentials(key_id, chance[24:68], f"{self._token_stem}{chance[68:]}", now + seconds)
        arn = f"acs:ram::{account}:assumed-role/{role}/{session_name}"
        caller = Caller(account, "role", role, session_name, arn, key_id, origin or key_id, function)
        self.sessions[key_id] = Session(credentials, caller, found.role_id, policy, now, now + seconds)
        self._tokens[credentials.security_token] = key_id
        if len(self.sessions) > self._most_sessions:
            self._forget_expired(now)
        return credentials

    def expire(self, access_key_id: str) -> None:
        """Let a session token expire now (planned trouble); long-lived keys do not expire."""
        session = self.sessions.get(access_key_id)
        if session is not None:
            session.expires = min(session.expires, self.clock.now())

    def _forget_expired(self, now: float) -> None:
        """Drop sessions that expired a day ago, so that a long run does not grow without end."""
        for key_id in [key_id for key_id, session in self.sessions.items() if session.expires < now - 86_400]:
            del self._tokens[self.sessions.pop(key_id).credentials.security_token]
        # Looking again only when as many have come on top keeps the cost of each session constant.
        self._most_sessions = 2 * max(len(self.sessions), SESSIONS_BEFORE_SWEEP)

    def snapshot(self) -> dict[str, Any]:
        """Sessions without their secrets, and what accounts exist."""
        return {
            "region": self.region,
            "accounts": {
                uid: {
                    "name": account.name,
                    "enterprise": account.enterprise,
                    "users": list(account.users),
                    "roles": list(account.roles),
                    "secrets": [
                        {"name": name, "version": current.name}
                        for (owner, name), secret in self.secrets.items()
                        if owner == uid and (current := secret.version("ACSCurrent"))
                    ],
                    "vpcs": [vpc.model_dump() for vpc in account.vpcs],
                    "vbrs": [vbr.model_dump() for vbr in account.vbrs],
                }
                for uid, account in self.accounts.items()
            },
            "sessions": [
                {
                    "access_key_id": key_id,
                    "arn": session.caller.arn,
                    "account": session.caller.account,
                    "role": session.caller.name,
                    "session": session.caller.session,
                    "origin": session.caller.origin,
                    "function": session.caller.function,
                    "created": iso(session.created),
                    "expires": iso(session.expires),
                }
                for key_id, session in self.sessions.items()
            ],
        }


def ram_id(kind: Literal["user", "role"], account: str, name: str) -> str:
    """The id that RAM gives a user or a role: digits that say nothing, the same in every run."""
    digits = int(hashlib.sha256(f"{account}/{name}".encode()).hexdigest(), 16) % 10**17
    return f"{2 if kind == 'user' else 3}{digits:017d}"


def _compiled(owner: str, policies: Mapping[str, Any]) -> tuple[Policy, ...]:
    return tuple(compile_policy(document, f"{owner}/{name}") for name, document in policies.items())
