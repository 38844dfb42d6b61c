"""STS through the official SDK: who may become whom, for how long, and what the refusal looks like."""

import json
from typing import Any

import pytest
from alibabacloud_credentials.provider import RamRoleArnCredentialsProvider, StaticAKCredentialsProvider
from alibabacloud_sts20150401.models import AssumeRoleRequest
from alibabacloud_vpc20160428.models import DescribeVpcAttributeRequest, DescribeVpcsRequest

from localcloud.kernel import Cloud
from tests.localcloud.conftest import RunCloud
from tests.localcloud.harness import (
    HANGZHOU,
    Key,
    LocalCloud,
    allow,
    new_account,
    policy,
    refused,
    send,
    signed_rpc,
    trust,
    user,
)

EXTERNAL_ID = "ecr-grants:test:agreed"


class Roles:
    """Account A with users, account B with a role that trusts one of them under an external id."""

    def __init__(self, **role: Any) -> None:
        self.a, self.b = new_account(), new_account()
        caller, self.caller = user("caller", allow("sts:AssumeRole"))
        stranger, self.stranger = user("stranger", allow("sts:AssumeRole"))
        powerless, self.powerless = user("powerless")
        self.root = Key(f"LTAI-example-root-{self.a}", "not-a-secret-of-root")
        self.role_arn = f"acs:ram::{self.b}:role/spoke"
        trusted = trust(
            f"acs:ram::{self.a}:user/caller",
            f"acs:ram::{self.a}:user/powerless",
            StringEquals={"sts:ExternalId": EXTERNAL_ID},
        )
        spoke = {"trust": trusted, "policies": {"look": allow("vpc:Describe*")}, **role}
        self.world = {
            "accounts": {
                self.a: {
                    "access_key": {"id": self.root.id, "secret": self.root.secret},
                    "users": {"caller": caller, "stranger": stranger, "powerless": powerless},
                },
                self.b: {
                    "roles": {"spoke": spoke},
                    "vpcs": [{"id": "vpc-ofb", "region": HANGZHOU, "cidr": "10.0.0.0/16"}],
                },
            }
        }

    def request(self, **change: Any) -> AssumeRoleRequest:
        """A request that is granted, unless something is changed."""
        asked = {"role_arn": self.role_arn, "role_session_name": "REQ-1", "external_id": EXTERNAL_ID, **change}
        return AssumeRoleRequest(**asked)


def last_reason(cloud: LocalCloud) -> str:
    """Why the last call was refused, as the journal knows it."""
    reason: str = cloud.journal()[-1]["decision"]["why"]
    return reason


def test_a_session_belongs_to_the_role_and_its_account(run_cloud: RunCloud) -> None:
    """The credentials of AssumeRole are the role's, in the role's account, under the session name that was given."""
    roles = Roles()
    cloud = run_cloud(roles.world)

    body = cloud.sts(roles.caller).assume_role(roles.request()).body
    key = Key(body.credentials.access_key_id, body.credentials.access_key_secret, body.credentials.security_token)
    who = cloud.sts(key).get_caller_identity().body

    assert body.assumed_role_user.arn == f"{roles.role_arn}/REQ-1"
    assert body.assumed_role_user.assumed_role_id == f"{who.role_id}:REQ-1"
    assert body.credentials.access_key_id.startswith("STS.")
    assert (who.identity_type, who.account_id, who.user_id) == ("AssumedRoleUser", roles.b, None)
    assert who.arn == f"acs:ram::{roles.b}:assumed-role/spoke/REQ-1"
    assert [e["caller"]["session"] for e in cloud.journal(operation="GetCallerIdentity")] == ["REQ-1"]


def test_users_and_the_account_itself_have_an_identity(run_cloud: RunCloud) -> None:
    """GetCallerIdentity tells users from the account itself, and needs no permission."""
    roles = Roles()
    cloud = run_cloud(roles.world)

    powerless = cloud.sts(roles.powerless).get_caller_identity().body
    root = cloud.sts(roles.root).get_caller_identity().body

    assert (powerless.identity_type, powerless.account_id) == ("RAMUser", roles.a)
    assert powerless.arn == f"acs:ram::{roles.a}:user/powerless"
    assert powerless.user_id == powerless.principal_id
    assert (root.identity_type, root.principal_id) == ("Account", roles.a)


