"""RAM: what policies mean, condition by condition, and what a policy may not say."""

import contextlib
import time
from typing import Any

import pytest
from alibabacloud_vpc20160428.models import DescribeVpcsRequest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.call import Call
from localcloud.ram import CONDITION_OPERATORS, PolicyError, compile_policy, evaluate
from tests.localcloud.conftest import RunCloud
from tests.localcloud.harness import HANGZHOU, allow, policy, refused, stage, user

IDENTITY = "AccountLevelIdentityBasedPolicy"


def decide(document: dict[str, Any], action: str, resource: str, **carried: str) -> tuple[bool, str]:
    """Whether one document allows something, and the kind of refusal."""
    values = {key.replace("_", ":"): value for key, value in carried.items()}
    decision = evaluate([compile_policy(document, "p")], action, resource, values.get, IDENTITY)
    return decision.allowed, decision.no_permission_type


@pytest.mark.parametrize(
    ("action", "resource", "allowed"),
    [
        ("vpc:DescribeVpcs", "acs:vpc:cn-hangzhou:1:vpc/vpc-1", True),
        ("VPC:describevpcs", "acs:vpc:cn-hangzhou:1:vpc/vpc-1", True),
        ("vpc:DescribeVpcAttribute", "acs:vpc:cn-hangzhou:1:vpc/vpc-1", True),
        ("vpc:DeleteVpc", "acs:vpc:cn-hangzhou:1:vpc/vpc-1", False),
        ("vpc:DescribeVpcs", "acs:vpc:cn-hangzhou:1:vpc/vpc-12", False),
        ("vpc:DescribeVpcs", "acs:vpc:cn-hangzhou:1:VPC/vpc-1", False),
        ("vpc:DescribeVpcs", "acs:vpc::1:vpc/vpc-1", True),
        ("ecs:DescribeVpcs", "acs:vpc:cn-hangzhou:1:vpc/vpc-1", False),
    ],
)
def test_wildcards(action: str, resource: str, allowed: bool) -> None:
    """* and ? match in actions (without case) and resources (with case), an empty region included."""
    document = allow("vpc:Describe*", "acs:vpc:*:1:vpc/vpc-?")

    assert decide(document, action, resource)[0] is allowed


def test_an_explicit_deny_wins() -> None:
    """A matching Deny beats every Allow, and is told from nothing matching at all."""
    document = policy(
        {"Effect": "Allow", "Action": "*", "Resource": "*"},
        {"Effect": "Deny", "Action": "vpc:Delete*", "Resource": "*"},
    )

    assert decide(document, "vpc:DeleteVpc", "acs:vpc::1:x") == (False, "ExplicitDeny")
    assert decide(document, "vpc:DescribeVpcs", "acs:vpc::1:x") == (True, "")
    assert decide(allow("ecs:*"), "vpc:DescribeVpcs", "acs:vpc::1:x") == (False, "ImplicitDeny")


def test_not_action_is_everything_else() -> None:
    """NotAction names what a statement is not about."""
    document = policy({"Effect": "Allow", "NotAction": ["ram:*", "sts:*"], "Resource": "*"})

    assert decide(document, "vpc:DescribeVpcs", "acs:vpc::1:x")[0]
    assert not decide(document, "sts:AssumeRole", "acs:ram::1:role/x")[0]


