"""An account B that nobody knew: what onboard prints is applied, and then it is let in; and what the check says of others."""

from __future__ import annotations

import contextlib
import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from alibabacloud_expressconnectrouter20230901 import models as ecr_models
from alibabacloud_sts20150401.models import AssumeRoleRequest

from localcloud.ros.stacks import world_from
from tests.functional.approvals import approval
from tests.functional.deployment import OPERATOR, Deployment, Json, deployment
from tests.functional.inprocess import RUNNER
from tests.functional.launch import environment, typed
from tests.functional.mailbox import REQUESTER
from tests.functional.world import GRANT_FUNCTION, HUB, HUB_ECR, REGION, ROOT, SPOKE_ROLE, Key, Spoke, Stage

NEW, WATCHED = "4000000000000004", "5000000000000005"
EXPECTED = {
    "role",
    "external id",
    *(f"vpc:{name} in {REGION}" for name in ("DescribeVpcs", "DescribeVpcGrantRulesToEcr")),
}
WRITES = (
    "expressconnectrouter:GrantInstanceToExpressConnectRouter",
    "expressconnectrouter:RevokeInstanceFromExpressConnectRouter",
)


def printed(uid: str, folder: Path, *more: str) -> Json:
    """What onboard prints for an account that is not listed, for programs."""
    done = typed("onboard", "--account", uid, "--hub", HUB, "--json", "--config", str(folder / "none"), *more)
    assert done.returncode == 0, done.stderr
    found: Json = json.loads(done.stdout)
    return found


def applied(said: Json, folder: Path) -> Json:
    """The account, once its administrator has applied the template with the parameters that were printed."""
    stack = {"template": Path(said["template"]).name, "account": said["account"], "parameters": said["parameters"]}
    file = folder / f"stacks-{said['account']}.yaml"
    file.write_text(yaml.safe_dump({"region": REGION, "stacks": [stack]}), "utf-8")
    made: Json = world_from(ROOT / "deploy", file, None).world["accounts"][said["account"]]
    return made


@dataclass
class Town:
    """A deployment, and accounts B that let it in, more or less."""

    cloud: Deployment
    said: Mapping[str, Json]
    """What onboard printed, by account."""
    spokes: Mapping[str, Spoke]

    def check(
        self, uid: str, *more: str, key: Key = OPERATOR, env: Mapping[str, str] | None = None
    ) -> tuple[int, Json]:
        """Exit code and findings of the check."""
        keys = {"ALIBABA_CLOUD_ACCESS_KEY_ID": key.id, "ALIBABA_CLOUD_ACCESS_KEY_SECRET": key.secret}
        if key.token:
            keys["ALIBABA_CLOUD_SECURITY_TOKEN"] = key.token
        where = {"FC_ENDPOINT": self.cloud.url, **(env or {})}
        done = typed("onboard", "--account", uid, "--check", "--json", *more, **(keys | where))
        return done.returncode, json.loads(done.stdout) if done.stdout else {"error": done.stderr}

    def directly(self, uid: str, key: Key) -> tuple[int, dict[str, tuple[str, str]]]:
        """The same with one's own keys and the functions' settings: exit code, and verdict and text by what was looked at."""
        settings = environment(self.cloud.ledger_url, self.cloud.accounts_file, self.cloud.address)
        code, found = self.check(uid, "--directly", key=key, env={**settings, "FC_REGION": REGION})
        return code, verdicts(found)

    def functions_key(self) -> Key:
        """A session of the role that the grant function runs as."""
        request = AssumeRoleRequest(role_arn=f"acs:ram::{HUB}:role/{GRANT_FUNCTION}", role_session_name="directly")
        given = self.cloud.sts(RUNNER).assume_role(request).body.credentials
        return Key(given.access_key_id, given.access_key_secret, given.security_token)


