"""Look at what is granted and associated, with the official SDKs, as users of both accounts; and who assumed which role.

python -m examples.look --address http://127.0.0.1:PORT
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import yaml
from alibabacloud_expressconnectrouter20230901 import models as ecr
from alibabacloud_expressconnectrouter20230901.client import Client as EcrClient
from alibabacloud_tea_openapi.utils_models import Config
from alibabacloud_vpc20160428 import models as vpc
from alibabacloud_vpc20160428.client import Client as VpcClient
from Tea.exceptions import TeaException

from cli.output import prepare
from examples.send import HUB, WORLD
from shared.messages.cells import safe


def left_over(address: str) -> list[str]:
    """Every grant, association and attachment that exists, as a sentence each."""
    return [*_hub(address), *_spokes(address)]


def assumed(address: str) -> list[str]:
    """Who assumed which role, as the cloud's own record has it: no API of the platform lists sessions."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(f"{address}/_localcloud/journal?operation=AssumeRole", timeout=30) as answer:
        entries = json.load(answer)["entries"]
    done = [one for one in entries if one["status"] == 200]
    return sorted({f"role {one['params']['RoleArn']} was assumed by {one['caller']['name']}" for one in done})


def _config(address: str, key: dict[str, str]) -> Config:
    scheme, _, host = address.partition("://")
    return Config(
        access_key_id=key["id"],
        access_key_secret=key["secret"],
        endpoint=host,
        protocol=scheme,
        region_id="cn-hangzhou",
    )


def _accounts() -> dict[str, Any]:
    accounts: dict[str, Any] = yaml.safe_load(WORLD.read_text("utf-8"))["accounts"]
    return accounts


def _hub(address: str) -> Iterator[str]:
    """Account A: what hangs on its routers."""
    account = _accounts()[HUB]
    client = EcrClient(_config(address, account["users"]["operator"]["access_key"]))
    for router in account["ecrs"]:
        ask = ecr.DescribeExpressConnectRouterAssociationRequest(ecr_id=router["id"], max_results=100)
        for page in _pages(client.describe_express_connect_router_association, ask):
            for one in page.association_list or []:
                prefixes = ", ".join(one.allowed_prefixes or [])
                yield f"account {HUB}: {one.vpc_id} is associated with {one.ecr_id}: {one.status}, prefixes {prefixes}"
        children = ecr.DescribeExpressConnectRouterChildInstanceRequest(ecr_id=router["id"], max_results=100)
        for page in _pages(client.describe_express_connect_router_child_instance, children):
            for one in page.child_instance_list or []:
                yield f"account {HUB}: {one.child_instance_id} is attached to {one.ecr_id}: {one.status}"


def _spokes(address: str) -> Iterator[str]:
    """Account B: what it has granted."""
    for uid, account in _accounts().items():
        if "admin" not in account.get("users", {}):
            continue
        client = VpcClient(_config(address, account["users"]["admin"]["access_key"]))
        ask = vpc.DescribeVpcGrantRulesToEcrRequest(region_id="cn-hangzhou", ecr_owner_id=int(HUB))
        listed = {
            rule.instance_id
            for page in _pages(client.describe_vpc_grant_rules_to_ecr, ask)
            for rule in page.grant_rule_models or []
        }
        for router in account.get("vbrs", []):
            own = client.describe_grant_rules_to_ecr(
                vpc.DescribeGrantRulesToEcrRequest(region_id="cn-hangzhou", instance_id=router["id"], page_size=50)
            ).body
            listed |= {router["id"] for _ in own.ecr_grant_rules or []}
        for instance in sorted(listed):
            yield f"account {uid}: {instance} is granted"


def _pages(ask: Callable[[Any], Any], request: Any) -> Iterator[Any]:
    """All pages of a listing."""
    while True:
        body = ask(request).body
        yield body
        if not body.next_token:
            return
        request.next_token = body.next_token


def without_proxies() -> None:
    """The vendor's SDKs would send even loopback calls to a proxy, and the local cloud is on this machine."""
    for name in [one for one in os.environ if one.lower().endswith("_proxy")]:
        del os.environ[name]


def main() -> int:
    """Print what is up."""
    parser = argparse.ArgumentParser(description="Look at grants, associations and assumed roles in the local cloud.")
    parser.add_argument("--address", required=True, help="the address that `make up` prints")
    options = parser.parse_args()
    prepare()
    without_proxies()
    try:
        found = left_over(options.address)
        roles = assumed(options.address)
    except (TeaException, OSError) as error:
        print(f"the cloud at {options.address} is not usable: {safe(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    print("\n".join(map(safe, [*(found or ["nothing is granted or associated"]), *roles])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
