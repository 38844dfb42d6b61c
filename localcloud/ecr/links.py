"""Whether an ECR may be linked to an instance, a VPC or a VBR: its owner granted it, and nothing is linked to it yet."""

from typing import Literal

from localcloud.call import Call, Caller
from localcloud.ecr.common import lock, refuse
from localcloud.kernel import Cloud
from localcloud.network import GrantKey, Link
from localcloud.operations import BusinessRefusal


def rejected(control_plane: Literal["Ec", "Vpc"]) -> BusinessRefusal:
    """The product that the instance belongs to says no."""
    return refuse(f"OperationFailed.RejectedBy{control_plane}Yaochi", "The operation was rejected.")


def not_granted() -> BusinessRefusal:
    """The instance is somebody else's who did not grant it."""
    return refuse("OperationDenied.NotGrantedByNodeOwner", "The node owner is not authorized.")


def granted_by(
    cloud: Cloud,
    caller: Caller,
    key: GrantKey,
    owner: str,
    control_plane: Literal["Ec", "Vpc"],
    ungranted: BusinessRefusal,
) -> None:
    """The instance is the caller's own, or its owner granted it to this ECR."""
    if owner != caller.account:
        grant = cloud.network.grant(key)
        if grant is None or grant.owner != owner:
            raise ungranted
    elif cloud.network.instance_owner(key.instance_type, key.instance_id, key.instance_region) != owner:
        raise rejected(control_plane)


def present_link(cloud: Cloud, call: Call, key: GrantKey) -> Link | None:
    """What an instance is linked to already: it can have one ECR only. None when it is free."""
    link = next((link for link in cloud.network.links(call.now, node_id=key.instance_id)), None)
    if link is None:
        return None
    if link.ecr_id == key.ecr_id:
        if link.ended_by is not None or cloud.switches.associate_twice == "conflict":
            raise lock()
        if cloud.switches.associate_twice == "success":
            return link
    raise rejected("Vpc" if key.instance_type == "VPC" else "Ec")