@pytest.mark.parametrize(
    ("who", "change", "reason"),
    [
        ("powerless", {}, "no identity policy allows sts:AssumeRole"),
        ("stranger", {}, "does not trust"),
        ("caller", {"external_id": "guessed"}, "the call carries 'guessed'"),
        ("caller", {"external_id": None}, "the call carries no value"),
        ("root", {}, "root accounts"),
    ],
)
def test_either_half_can_refuse_and_only_the_journal_says_which(
    run_cloud: RunCloud, who: str, change: dict[str, Any], reason: str
) -> None:
    """Identity policy, trust policy and external id all answer the same 403; the journal names the one that refused."""
    roles = Roles()
    cloud = run_cloud(roles.world)

    answer = refused(lambda: cloud.sts(getattr(roles, who)).assume_role(roles.request(**change)))

    assert answer == (403, "NoPermission")
    assert reason in last_reason(cloud)
    assert cloud.journal()[-1]["decision"]["allowed"] is False
    assert not cloud.inside(lambda c: c.world.sessions)


def test_a_role_that_does_not_exist(run_cloud: RunCloud) -> None:
    """An unknown role is 404; in another account it is 403 when the switch says that nothing may leak."""
    roles = Roles()
    cloud = run_cloud(roles.world)

    def assume() -> object:
        return cloud.sts(roles.caller).assume_role(roles.request(role_arn=f"acs:ram::{roles.b}:role/nobody"))

    assert refused(assume) == (404, "EntityNotExist.Role")
    cloud.admin.switch(foreign_role_missing="no_permission")
    assert refused(assume) == (403, "NoPermission")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"role_arn": "acs:ram::12:role/x"}, "InvalidParameter.RoleArn"),
        ({"role_arn": None}, "MissingRoleArn"),
        ({"role_session_name": "x"}, "InvalidParameter.RoleSessionName"),
        ({"role_session_name": "no spaces"}, "InvalidParameter.RoleSessionName"),
        ({"external_id": "!"}, "InvalidParameter.ExternalId"),
        ({"duration_seconds": 899}, "InvalidParameter.DurationSeconds"),
        ({"duration_seconds": 3601}, "InvalidParameter.DurationSeconds"),
        ({"policy": "{"}, "InvalidParameter.PolicyGrammar"),
        ({"policy": json.dumps({"Version": "2", "Statement": []})}, "InvalidParameter.PolicyGrammar"),
        ({"policy": "[" * 2000}, "InvalidParameter.PolicyGrammar"),
        ({"policy": " " * 2049}, "InvalidParameter.PolicySize"),
    ],
)
def test_bad_parameters_have_their_documented_codes(run_cloud: RunCloud, change: dict[str, Any], code: str) -> None:
    """Each malformed parameter of AssumeRole is refused with 400 and its own code, and nothing is minted."""
    roles = Roles()
    cloud = run_cloud(roles.world)

    assert refused(lambda: cloud.sts(roles.caller).assume_role(roles.request(**change))) == (400, code)
    assert not cloud.inside(lambda c: c.world.sessions)


def test_a_role_can_allow_longer_sessions(run_cloud: RunCloud) -> None:
    """DurationSeconds may be as long as the role says, and the session lives exactly that long in cloud time."""
    roles = Roles(max_session_seconds=7200)
    cloud = run_cloud(roles.world)
    key = cloud.assume(roles.caller, roles.role_arn, external_id=EXTERNAL_ID, duration_seconds=7200)

    cloud.advance(7190)
    assert cloud.sts(key).get_caller_identity().body.account_id == roles.b
    cloud.advance(20)
    assert refused(lambda: cloud.sts(key).get_caller_identity()) == (400, "InvalidSecurityToken.Expired")


