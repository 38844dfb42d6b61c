"""STS 2015-04-01: AssumeRole and GetCallerIdentity (openapi-ecr-vpc-sts.md section 3)."""

import json

from localcloud.call import Call, Caller
from localcloud.clock import iso
from localcloud.kernel import Cloud
from localcloud.operations import Change, Product, Reply, Work
from localcloud.params import Params
from localcloud.ram import Decision, Policy, PolicyError, compile_policy, evaluate_trust
from localcloud.refusal import Denied, Refusal
from localcloud.world import Credentials, Role, ram_id

_ROLE_ARN = r"acs:ram::(\d{15,20}):role/([A-Za-z0-9.-]{1,64})"
POLICY_BYTES = 2048


def assume_role(cloud: Cloud, caller: Caller, params: Params) -> Work:
    """Temporary credentials of a role, when the caller's policies and the role's trust policy both allow it."""
    role_arn = params.required("RoleArn", _ROLE_ARN)
    session_name = params.required("RoleSessionName", r"[A-Za-z0-9.@_-]{2,64}")
    asked_seconds = params.integer("DurationSeconds")
    session_policy = _session_policy(params.text("Policy", longest=100_000))
    external_id = params.text("ExternalId", r"[\w+=,.@:\/-]{2,1224}")
    if params.text("SourceIdentity"):
        # A value that sticks along a role chain; pretending to keep it would be worse than saying no.
        raise Refusal(501, "NotEmulated", "SourceIdentity is not emulated by this local cloud.")
    account, _, name = role_arn.removeprefix("acs:ram::").partition(":role/")
    conditions = {"sts:ExternalId": external_id} if external_id else {}

    def check(call: Call) -> Change:
        role = cloud.world.roles.get((account, name))
        if role is None:
            if account != caller.account and cloud.switches.foreign_role_missing == "no_permission":
                raise _no_permission(call, role_arn, f"there is no role {role_arn}")
            raise Refusal(404, "EntityNotExist.Role", "The specified Role not exists .")
        if caller.kind == "root":
            raise _no_permission(call, role_arn, "roles may not be assumed by root accounts", "root")
        trusted = _trusted(cloud, role, call)
        if not trusted.allowed:
            raise _no_permission(call, role_arn, trusted.why)
        permitted = call.decision.why if call.decision else ""
        call.decision = Decision(True, trusted.action, role_arn, f"{permitted}; {trusted.why}")
        longest = role.spec.max_session_seconds
        seconds = asked_seconds if asked_seconds is not None else 3600
        if not 900 <= seconds <= longest:
            hours = f"{longest / 3600:g}hr"
            raise Refusal(
                400,
                "InvalidParameter.DurationSeconds",
                f"The Min/Max value of DurationSeconds is 15min/{hours}.",
            )

        def change() -> Reply:
            call.effect = True
            minted = cloud.world.mint_role_session(
                account,
                name,
                session_name,
                seconds,
                policy=session_policy,
                origin=caller.origin,
                function=caller.function,
            )
            return _assumed(role, session_name, minted)

        return change

    permissions = [] if caller.kind == "root" else [("sts:AssumeRole", role_arn)]
    return Work(permissions, check=check, conditions=conditions, account=account)


def _assumed(role: Role, session_name: str, minted: Credentials) -> Reply:
    return {
        "AssumedRoleUser": {
            "AssumedRoleId": f"{role.role_id}:{session_name}",
            "Arn": f"{role.arn}/{session_name}",
        },
        "Credentials": {
            "AccessKeyId": minted.access_key_id,
            "AccessKeySecret": minted.access_key_secret,
            "SecurityToken": minted.security_token,
            "Expiration": iso(minted.expiration),
        },
    }


def get_caller_identity(cloud: Cloud, caller: Caller, params: Params) -> Work:  # noqa: ARG001
    """Who the credentials belong to; needs no permission."""

    def look(call: Call) -> Reply:  # noqa: ARG001
        if caller.kind == "root":
            return {
                "IdentityType": "Account",
                "AccountId": caller.account,
                "PrincipalId": caller.account,
                "UserId": caller.account,
                "Arn": caller.arn,
            }
        if caller.kind == "user":
            user_id = ram_id("user", caller.account, caller.name)
            return {
                "IdentityType": "RAMUser",
                "AccountId": caller.account,
                "PrincipalId": user_id,
                "UserId": user_id,
                "Arn": caller.arn,
            }
        role = cloud.world.roles[caller.account, caller.name]
        return {
            "IdentityType": "AssumedRoleUser",
            "AccountId": caller.account,
            "PrincipalId": f"{role.role_id}:{caller.session}",
            "RoleId": role.role_id,
            "Arn": f"acs:ram::{caller.account}:{cloud.switches.session_arn}/{caller.name}/{caller.session}",
        }

    return Work((), look=look)


def _session_policy(text: str) -> Policy | None:
    if not text:
        return None
    if len(text.encode()) > POLICY_BYTES:
        raise Refusal(400, "InvalidParameter.PolicySize", "The size of Policy must be smaller than 2048 bytes.")
    try:
        return compile_policy(json.loads(text), "session policy")
    except (ValueError, RecursionError) as error:
        reason = f" ({error})" if isinstance(error, PolicyError) else ""
        raise Refusal(
            400,
            "InvalidParameter.PolicyGrammar",
            f"The parameter Policy has not passed grammar check.{reason}",
        ) from error


def _trusted(cloud: Cloud, role: Role, call: Call) -> Decision:
    """The trust half; the identity half has been decided by the kernel before."""
    caller = call.caller
    kind = {"user": "user", "role": "role"}[caller.kind]
    principals = [f"acs:ram::{caller.account}:{kind}/{caller.name}", f"acs:ram::{caller.account}:root"]
    return evaluate_trust(role.trust, role.arn, principals, None, cloud.condition_lookup(call))


def _no_permission(call: Call, role_arn: str, why: str, who: str = "") -> Denied:
    """403 without saying which half failed (section 3.1); the journal's decision says why."""
    call.decision = Decision(False, "sts:AssumeRole", role_arn, why, "ImplicitDeny", "AssumeRolePolicy")
    if who == "root":
        return Denied(403, "NoPermission", "Roles may not be assumed by root accounts.")
    return Denied(403, "NoPermission", "You are not authorized to do this action. You should be authorized by RAM.")


PRODUCT = Product(
    "sts",
    "Sts",
    "2015-04-01",
    frozenset({"GET", "POST"}),
    operations={
        "AssumeRole": assume_role,
        "GetCallerIdentity": get_caller_identity,
    },
)