def verdicts(found: Json) -> dict[str, tuple[str, str]]:
    """Verdict and text by what was looked at."""
    return {one["about"]: (one["verdict"], one["text"]) for one in found["findings"]}


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """Two accounts made by what was printed, and some whose roles are not as they should be."""
    folder, stage = tmp_path_factory.mktemp("town"), Stage()
    said = {NEW: printed(NEW, folder), WATCHED: printed(WATCHED, folder, "--observe")}
    for number, (uid, one) in enumerate(said.items()):
        account = applied(one, folder)
        account["vpcs"] = [
            {"id": f"vpc-new{number}x{each}", "region": REGION, "cidr": "10.9.0.0/16"} for each in range(3)
        ]
        account["vbrs"] = [{"id": f"vbr-new{number}", "region": REGION, "bgp_asn": 45104}]
        stage.file["accounts"][uid] = account
        stage.listed |= one["entry"]
        for function in ("ecr-grants-grant", "ecr-grants-reconcile"):
            [document] = [d for n, d in stage.role(HUB, function)["policies"].items() if n.endswith("-accounts")]
            document["Statement"][-1]["Resource"].append(f"acs:ram::{uid}:role/{SPOKE_ROLE}")
    spokes = {name: stage.new_spoke() for name in ("misnamed", "careless", "blind", "bare", "powerless", "granted")}
    stage.role(spokes["misnamed"].uid, SPOKE_ROLE)["trust"]["Statement"][0]["Condition"] = {
        "StringEquals": {"sts:ExternalId": "of-another-deployment"}
    }
    del stage.role(spokes["careless"].uid, SPOKE_ROLE)["trust"]["Statement"][0]["Condition"]
    stage.take_away(spokes["blind"].uid, SPOKE_ROLE, "vpc:DescribeVpcs")
    stage.file["accounts"][spokes["bare"].uid].update(vpcs=[], vbrs=[])
    for action in WRITES:
        stage.take_away(spokes["powerless"].uid, SPOKE_ROLE, action)
    _let_the_runner_be(stage)
    with deployment(stage, folder) as cloud:
        yield Town(cloud, said, spokes)


def _let_the_runner_be(stage: Stage) -> None:
    arn = f"acs:ram::{HUB}:role/{GRANT_FUNCTION}"
    policy = {"Version": "1", "Statement": [{"Effect": "Allow", "Action": ["sts:AssumeRole"], "Resource": [arn]}]}
    stage.hub["users"]["runner"] = {"access_key": {"id": RUNNER.id, "secret": RUNNER.secret}, "policies": {"a": policy}}
    trusted = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"RAM": [f"acs:ram::{HUB}:user/runner"]}}
    stage.role(HUB, GRANT_FUNCTION)["trust"]["Statement"].append(trusted)


# -- what is printed ---------------------------------------------------------------------------------------------------


def test_an_account_that_applied_what_was_printed_is_let_in_and_granted(town: Town) -> None:
    """By template, parameters and entry alone: the check finds nothing wrong, and an approval is carried out."""
    code, found = town.check(NEW)

    assert code == 0, found
    seen = verdicts(found)
    assert {what for what, (verdict, _) in seen.items() if verdict == "ok"} >= EXPECTED
    assert found["wrong"] == 0
    assert town.cloud.settled(approval(NEW, "vpc-new0x0"))["event"] == "done"


def test_a_watched_account_can_be_looked_at_and_not_be_granted(town: Town) -> None:
    """The variant for the mode observe: the same checks, and a grant ends dead with what is missing."""
    code, found = town.check(WATCHED)

    assert (code, found["wrong"]) == (0, 0)
    answer = town.cloud.settled(approval(WATCHED, "vpc-new1x0"))
    assert answer["event"] == "dead"
    assert f"permission {WRITES[0]} is missing in account {WATCHED}" in answer["reason"]["text"]


@pytest.mark.parametrize("uid", [NEW, WATCHED])
def test_the_plain_commands_make_the_same_role(town: Town, uid: str, tmp_path: Path) -> None:
    """Word for word: who applies them instead of the template gets the same trust and the same policy."""
    create, policy, attach = (shlex.split(command) for command in town.said[uid]["commands"])
    role = applied(town.said[uid], tmp_path)["roles"][SPOKE_ROLE]

    assert json.loads(create[-1]) == role["trust"]
    assert (create[4], policy[4]) == (SPOKE_ROLE, SPOKE_ROLE)
    assert {policy[4]: json.loads(policy[-1])} == role["policies"]
    assert attach[2:] == [
        "AttachPolicyToRole",
        "--PolicyType",
        "Custom",
        "--PolicyName",
        SPOKE_ROLE,
        "--RoleName",
        SPOKE_ROLE,
    ]


