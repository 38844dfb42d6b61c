"""Malformed RPC requests never end in a 5xx (what is not emulated says so with 501) and never change state."""

from typing import Any
from urllib.parse import urlencode

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.localcloud.conftest import RunCloud
from tests.localcloud.harness import HANGZHOU, Answer, LocalCloud, Stage, send, signed_rpc, stage

RELAXED = settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
OPERATIONS = {
    "2023-09-01": [
        "GrantInstanceToExpressConnectRouter",
        "RevokeInstanceFromExpressConnectRouter",
        "DescribeInstanceGrantedToExpressConnectRouter",
        "CreateExpressConnectRouter",
        "DescribeExpressConnectRouter",
        "DeleteExpressConnectRouter",
        "CreateExpressConnectRouterAssociation",
        "DeleteExpressConnectRouterAssociation",
        "ModifyExpressConnectRouterAssociationAllowedPrefix",
        "DescribeExpressConnectRouterAssociation",
        "AttachExpressConnectRouterChildInstance",
        "DetachExpressConnectRouterChildInstance",
        "DescribeExpressConnectRouterChildInstance",
        "ListExpressConnectRouterSupportedRegion",
    ],
    "2016-04-28": [
        "DescribeVpcs",
        "DescribeVpcAttribute",
        "DescribeVirtualBorderRouters",
        "DescribeVpcGrantRulesToEcr",
        "DescribeGrantRulesToEcr",
        "DescribeBgpGroups",
    ],
    "2015-04-01": ["AssumeRole", "GetCallerIdentity"],
}
CALLS = [(version, action) for version, actions in OPERATIONS.items() for action in actions]
NAMES = [
    "EcrId", "EcrOwnerAliUid", "InstanceId", "InstanceType", "InstanceRegionId", "InstanceOwnerId", "CallerType",
    "MaxResults", "NextToken", "PageNumber", "PageSize", "RegionId", "VpcId", "VpcOwnerId", "AssociationId",
    "AssociationRegionId", "AllowedPrefixes.1", "AllowedPrefixes.x", "AllowedPrefixesMode", "Tag.1.Key", "Tag.1.Value",
    "Tag.2.Value", "TagModels.1.TagKey", "Filter.1.Key", "Filter.1.Value.1", "Filter.0.Key", "ChildInstanceId",
    "ChildInstanceType", "ChildInstanceRegionId", "AlibabaSideAsn", "Name", "Description", "DryRun", "ClientToken",
    "RouterId", "BgpGroupId", "IsDefault",
    "RoleArn", "RoleSessionName", "DurationSeconds", "Policy", "ExternalId", "NodeType", "Action", "Version",
]  # fmt: skip
NASTY = [
    "", " ", "0", "-1", "1", "99999999999999999999", "1e5", "True", "nulL", "VPC", "VBR", "OTHER", HANGZHOU, "vpc-1",
    "vbr-1", "ecr-aaaaaa", "ecr-assoc-123456", "1000000000000001", "acs:ram::1000000000000001:role/x", "10.0.0.0/8",
    "::/0", "{}", '{"Version":"1","Statement":[{}]}', "[" * 500, "W10", "WzEsMiwzXQ", "e30", "AAAA====", "%", "٣", "\n",
    "x" * 5000, "\U0001f600",
]  # fmt: skip
VALUES = st.sampled_from(NASTY) | st.text(st.characters(codec="utf-8"), max_size=12)
PARAMS = st.dictionaries(st.sampled_from(NAMES) | st.text("aA.1", min_size=1, max_size=6), VALUES, max_size=6)


def stripped() -> Stage:
    """A stage with calm quotas: what is judged here is form."""
    every = {f"{service}:{action}": None for service, action in (("sts", "AssumeRole"), ("sts", "GetCallerIdentity"))}
    return stage(quotas=every)


def state(cloud: LocalCloud) -> Any:
    """All that RPC calls can change, and how often the journal says that something was changed."""
    return cloud.inside(
        lambda c: (
            {key: value for key, value in c.network.snapshot(0).items() if key != "time"},
            len(c.network.ecrs),
            len(c.network._grants),
            len(c.network._links),
            len(c.world.sessions),
            len(c.faults.list()),
        )
    )


