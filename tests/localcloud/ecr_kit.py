"""What tests of associations and attachments share: one call each, through the official SDKs."""

from typing import Any

from alibabacloud_expressconnectrouter20230901 import models as ecr
from alibabacloud_vpc20160428 import models as vpc

from tests.localcloud.harness import HANGZHOU, LocalCloud, Stage


def grant(cloud: LocalCloud, at: Stage, **change: Any) -> None:
    """B grants its VPC to A's ECR."""
    request = ecr.GrantInstanceToExpressConnectRouterRequest(**{**at.vpc_grant, **change})
    cloud.ecr(at.b).grant_instance_to_express_connect_router(request)


def associate(cloud: LocalCloud, at: Stage, **change: Any) -> str:
    """A associates B's VPC; the association's id."""
    asked = {
        "ecr_id": at.ecr_id,
        "association_region_id": HANGZHOU,
        "vpc_id": at.vpc_id,
        "vpc_owner_id": int(at.spoke),
        **change,
    }
    request = ecr.CreateExpressConnectRouterAssociationRequest(**asked)
    association_id: str = cloud.ecr(at.a).create_express_connect_router_association(request).body.association_id
    return association_id


def dissociate(cloud: LocalCloud, at: Stage, association_id: str, **change: Any) -> None:
    """A ends an association."""
    request = ecr.DeleteExpressConnectRouterAssociationRequest(
        **{"ecr_id": at.ecr_id, "association_id": association_id, **change}
    )
    cloud.ecr(at.a).delete_express_connect_router_association(request)


def modify(cloud: LocalCloud, at: Stage, association_id: str, **more: Any) -> None:
    """A replaces the allowed prefixes."""
    request = ecr.ModifyExpressConnectRouterAssociationAllowedPrefixRequest(
        ecr_id=at.ecr_id, association_id=association_id, **more
    )
    cloud.ecr(at.a).modify_express_connect_router_association_allowed_prefix(request)


def associations(cloud: LocalCloud, at: Stage, **more: Any) -> Any:
    """What A sees associated."""
    request = ecr.DescribeExpressConnectRouterAssociationRequest(**{"ecr_id": at.ecr_id, **more})
    return cloud.ecr(at.a).describe_express_connect_router_association(request).body


def attach(cloud: LocalCloud, at: Stage, **change: Any) -> None:
    """A attaches B's VBR."""
    asked = {
        "ecr_id": at.ecr_id,
        "child_instance_id": at.vbr_id,
        "child_instance_type": "VBR",
        "child_instance_region_id": HANGZHOU,
        "child_instance_owner_id": int(at.spoke),
        **change,
    }
    cloud.ecr(at.a).attach_express_connect_router_child_instance(
        ecr.AttachExpressConnectRouterChildInstanceRequest(**asked)
    )


def detach(cloud: LocalCloud, at: Stage, **change: Any) -> None:
    """A detaches B's VBR."""
    asked = {"ecr_id": at.ecr_id, "child_instance_id": at.vbr_id, "child_instance_type": "VBR", **change}
    cloud.ecr(at.a).detach_express_connect_router_child_instance(
        ecr.DetachExpressConnectRouterChildInstanceRequest(**asked)
    )


def children(cloud: LocalCloud, at: Stage, **more: Any) -> Any:
    """What A sees attached."""
    request = ecr.DescribeExpressConnectRouterChildInstanceRequest(ecr_id=at.ecr_id, **more)
    return cloud.ecr(at.a).describe_express_connect_router_child_instance(request).body


def sources(cloud: LocalCloud, at: Stage) -> list[tuple[str, str, int, str, bool]]:
    """What B sees associated with its VPC."""
    request = vpc.DescribeVpcAttributeRequest(region_id=HANGZHOU, vpc_id=at.vpc_id)
    found = cloud.vpc(at.b).describe_vpc_attribute(request).body.associated_propagation_sources
    return [
        (item.source_type, item.source_instance_id, item.source_owner_id, item.status, item.route_propagated)
        for item in found.associated_propagation_sources
    ]


def vbr(cloud: LocalCloud, at: Stage) -> tuple[str, str, str]:
    """What B sees attached to its VBR."""
    request = vpc.DescribeVirtualBorderRoutersRequest(region_id=HANGZHOU)
    found = cloud.vpc(at.b).describe_virtual_border_routers(request).body
    item = found.virtual_border_router_set.virtual_border_router_type[0]
    return item.ecr_id, item.ecr_owner_id, item.ecr_attatch_status


def status(cloud: LocalCloud, at: Stage) -> list[str]:
    """States of all associations."""
    return [item.status for item in associations(cloud, at).association_list]