def test_the_stack_command_applies_the_template_with_its_parameters(town: Town) -> None:
    """All of them, by number; the template is a file of the project."""
    said = town.said[NEW]
    words = shlex.split(said["stack"].replace('"$(cat deploy/spoke.yaml)"', "TEMPLATE"))

    assert words[:3] == ["aliyun", "ros", "CreateStack"]
    given = dict(zip(words[3::2], words[4::2], strict=True))
    numbers = [name.split(".")[1] for name in given if name.endswith("Key")]
    told = {
        given[f"--Parameters.{number}.ParameterKey"]: given[f"--Parameters.{number}.ParameterValue"]
        for number in numbers
    }
    assert told == said["parameters"]
    assert given["--TemplateBody"] == "TEMPLATE"
    assert (ROOT / said["template"]).exists()


def test_every_account_gets_an_external_id_of_its_own(town: Town) -> None:
    """Fresh, and it ends with the account; with a shared prefix only the account tells them apart."""
    ids = [next(iter(one["entry"].values()))["external_id"] for one in town.said.values()]
    assert [one.rpartition(":")[2] for one in ids] == [NEW, WATCHED]
    assert len({one.rpartition(":")[0] for one in ids}) == 2
    assert all(len(one.split(":")[1]) == 24 for one in ids)


def test_the_accounts_of_a_stack_group_may_share_a_prefix(tmp_path: Path) -> None:
    """Then one set of parameters fits all of them."""
    shared = [printed(uid, tmp_path, "--external-id-prefix", "ecr-grants:prod") for uid in (NEW, WATCHED)]
    assert shared[0]["parameters"] == shared[1]["parameters"]
    assert shared[0]["entry"][NEW]["external_id"] == f"ecr-grants:prod:{NEW}"


def test_a_template_with_an_address_is_in_the_consoles_link(tmp_path: Path) -> None:
    """Escaped; without one the link leads to where a stack is created."""
    page = "https://ros.console.aliyun.com/cn-hangzhou/stacks/create"
    assert printed(NEW, tmp_path)["console"] == page
    linked = printed(NEW, tmp_path, "--template-url", "https://example.com/a b.yaml")["console"]
    assert linked == f"{page}?templateUrl=https%3A%2F%2Fexample.com%2Fa%20b.yaml"


def test_the_text_says_what_programs_are_told(tmp_path: Path) -> None:
    """Who applies what, in order; the entry can be pasted under `accounts:`."""
    done = typed("onboard", "--account", NEW, "--hub", HUB, "--external-id-prefix", "ecr-grants:prod", "--name", "new")
    said = printed(NEW, tmp_path, "--external-id-prefix", "ecr-grants:prod", "--name", "new")

    assert done.returncode == 0
    for text in (
        said["stack"],
        *said["commands"],
        said["console"],
        *(f"{k}={v}" for k, v in said["parameters"].items()),
    ):
        assert f"{text}\n" in done.stdout
    entry = done.stdout.partition("a group of people.yaml:\n")[2].partition("4. ")[0]
    assert yaml.safe_load(f"accounts:\n{entry}")["accounts"] == said["entry"]