def test_a_session_policy_can_only_take_away(run_cloud: RunCloud) -> None:
    """What a session may do is what the role's policies and the session policy both allow."""
    roles = Roles()
    cloud = run_cloud(roles.world)
    narrow = json.dumps(allow(["vpc:DescribeVpcs", "vpc:DescribeVirtualBorderRouters", "sts:AssumeRole"]))
    key = cloud.assume(roles.caller, roles.role_arn, external_id=EXTERNAL_ID, policy=narrow)
    client = cloud.vpc(key)

    assert client.describe_vpcs(DescribeVpcsRequest(region_id=HANGZHOU)).body.total_count == 1
    with pytest.raises(Exception, match="DescribeVpcAttribute") as caught:
        client.describe_vpc_attribute(DescribeVpcAttributeRequest(region_id=HANGZHOU, vpc_id="vpc-ofb"))
    error: Any = caught.value
    assert error.access_denied_detail["PolicyType"] == "SessionPolicy"
    other = f"acs:ram::{roles.b}:role/other"
    assert refused(lambda: cloud.assume(key, other)) == (403, "NoPermission")
    assert "no identity policy allows sts:AssumeRole" in last_reason(cloud)


def test_roles_chain_and_the_chain_is_remembered(run_cloud: RunCloud) -> None:
    """A role session can assume a role of another account; the journal knows at which key the chain began."""
    roles = Roles()
    third = new_account()
    accounts: Any = roles.world["accounts"]
    accounts[third] = {"roles": {"end": {"trust": trust(f"acs:ram::{roles.b}:role/spoke"), "policies": {}}}}
    accounts[roles.b]["roles"]["spoke"]["policies"]["chain"] = allow("sts:AssumeRole", f"acs:ram::{third}:role/end")
    cloud = run_cloud(roles.world)

    middle = cloud.assume(roles.caller, roles.role_arn, external_id=EXTERNAL_ID)
    end = cloud.assume(middle, f"acs:ram::{third}:role/end", "second")

    assert cloud.sts(end).get_caller_identity().body.account_id == third
    assert cloud.journal()[-1]["caller"]["origin"] == roles.caller.id


def test_a_role_trusted_by_a_service_is_not_for_users(run_cloud: RunCloud) -> None:
    """A RAM user cannot assume a role that only a cloud service is trusted with; the service can."""
    roles = Roles(trust=trust(service="fc.aliyuncs.com"))
    cloud = run_cloud(roles.world)

    assert refused(lambda: cloud.sts(roles.caller).assume_role(roles.request())) == (403, "NoPermission")
    assert cloud.inside(lambda c: c.world.service_may_assume(roles.b, "spoke", "fc.aliyuncs.com")).allowed
    assert not cloud.inside(lambda c: c.world.service_may_assume(roles.b, "spoke", "ecs.aliyuncs.com")).allowed


def test_an_explicit_deny_in_a_trust_policy_wins(run_cloud: RunCloud) -> None:
    """A trust policy that trusts an account but denies one of its users refuses that user."""
    roles = Roles()
    account = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"RAM": [f"acs:ram::{roles.a}:root"]}}
    denied = {"Effect": "Deny", "Action": "sts:*", "Principal": {"RAM": [f"acs:ram::{roles.a}:user/stranger"]}}
    accounts: Any = roles.world["accounts"]
    accounts[roles.b]["roles"]["spoke"]["trust"] = policy(account, denied)
    cloud = run_cloud(roles.world)

    assert cloud.assume(roles.caller, roles.role_arn).token
    assert refused(lambda: cloud.assume(roles.stranger, roles.role_arn)) == (403, "NoPermission")
    assert "denied by trust policy" in last_reason(cloud)


def test_tokens_and_keys_belong_together(run_cloud: RunCloud) -> None:
    """A session key without its token, with another session's, or with an invented one is refused, each by its code."""
    roles = Roles()
    cloud = run_cloud(roles.world)
    one = cloud.assume(roles.caller, roles.role_arn, external_id=EXTERNAL_ID)
    two = cloud.assume(roles.caller, roles.role_arn, external_id=EXTERNAL_ID)

    def code(token: str | None, key: Key = one) -> tuple[int, str]:
        return refused(lambda: cloud.sts(Key(key.id, key.secret, token)).get_caller_identity())

    assert code(None) == (400, "MissingSecurityToken")
    assert code(two.token) == (400, "InvalidSecurityToken.MismatchWithAccessKey")
    assert code("invented") == (400, "InvalidSecurityToken.Malformed")
    assert code(one.token, roles.caller) == (400, "InvalidSecurityToken.MismatchWithAccessKey")
    assert code(None, Key("LTAI-example-nobody", "x")) == (404, "InvalidAccessKeyId.NotFound")