def judge(cloud: LocalCloud, before: Any, answer: Answer) -> None:
    """The promise: no 5xx but 501, and no change unless the answer is a success."""
    assert answer.status < 500 or answer.status == 501, answer
    if answer.status != 200:
        assert state(cloud) == before
        assert {"RequestId", "Code", "Message"} <= set(answer.json)


def test_signed_nonsense(run_cloud: RunCloud) -> None:
    """Well signed requests with nonsense in their parameters, in query and form, for every operation."""
    at = stripped()
    cloud = run_cloud(at.world)
    for name in list(cloud.admin.call("GET", "quotas")["quotas"]):
        cloud.admin.quota(**{name: None})

    @RELAXED
    @given(st.sampled_from(CALLS), PARAMS, PARAMS, st.sampled_from(["GET", "POST", "PUT", "DELETE"]))
    def ask(call: tuple[str, str], query: dict[str, str], form: dict[str, str], method: str) -> None:
        version, action = call
        before = state(cloud)
        request = signed_rpc(cloud, at.b, action, version, query=query, form=form, method=method)
        judge(cloud, before, send(cloud, *request))

    ask()


def test_nearly_good_requests(run_cloud: RunCloud) -> None:
    """A good grant with one parameter replaced by nonsense is refused or is still good, never half done."""
    at = stripped()
    cloud = run_cloud(at.world)
    for name in list(cloud.admin.call("GET", "quotas")["quotas"]):
        cloud.admin.quota(**{name: None})
    good = {
        "EcrId": at.ecr_id,
        "EcrOwnerAliUid": at.hub,
        "InstanceId": at.vpc_id,
        "InstanceType": "VPC",
        "InstanceRegionId": HANGZHOU,
    }

    @RELAXED
    @given(st.sampled_from([*good, "DryRun", "ClientToken"]), VALUES)
    def ask(name: str, value: str) -> None:
        before = state(cloud)
        form = {**good, name: value}
        request = signed_rpc(cloud, at.b, "GrantInstanceToExpressConnectRouter", "2023-09-01", form=form)
        judge(cloud, before, send(cloud, *request))

    ask()


HEADER_NAMES = st.sampled_from(
    ["Authorization", "x-acs-action", "x-acs-version", "x-acs-date", "x-acs-signature-nonce", "x-acs-content-sha256",
     "Content-Type", "x-acs-security-token", "Host", "Accept", "x-mns-version", "Date"]
)  # fmt: skip
HEADER_VALUES = st.sampled_from(
    ["", "AssumeRole", "2015-04-01", "ACS3-HMAC-SHA256 Credential=a,SignedHeaders=host,Signature=" + "0" * 64,
     "application/json", "application/x-www-form-urlencoded", "text/xml; charset=nonsense", "multipart/form-data",
     "2026-11-24T00:00:00Z", "MNS a:b", "FC a:b", "localhost", "[::1]:1", "a b"]
) | st.text("abc:;,=/ %\"\\.-", max_size=20)  # fmt: skip
TARGETS = st.sampled_from(
    ["/", "/?Action=AssumeRole&Version=2015-04-01", "//", "/x", "*", "http://a/b?c=d", "http://a"]
) | (st.text("/?&=%+.;:aA0", max_size=20).map(lambda text: "/" + text))


def test_unsigned_noise(run_cloud: RunCloud) -> None:
    """Arbitrary targets, headers and bodies are answered, and change nothing."""
    at = stripped()
    cloud = run_cloud(at.world)

    @RELAXED
    @given(
        st.sampled_from(["GET", "POST", "HEAD", "OPTIONS", "BREW"]),
        TARGETS,
        st.dictionaries(HEADER_NAMES, HEADER_VALUES, max_size=5),
        st.binary(max_size=40) | PARAMS.map(lambda params: urlencode(params).encode()),
    )
    def ask(method: str, target: str, headers: dict[str, str], body: bytes) -> None:
        before = state(cloud)
        answer = send(cloud, method, target, {name: value.strip() for name, value in headers.items()}, body)
        assert 400 <= answer.status < 500 or answer.status == 501, answer
        assert state(cloud) == before

    ask()