def test_the_hub_is_told_of_all_accounts_that_are_listed(tmp_path: Path) -> None:
    """Account A is not among them: it has routers. Of more than a hundred none is named."""
    done = typed("onboard", "--account", NEW, "--hub", HUB, "--json", "--config", "examples/config")
    assert json.loads(done.stdout)["hub_parameters"] == {"SpokeAccounts": f"2000000000000002,{NEW}"}
    alone = typed("onboard", "--account", NEW, "--hub", HUB, "--json", "--config", str(tmp_path / "none"))
    assert json.loads(alone.stdout)["hub_parameters"] == {"SpokeAccounts": NEW}
    assert f"there is no {tmp_path / 'none' / 'accounts.yaml'}: SpokeAccounts names" in alone.stderr
    example = yaml.safe_load(Path(ROOT / "examples/config/accounts.yaml").read_text("utf-8"))
    many = {
        "version": 1,
        "accounts": {f"{number:016d}": example["accounts"]["2000000000000002"] for number in range(100)},
    }
    (tmp_path / "accounts.yaml").write_text(json.dumps(many), "utf-8")  # JSON is YAML, without anchors
    done = typed("onboard", "--account", NEW, "--hub", HUB, "--json", "--config", str(tmp_path))
    assert json.loads(done.stdout)["hub_parameters"] == {"SpokeAccounts": "*"}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--account", "4", "--hub", HUB], 2, "--account must be an account uid: 15 to 20 digits (found '4')"),
        (["--account", NEW, "--hub", "A"], 2, "--hub must be an account uid"),
        (["--account", NEW], 2, "--hub is missing"),
        (["--account", NEW, "--hub", HUB, "--region", "moon"], 2, "--region (REGION) must be a region"),
        (["--account", NEW, "--hub", HUB, "--name", ""], 2, "not fit for an entry of accounts.yaml: name"),
        (
            ["--account", NEW, "--hub", HUB, "--external-id-prefix", "a b"],
            2,
            "not fit for an entry of accounts.yaml: external_id",
        ),
        (["--account", NEW, "--check"], 2, "--endpoint (FC_ENDPOINT) is missing"),
        (["--account", NEW, "--check", "--directly"], 2, "FC_REGION is missing"),
        (["--account", "2000000000000002", "--hub", HUB], 1, "is listed in examples/config/accounts.yaml already"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(words: list[str], code: int, said: str) -> None:
    """And no external id is in it."""
    done = typed("onboard", *words, "--config", "examples/config")
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert "ecr-grants:demo" not in done.stderr


# -- what the check says -----------------------------------------------------------------------------------------------


def test_a_role_with_another_external_id_is_wrong(town: Town) -> None:
    """It does not let us in; nothing else can be said."""
    code, found = town.check(town.spokes["misnamed"].uid)

    assert code == 1
    assert [one["verdict"] for one in found["findings"]] == ["wrong", "unknown"]
    assert "the role may not be assumed" in found["findings"][0]["text"]


def test_a_role_that_asks_for_no_external_id_is_wrong(town: Town) -> None:
    """It lets in whoever gets one of our functions to ask."""
    code, found = town.check(town.spokes["careless"].uid)

    assert code == 1
    assert verdicts(found)["external id"][0] == "wrong"
    assert verdicts(found)["role"][0] == "ok"


def test_a_read_that_is_missing_is_named(town: Town) -> None:
    """With the action and the account."""
    spoke = town.spokes["blind"]
    code, found = town.check(spoke.uid)

    assert code == 1
    verdict, text = verdicts(found)[f"vpc:DescribeVpcs in {REGION}"]
    assert verdict == "wrong"
    assert f"permission vpc:DescribeVpcs is missing in account {spoke.uid}" in text
    assert found["wrong"] == 1


def test_what_reconcile_never_does_is_unknown_with_why(town: Town) -> None:
    """It writes nothing, so it proves no write; nor is anything called that it does not call otherwise."""
    seen = verdicts(town.check(NEW)[1])

    assert all(seen[action][0] == "unknown" and "may only read" in seen[action][1] for action in WRITES)
    assert "never calls" in seen[f"vpc:DescribeVpcAttribute in {REGION}"][1]
    made = [entry for entry in town.cloud.journal(account=NEW) if entry["operation"].startswith(("Grant", "Revoke"))]
    assert all(entry["caller"]["function"] == GRANT_FUNCTION for entry in made)


def test_an_account_that_is_not_listed_is_refused(town: Town) -> None:
    """What is not listed is not entered, whoever asks."""
    code, found = town.check("9000000000000009")
    assert code == 1
    assert "is not listed" in found["error"]


def test_who_may_not_run_reconcile_is_told_so(town: Town) -> None:
    """The requester hands approvals in, and looks at nothing."""
    code, found = town.check(NEW, key=REQUESTER)
    assert code == 1
    assert "may not invoke ecr-grants-reconcile" in found["error"]


def test_the_text_has_a_line_for_each_finding(town: Town) -> None:
    """And a count of the verdicts."""
    keys = {"ALIBABA_CLOUD_ACCESS_KEY_ID": OPERATOR.id, "ALIBABA_CLOUD_ACCESS_KEY_SECRET": OPERATOR.secret}
    done = typed("onboard", "--account", NEW, "--check", FC_ENDPOINT=town.cloud.url, **keys)
    *lines, last = done.stdout.splitlines()
    ok, unknown = (sum(line.split()[0] == verdict for line in lines) for verdict in ("ok", "unknown"))
    assert ok + unknown == len(lines)
    assert last == f"{ok} ok, 0 wrong, {unknown} unknown"


# -- with the function's own keys --------------------------------------------------------------------------------------


@contextlib.contextmanager
def switched(cloud: Deployment, **switches: str) -> Iterator[None]:
    """Undocumented behaviour, turned for a while."""
    before = {one["name"]: one["value"] for one in cloud.admin.call("GET", "switches")["switches"]}
    cloud.admin.switch(**switches)
    try:
        yield
    finally:
        cloud.admin.switch(**{name: before[name] for name in switches})


@pytest.mark.parametrize("answer", ["success", "error"])
def test_a_dry_run_proves_both_writes_and_grants_nothing(town: Town, answer: str) -> None:
    """Whatever a dry run that passed answers; on an instance that is not granted, which it is not afterwards either."""
    with switched(town.cloud, dry_run_passed=answer):
        code, seen = town.directly(NEW, town.functions_key())

    assert code == 0, seen
    assert [seen[action][0] for action in WRITES] == ["ok", "ok"]
    assert all(
        f"vpc:{name} in {REGION}" in seen
        for name in ("DescribeVpcAttribute", "DescribeGrantRulesToEcr", "DescribeBgpGroups")
    )
    assert {verdict for verdict, _ in seen.values()} == {"ok"}
    assert not [entry for entry in town.cloud.journal(account=NEW) if entry["params"].get("DryRun") and entry["effect"]]


def test_a_write_that_is_missing_is_found_by_a_dry_run(town: Town) -> None:
    """Both are named."""
    code, seen = town.directly(town.spokes["powerless"].uid, town.functions_key())
    assert code == 1
    assert {what for what, (verdict, _) in seen.items() if verdict == "wrong"} == set(WRITES)


def test_a_dry_run_after_which_a_grant_is_there_is_wrong(town: Town) -> None:
    """Whoever made it: here it was there before, and a look that was too old did not show it."""
    spoke = town.spokes["granted"]
    instance = next(spoke.vpcs)
    request = ecr_models.GrantInstanceToExpressConnectRouterRequest(
        ecr_id=HUB_ECR,
        ecr_owner_ali_uid=int(HUB),
        instance_id=instance,
        instance_type="VPC",
        instance_region_id=REGION,
    )
    town.cloud.ecr(spoke.admin).grant_instance_to_express_connect_router(request)
    lag = {"kind": "lag", "service": "vpc", "operation": "DescribeVpcGrantRulesToEcr", "account": spoke.uid}
    town.cloud.admin.plan(**lag, after=1, times=1, seconds=3600)  # the first one only looks whether it may

    code, seen = town.directly(spoke.uid, town.functions_key())

    assert code == 1
    assert {what for what, (verdict, _) in seen.items() if verdict == "wrong"} == set(WRITES)
    assert f"{instance} is granted to {HUB_ECR} after a dry run" in seen[WRITES[0]][1]


def test_without_an_instance_nothing_can_be_tried(town: Town) -> None:
    """Unknown, and why."""
    code, seen = town.directly(town.spokes["bare"].uid, town.functions_key())
    assert code == 0
    unknown = {what: text for what, (verdict, text) in seen.items() if verdict == "unknown"}
    assert set(unknown) == {
        *WRITES,
        *(
            f"vpc:{name} in {REGION}"
            for name in ("DescribeVpcAttribute", "DescribeGrantRulesToEcr", "DescribeBgpGroups")
        ),
    }
    assert all("there is no V" in text for text in unknown.values())


def test_keys_that_the_role_does_not_trust_prove_nothing(town: Town) -> None:
    """An operator is no function: that the role refuses is as it should be."""
    code, seen = town.directly(NEW, OPERATOR)
    assert code == 1
    assert seen["role"][0] == "unknown"
    assert "whose keys these are" in seen["role"][1]