OPERATORS = [
    ("StringEquals", "sts:ExternalId", "Ab", "Ab", "ab"),
    ("StringNotEquals", "sts:ExternalId", "Ab", "ab", "Ab"),
    ("StringEqualsIgnoreCase", "sts:ExternalId", "Ab", "aB", "b"),
    ("StringNotEqualsIgnoreCase", "sts:ExternalId", "Ab", "b", "aB"),
    ("StringLike", "sts:ExternalId", "a*z?", "abczd", "abcz"),
    ("StringNotLike", "sts:ExternalId", "a*z?", "abcz", "abczd"),
    ("NumericEquals", "sts:ExternalId", "10", "10.0", "11"),
    ("NumericNotEquals", "sts:ExternalId", "10", "11", "10.0"),
    ("NumericLessThan", "sts:ExternalId", "10", "9", "10"),
    ("NumericLessThanEquals", "sts:ExternalId", "10", "10", "11"),
    ("NumericGreaterThan", "sts:ExternalId", "10", "11", "10"),
    ("NumericGreaterThanEquals", "sts:ExternalId", "10", "10", "ten"),
    ("DateEquals", "acs:CurrentTime", "2026-01-01T00:00:00Z", "2026-01-01T08:00:00+08:00", "2026-01-01T08:00:00Z"),
    ("DateNotEquals", "acs:CurrentTime", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "2026-01-01T00:00:00"),
    ("DateLessThan", "acs:CurrentTime", "2026-01-01", "2025-12-31T23:59:59Z", "2026-01-01T00:00:00Z"),
    ("DateLessThanEquals", "acs:CurrentTime", "2026-01-01", "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"),
    ("DateGreaterThan", "acs:CurrentTime", "2026-01-01", "2026-01-01T00:00:01Z", "2026-01-01T00:00:00Z"),
    ("DateGreaterThanEquals", "acs:CurrentTime", "2026-01-01", "2026-01-01T00:00:00Z", "yesterday"),
    ("Bool", "acs:SecureTransport", "true", "True", "false"),
    ("IpAddress", "acs:SourceIp", "10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
    ("NotIpAddress", "acs:SourceIp", "10.0.0.0/8", "11.0.0.1", "10.0.0.1"),
    ("IpAddress", "acs:SourceIp", "::1/128", "::1", "127.0.0.1"),
]


@pytest.mark.parametrize(("operator", "key", "wanted", "meets", "misses"), OPERATORS)
def test_condition_operators(operator: str, key: str, wanted: str, meets: str, misses: str) -> None:
    """Each operator holds for what meets it and not for what misses it; a call without the key meets negations only."""
    document = allow("*", Condition={operator: {key: [wanted]}})

    def holds(value: str | None) -> bool:
        lookup = {key.lower(): value}.get
        return evaluate([compile_policy(document, "p")], "a:B", "acs:a::1:b", lookup, IDENTITY).allowed

    assert (holds(meets), holds(misses)) == (True, False)
    assert holds(None) is ("Not" in operator)


def test_every_operator_is_tested() -> None:
    """The table above knows every operator there is."""
    assert {case[0] for case in OPERATORS} == CONDITION_OPERATORS


def test_values_are_alternatives_and_keys_are_not() -> None:
    """Several values of one key are OR-ed, several keys and operators are AND-ed."""
    condition = {
        "StringEquals": {"sts:ExternalId": ["a", "b"], "InstanceType": "VPC"},
        "IpAddress": {"acs:SourceIp": "10.0.0.0/8"},
    }
    document = allow("*", Condition=condition)
    good = {"sts_externalid": "b", "instancetype": "VPC", "acs_sourceip": "10.0.0.1"}

    assert decide(document, "a:B", "acs:a::1:b", **good)[0]
    for key, value in {"sts_externalid": "c", "instancetype": "VBR", "acs_sourceip": "1.1.1.1"}.items():
        assert not decide(document, "a:B", "acs:a::1:b", **{**good, key: value})[0]


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ([], "p: a policy document is a mapping"),
        ({"Version": 1, "Statement": []}, "p.Version"),
        ({"Version": "1", "Statement": []}, "p.Statement"),
        ({"Version": "1", "Statement": [1]}, "p.Statement[0]"),
        ({"Version": "1", "Statment": []}, "p.Statment"),
        (policy({"Effect": "allow", "Action": "*", "Resource": "*"}), "p.Statement[0].Effect"),
        (policy({"Effect": "Allow", "Resource": "*"}), "p.Statement[0]"),
        (policy({"Effect": "Allow", "Action": "*", "NotAction": "*", "Resource": "*"}), "p.Statement[0]"),
        (policy({"Effect": "Allow", "Action": "*"}), "p.Statement[0].Resource"),
        (policy({"Effect": "Allow", "Action": "DescribeVpcs", "Resource": "*"}), "p.Statement[0].Action"),
        (policy({"Effect": "Allow", "Action": [], "Resource": "*"}), "p.Statement[0].Action"),
        (policy({"Effect": "Allow", "Action": "*", "Resource": "vpc-1"}), "p.Statement[0].Resource"),
        (policy({"Effect": "Allow", "Action": "*", "Resource": "acs:vpc:*:${acs:Uid}:x"}), "p.Statement[0].Resource"),
        (policy({"Effect": "Allow", "Action": "*", "Resource": "*", "Principal": {}}), "p.Statement[0].Principal"),
        (allow("*", Condition=[]), "p.Statement[0].Condition"),
        (allow("*", Condition={"StringMatches": {"acs:SourceIp": "x"}}), "p.Statement[0].Condition.StringMatches"),
        (allow("*", Condition={"Null": {"acs:SourceIp": "true"}}), "p.Statement[0].Condition.Null"),
        (
            allow("*", Condition={"StringEquals": {"acs:ResourceTag/a": "x"}}),
            "p.Statement[0].Condition.StringEquals.acs:ResourceTag/a",
        ),
        (
            allow("*", Condition={"IpAddress": {"acs:SourceIp": "ten"}}),
            "p.Statement[0].Condition.IpAddress.acs:SourceIp",
        ),
        (allow("*", Condition={"Bool": {"acs:SecureTransport": "yes"}}), "p.Statement[0].Condition.Bool"),
        (allow("*", Condition={"StringEquals": {}}), "p.Statement[0].Condition.StringEquals"),
    ],
)
def test_a_policy_that_means_nothing_is_refused(document: Any, path: str) -> None:
    """What is not understood makes the policy invalid and names its place, so that no statement is skipped silently."""
    with pytest.raises(PolicyError) as caught:
        compile_policy(document, "p")

    assert str(caught.value).startswith(path)