def test_the_older_signature_assumes_roles_too(run_cloud: RunCloud) -> None:
    """The SDK's HMAC-SHA1 mode and the credentials package (GET, everything in the query) both get a session."""
    roles = Roles()
    cloud = run_cloud(roles.world)

    found = cloud.sts(roles.caller, signature_algorithm="v2").assume_role(roles.request()).body.credentials
    provider = RamRoleArnCredentialsProvider(
        credentials_provider=StaticAKCredentialsProvider(
            access_key_id=roles.caller.id, access_key_secret=roles.caller.secret
        ),
        role_arn=roles.role_arn,
        role_session_name="by-provider",
        external_id=EXTERNAL_ID,
        duration_seconds=1000,
        sts_endpoint=cloud.url,
    )
    provided = provider.get_credentials()

    older = Key(found.access_key_id, found.access_key_secret, found.security_token)
    assert cloud.sts(older, signature_algorithm="v2").get_caller_identity().body.account_id == roles.b
    by_provider = Key(provided.get_access_key_id(), provided.get_access_key_secret(), provided.get_security_token())
    assert cloud.sts(by_provider).get_caller_identity().body.arn.endswith("/by-provider")


def test_get_is_allowed_for_sts(run_cloud: RunCloud) -> None:
    """STS answers GET as well as POST with the newer signature."""
    roles = Roles()
    cloud = run_cloud(roles.world)

    answer = send(cloud, *signed_rpc(cloud, roles.caller, "GetCallerIdentity", "2015-04-01", method="GET"))

    assert (answer.status, answer.json["AccountId"]) == (200, roles.a)


@pytest.mark.parametrize("separator", ["/?", "?"])
def test_targets_in_absolute_form(run_cloud: RunCloud, separator: str) -> None:
    """A client behind an HTTP proxy setting sends the whole address in the request line, with or without the slash."""
    roles = Roles()
    cloud = run_cloud(roles.world)
    method, _, headers, body = signed_rpc(
        cloud, roles.caller, "GetCallerIdentity", "2015-04-01", method="GET", query={"Unread": "1"}
    )

    answer = send(cloud, method, f"{cloud.url}{separator}Unread=1", headers, body)

    assert (answer.status, answer.json["AccountId"]) == (200, roles.a)


def test_the_expiration_is_in_cloud_time(run_cloud: RunCloud) -> None:
    """Expiration is what the cloud's clock says, so a client that is handed a turned clock sees a consistent world."""
    roles = Roles()
    cloud = run_cloud(roles.world)
    before = cloud.sts(roles.caller).assume_role(roles.request(duration_seconds=900)).body.credentials.expiration
    cloud.advance(86_400)
    after = cloud.sts(roles.caller).assume_role(roles.request(duration_seconds=900)).body.credentials.expiration

    assert before.endswith("Z")
    assert after[:10] > before[:10]


def test_source_identity_is_refused_by_name(run_cloud: RunCloud) -> None:
    """What is not emulated says so."""
    roles = Roles()
    cloud = run_cloud(roles.world)

    status_code = refused(lambda: cloud.sts(roles.caller).assume_role(roles.request(source_identity="somebody")))

    assert status_code == (501, "NotEmulated")


def test_expired_sessions_are_forgotten_in_the_end(run_cloud: RunCloud) -> None:
    """A cloud that runs for long does not keep every session it ever minted, and no live one is lost."""
    roles = Roles()
    cloud = run_cloud(roles.world)

    def mint(count: int) -> int:
        def inside(running: Cloud) -> int:
            for number in range(count):
                running.world.mint_role_session(roles.b, "spoke", f"REQ-{number}", 3600)
            return len(running.world.sessions)

        return cloud.inside(inside)

    assert mint(10_000) == 10_000
    cloud.advance(2 * 86_400)
    kept = cloud.assume(roles.caller, roles.role_arn, external_id=EXTERNAL_ID)
    assert mint(10) == 11
    assert cloud.sts(kept).get_caller_identity().body.account_id == roles.b
