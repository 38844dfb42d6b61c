"""Express Connect Router as a product of the RPC wire: the table of its operations, and the customs of its answers."""

from localcloud.ecr.associations import (
    create_association,
    delete_association,
    describe_associations,
    modify_allowed_prefixes,
)
from localcloud.ecr.attachments import (
    attach_child,
    describe_children,
    detach_child,
)
from localcloud.ecr.common import EcrParams
from localcloud.ecr.grants import (
    describe_granted,
    grant_instance,
    revoke_instance,
)
from localcloud.ecr.routers import (
    create_ecr,
    delete_ecr,
    describe_ecr,
    list_supported_regions,
)
from localcloud.operations import Product

PRODUCT = Product(
    "ecr",
    "ExpressConnectRouter",
    "2023-09-01",
    frozenset({"POST"}),
    operations={
        "GrantInstanceToExpressConnectRouter": grant_instance,
        "RevokeInstanceFromExpressConnectRouter": revoke_instance,
        "DescribeInstanceGrantedToExpressConnectRouter": describe_granted,
        "CreateExpressConnectRouter": create_ecr,
        "DescribeExpressConnectRouter": describe_ecr,
        "DeleteExpressConnectRouter": delete_ecr,
        "ListExpressConnectRouterSupportedRegion": list_supported_regions,
        "CreateExpressConnectRouterAssociation": create_association,
        "DeleteExpressConnectRouterAssociation": delete_association,
        "ModifyExpressConnectRouterAssociationAllowedPrefix": modify_allowed_prefixes,
        "DescribeExpressConnectRouterAssociation": describe_associations,
        "AttachExpressConnectRouterChildInstance": attach_child,
        "DetachExpressConnectRouterChildInstance": detach_child,
        "DescribeExpressConnectRouterChildInstance": describe_children,
    },
    form_only=True,
    params=EcrParams,
    envelope=True,
    client_token=True,
    dry_run="switch",
)
