"""Grants, made and taken back by the owner of the instance (openapi-ecr-vpc-sts.md sections 1.2 and 1.3)."""

from collections.abc import Callable

from localcloud.call import Call, Caller
from localcloud.clock import milliseconds
from localcloud.ecr.common import (
    ECR_ID,
    MOST_RESULTS,
    REGION,
    calling_failed,
    ecr_not_found,
    lock,
    on_ecr,
    refuse,
    refuse_grouping,
)
from localcloud.kernel import Cloud
from localcloud.network import Grant, GrantKey
from localcloud.operations import Change, Reply, Work, token_page
from localcloud.params import Params
from localcloud.refusal import not_emulated
from localcloud.worldfile import REGIONS


def _grant_key(params: Params) -> GrantKey:
    instance_type = params.required("InstanceType")
    if instance_type not in {"VPC", "VBR"}:
        raise params.illegal("InstanceType")
    ecr_id = params.required("EcrId", ECR_ID)
    ecr_owner = params.required("EcrOwnerAliUid", r"[1-9][0-9]{14,18}")
    instance_id = params.required("InstanceId", rf"{instance_type.lower()}-[a-z0-9]+")
    region = params.required("InstanceRegionId", REGION)
    if region not in REGIONS:
        raise params.illegal("InstanceRegionId")
    return GrantKey(ecr_id, ecr_owner, instance_type, instance_id, region)


def _on_instance(operation: str, caller: Caller, key: GrantKey, check: Callable[[Call], Change]) -> Work:
    """The permission is on the instance; which ECR it is granted to cannot be pinned by RAM (section 1.2)."""
    product, kind = _RESOURCES[key.instance_type]
    resource = f"acs:{product}:{key.instance_region}:{caller.account}:{kind}/{key.instance_id}"
    return Work(
        [(f"expressconnectrouter:{operation}", resource)],
        check=check,
        conditions=_TYPE_CONDITIONS[key.instance_type],
        region=key.instance_region,
    )


_RESOURCES = {"VPC": ("vpc", "vpc"), "VBR": ("expressconnect", "virtualborderrouter")}
_TYPE_CONDITIONS = {kind: {"InstanceType": kind, "expressconnectrouter:InstanceType": kind} for kind in ("VPC", "VBR")}


def _own_instance(cloud: Cloud, caller: Caller, key: GrantKey) -> None:
    """The grant must be made by the account that owns the instance."""
    owner = cloud.network.instance_owner(key.instance_type, key.instance_id, key.instance_region)
    if owner != caller.account:
        if cloud.switches.foreign_instance == "calling_failed":
            raise calling_failed()
        raise refuse("IllegalParam.InstanceId", "The param of InstanceId is illegal.")


def grant_instance(cloud: Cloud, caller: Caller, params: Params) -> Work:
    """B lets A's ECR reach a VPC or VBR (section 1.2); the answer does not carry the grant's id."""
    key = _grant_key(params)
    network = cloud.network

    def check(call: Call) -> Change:
        ecr = network.ecr(key.ecr_id, call.now)
        if ecr is None:
            raise ecr_not_found()
        if ecr.owner != key.ecr_owner:
            raise refuse("IllegalParam.EcrOwnerAliUid", "The Ecr instance account parameter is invalid.")
        _own_instance(cloud, caller, key)
        if key.instance_type == "VPC" and network.vpcs[key.instance_id][1].status != "Available":
            raise refuse("IllegalParam.InstanceId", "The param of InstanceId is illegal.")
        if network.grant(key) is not None:
            if cloud.switches.grant_twice == "conflict":
                raise lock()
            return dict

        def change() -> Reply:
            call.effect = True
            network.make_grant(key, caller.account, call)
            return {}

        return change

    return _on_instance("GrantInstanceToExpressConnectRouter", caller, key, check)