@pytest.mark.parametrize(
    ("principal", "path"),
    [
        (None, "t.Statement[0].Principal"),
        ({"Federated": ["x"]}, "t.Statement[0].Principal.Federated"),
        ({"RAM": ["*"]}, "t.Statement[0].Principal.RAM"),
        ({"RAM": ["acs:ram::1000000000000001:group/x"]}, "t.Statement[0].Principal.RAM"),
        ({"Service": []}, "t.Statement[0].Principal.Service"),
    ],
)
def test_a_trust_policy_that_trusts_nobody_is_refused(principal: Any, path: str) -> None:
    """Principals have a form, and kinds that are not emulated are named."""
    document = policy({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": principal})

    with pytest.raises(PolicyError) as caught:
        compile_policy(document, "t", trust=True)

    assert str(caught.value).startswith(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3),
    max_leaves=10,
)


@given(JSON, st.sampled_from(["Effect", "Action", "Resource", "Condition", "Principal", "Version", "Statement"]))
def test_any_document_is_compiled_or_refused(junk: Any, where: str) -> None:
    """Whatever stands in a policy, the answer is a policy or PolicyError, never another exception."""
    statement = {"Effect": "Allow", "Action": "a:*", "Resource": "*", where: junk}
    document = {"Version": "1", "Statement": [statement]} if where not in {"Version", "Statement"} else {where: junk}
    for trust in (False, True):
        with contextlib.suppress(PolicyError):
            assert compile_policy(document, "p", trust=trust).statements


def test_conditions_see_the_call(run_cloud: RunCloud) -> None:
    """Source address, transport and the turned clock reach the policies."""
    at = stage()
    conditions = [
        {"IpAddress": {"acs:SourceIp": "127.0.0.0/8"}},
        {"DateLessThan": {"acs:CurrentTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))}},
        {"Bool": {"acs:MFAPresent": "false"}},
        {"Bool": {"acs:SecureTransport": "false"}},
    ]
    merged: dict[str, Any] = {}
    for condition in conditions:
        for operator, keys in condition.items():
            merged.setdefault(operator, {}).update(keys)
    careful, key = user("careful", allow("vpc:*", Condition=merged))
    at.world["accounts"][at.spoke]["users"]["careful"] = careful
    cloud = run_cloud(at.world)

    def look() -> object:
        return cloud.vpc(key).describe_vpcs(DescribeVpcsRequest(region_id=HANGZHOU))

    look()
    cloud.admin.switch(secure_transport="true")
    assert refused(look) == (403, "Forbidden.RAM")
    cloud.admin.switch(secure_transport="false")
    look()
    cloud.advance(3700)
    assert refused(look) == (403, "Forbidden.RAM")
    assert "DateLessThan acs:CurrentTime" in cloud.journal()[-1]["decision"]["why"]


def test_nobody_reaches_into_another_account(run_cloud: RunCloud) -> None:
    """A policy that names another account's resources allows nothing there, not even for the account itself."""
    at = stage()
    cloud = run_cloud(at.world)

    decision = cloud.inside(
        lambda c: c._decide_one(
            _call(c, at.a.id), "mns:SendMessage", f"acs:mns:{HANGZHOU}:{at.spoke}:/queues/q/messages"
        )
    )

    assert not decision.allowed
    assert f"belongs to account {at.spoke}" in decision.why


def _call(cloud: Any, access_key_id: str) -> Any:
    caller = cloud.authenticate(access_key_id, None)
    return Call("mns", "SendMessage", caller, caller.account, HANGZHOU, "R-1")
