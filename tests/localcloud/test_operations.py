"""Every RPC operation refuses a wrong signature and a missing permission, and asks for its own action by name."""

import json

import pytest

from localcloud.operations import Product
from localcloud.server import PRODUCTS
from tests.localcloud.conftest import RunCloud
from tests.localcloud.harness import HANGZHOU, Key, LocalCloud, Stage, send, signed_rpc, stage, user

OPERATIONS = [(product, name) for product in PRODUCTS.values() for name in product.operations]
FREE = {"GetCallerIdentity"}
"""Operations that need no permission."""
CODES = {"ecr": "NoPermission", "vpc": "Forbidden.RAM", "sts": "NoPermission", "kms": "Forbidden.NoPermission"}


def good(at: Stage) -> dict[str, str]:
    """Parameters that are well formed for every operation."""
    return {
        "EcrId": at.ecr_id,
        "EcrOwnerAliUid": at.hub,
        "InstanceId": at.vbr_id,
        "InstanceType": "VBR",
        "InstanceRegionId": HANGZHOU,
        "AlibabaSideAsn": "45104",
        "AssociationRegionId": HANGZHOU,
        "AssociationId": "ecr-assoc-123456",
        "VpcId": at.vpc_id,
        "ChildInstanceId": at.vbr_id,
        "ChildInstanceType": "VBR",
        "ChildInstanceRegionId": HANGZHOU,
        "NodeType": "VPC",
        "RegionId": HANGZHOU,
        "RoleArn": f"acs:ram::{at.spoke}:role/any",
        "RoleSessionName": "REQ-1",
        "SecretName": "any",
    }


def ask(cloud: LocalCloud, at: Stage, key: Key, product: str, name: str) -> tuple[int, dict[str, str]]:
    """Call an operation; status and body."""
    request = signed_rpc(cloud, key, name, product, form=good(at))
    answer = send(cloud, *request)
    return answer.status, answer.json


@pytest.mark.parametrize(("product", "name"), OPERATIONS, ids=[name for _, name in OPERATIONS])
def test_an_operation_protects_itself(run_cloud: RunCloud, product: Product, name: str) -> None:
    """A wrong secret is SignatureDoesNotMatch, a user without policies is refused for exactly this action."""
    service, version = product.service, product.version
    at = stage()
    powerless, key = user("powerless")
    at.world["accounts"][at.spoke]["users"]["powerless"] = powerless
    cloud = run_cloud(at.world)

    status, body = ask(cloud, at, Key(key.id, "a wrong secret"), version, name)
    assert (status, body["Code"]) == (400, "SignatureDoesNotMatch")
    status, body = ask(cloud, at, key, version, name)
    if name in FREE:
        assert status == 200
        return
    entry = cloud.journal()[-1]
    action = f"{'expressconnectrouter' if service == 'ecr' else service}:{name}"
    assert (status, body["Code"]) == (403, CODES[service])
    assert (entry["decision"]["action"], entry["decision"]["allowed"], entry["effect"]) == (action, False, False)
    assert at.spoke in entry["decision"]["resource"]
    detail = body.get("AccessDeniedDetail")
    assert (json.dumps(detail).count(action) == 1) if service != "sts" else detail is None