def revoke_instance(cloud: Cloud, caller: Caller, params: Params) -> Work:
    """B takes a grant back (section 1.2); much of it is undocumented and therefore a switch (section 1.7)."""
    key = _grant_key(params)
    network = cloud.network

    def check(call: Call) -> Change:
        _own_instance(cloud, caller, key)
        if network.grant(key) is None:
            if cloud.switches.revoke_absent == "not_found":
                raise refuse("EcGrantRelation.NotExist", "The grant relation does not exist.", 404)
            return dict
        if any(True for _ in network.links(call.now, ecr_id=key.ecr_id, node_id=key.instance_id)):
            if cloud.switches.revoke_while_associated == "conflict":
                raise lock()
            if cloud.switches.revoke_while_associated == "calling_failed":
                raise calling_failed()

        def change() -> Reply:
            call.effect = True
            network.end_grant(key, call)
            return {}

        return change

    return _on_instance("RevokeInstanceFromExpressConnectRouter", caller, key, check)


def describe_granted(cloud: Cloud, caller: Caller, params: Params) -> Work:
    """The grants to an ECR: all of them for its owner, B's own for B with CallerType=OTHER (section 1.3)."""
    ecr_id = params.required("EcrId", ECR_ID)
    wanted = (
        params.text("InstanceId"),
        params.text("InstanceRegionId", REGION),
        params.choice("InstanceType", "VPC", "VBR"),
        params.uid("InstanceOwnerId"),
    )
    allowed = ("sub", "parent") if cloud.switches.caller_type_other == "refused" else ("sub", "parent", "OTHER")
    caller_type = params.choice("CallerType", *allowed)
    refuse_grouping(params)
    if params.tags("TagModels", "TagKey", "TagValue"):
        raise not_emulated("the parameter TagModels")
    page = token_page(params, "DescribeInstanceGrantedToExpressConnectRouter", 20, MOST_RESULTS)

    def look(call: Call) -> Reply:
        ecr = cloud.network.ecr(ecr_id, call.seen)
        as_owner = ecr is not None and ecr.owner == caller.account
        as_granter = caller_type == "OTHER" or (not as_owner and cloud.switches.caller_type_other == "optional")
        if ecr is None or not (as_owner or as_granter):
            if cloud.switches.granted_on_unknown_ecr == "empty":
                return {"EcrGrantedInstanceList": [], "TotalCount": 0, "MaxResults": page.size, "NextToken": ""}
            raise ecr_not_found()

        def matches(grant: Grant) -> bool:
            return (
                grant.key.ecr_id == ecr_id
                and (not as_granter or grant.owner == caller.account)
                and all(
                    not value or value == actual
                    for value, actual in zip(
                        wanted,
                        (grant.key.instance_id, grant.key.instance_region, grant.key.instance_type, grant.owner),
                        strict=True,
                    )
                )
            )

        shelf = cloud.network.grants_of(caller.account if as_granter else ecr_id, call)
        every = not as_granter and not any(wanted)
        place = lambda grant: (grant.created, grant.grant_id)  # noqa: E731 - the order of pages
        shown, token, total = page.cut(params, shelf, place, None if every else matches)
        return {
            "EcrGrantedInstanceList": [_granted(cloud, grant) for grant in shown],
            "TotalCount": total,
            "MaxResults": page.size,
            "NextToken": token,
        }

    return Work(on_ecr("DescribeInstanceGrantedToExpressConnectRouter", caller, ecr_id), look=look)


def _granted(cloud: Cloud, grant: Grant) -> Reply:
    """One grant; its times are epoch milliseconds as text, unlike those of every other ECR object."""
    return {
        "GrantId": grant.grant_id,
        "Status": cloud.switches.grant_status,
        "EcrId": grant.key.ecr_id,
        "EcrOwnerAliUid": grant.key.ecr_owner,
        "NodeId": grant.key.instance_id,
        "NodeType": grant.key.instance_type,
        "NodeRegionId": grant.key.instance_region,
        "NodeOwnerUid": int(grant.owner),
        "NodeOwnerBid": cloud.network.enterprise[grant.owner],
        "GmtCreate": milliseconds(grant.created),
        "GmtModified": milliseconds(grant.created),
    }
