"""The surroundings are one: in the templates, in the local cloud's world, in the settings and in ``s.yaml``; and their rights."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from deploy import surroundings, templates
from deploy.shapes import LONGEST_POLICY, MANY, Blank, Policy, Statement
from localcloud.ros.stacks import world_from
from localcloud.worldfile import check_world, read_world
from shared.settings import Settings
from tests.functional.test_operator_rights import USED as OPERATORS
from tests.functional.test_own_rights import OWN as FUNCTIONS
from tests.functional.test_permissions import HUB_ACTIONS, SPOKE_ACTIONS

ROOT = Path(__file__).parents[2]
ROLES = (
    *surroundings.FUNCTION_ROLES,
    surroundings.ENTERED_HUB,
    surroundings.ENTERED_SPOKE,
    surroundings.ENTERED_SPOKE_OBSERVED,
)
POLICIES = (
    *(policy for role in ROLES for policy in role.policies),
    *(surroundings.NETWORK, surroundings.SECRETS, *surroundings.RIGHTS),
)
A_HUNDRED = {
    Blank.HUB: ["1000000000000001"],
    Blank.ACCOUNT: ["2000000000000002"],
    Blank.SPOKE: [f"{number:016d}" for number in range(100)],
    Blank.ROUTER: [f"ecr-{number:018d}" for number in range(50)],
}


def statements() -> Iterator[tuple[Policy, Statement]]:
    """Every statement of every policy that ships."""
    return ((policy, statement) for policy in POLICIES for statement in policy.statements)


# -- one source --------------------------------------------------------------------------------------------------------


def test_the_templates_are_current() -> None:
    """Whoever changes the surroundings writes them again; `make check` says the same."""
    assert {
        name: (ROOT / "deploy" / name).read_text("utf-8") for name in templates.templates()
    } == templates.templates()


def test_a_template_that_is_not_current_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--check writes nothing; without it the file is written."""
    there = ["--folder", str(tmp_path)]
    assert templates.main([*there, "--check"]) == 1
    assert str(tmp_path / "spoke.yaml") in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    assert templates.main(there) == 0
    assert templates.main([*there, "--check"]) == 0


def test_the_example_world_is_what_the_templates_make() -> None:
    """Applied by the local cloud's own reading, every role, policy, queue, subscription comes out as the world has it."""
    world = ROOT / "examples" / "world.yaml"
    assert check_world(world_from(ROOT / "deploy", None, world).world) == read_world(world)


@pytest.mark.parametrize(
    ("parameter", "policy"),
    [("PrivateNetwork", surroundings.NETWORK), ("SecretsManager", surroundings.SECRETS)],
    ids=["in a VPC", "with named secrets"],
)
def test_a_right_that_not_everybody_needs_is_asked_for(tmp_path: Path, parameter: str, policy: Policy) -> None:
    """All functions' roles have it then, and account A's role never."""
    stacks = yaml.safe_load((ROOT / "deploy" / "example-stacks.yaml").read_text("utf-8"))
    uid, given = stacks["stacks"][0]["account"], stacks["stacks"][0]["parameters"]
    for value, holders in (("true", set(surroundings.FUNCTIONS)), ("false", set())):
        given[parameter] = value
        (tmp_path / "stacks.yaml").write_text(yaml.safe_dump(stacks), "utf-8")
        roles = world_from(ROOT / "deploy", tmp_path / "stacks.yaml", None).world["accounts"][uid]["roles"]
        assert {name for name, role in roles.items() if policy.name in role["policies"]} == holders


def test_the_example_world_has_no_role_that_nobody_ships() -> None:
    """Nor a queue, but for the answers that the demo waits for."""
    accounts = read_world(ROOT / "examples" / "world.yaml").accounts
    assert {role for account in accounts.values() for role in account.roles} == {role.name for role in ROLES}
    queues = {queue for account in accounts.values() for queue in account.queues}
    assert queues - {queue.name for queue in surroundings.QUEUES} == {"ecr-answers", "ecr-answers-dead"}


def test_the_settings_name_the_same_queues_and_topic() -> None:
    """What a setting is when nobody sets it is what the templates make."""
    named = {str(field.validation_alias): field.default for field in Settings.model_fields.values()}
    for one in (*surroundings.WORK_QUEUES, surroundings.TOPIC):
        assert named[one.setting] == one.name


def test_the_functions_are_deployed_with_these_names_and_queues() -> None:
    """Each function of s.yaml runs as the role of its name; triggers take from the work queues, and leave dead letters there."""
    text = (ROOT / "s.yaml").read_text("utf-8")
    assert tuple(re.findall(r"functionName: (\S+)", text)) == surroundings.FUNCTIONS
    assert tuple(re.findall(r"role: acs:ram::\S+:role/(\S+)", text)) == surroundings.FUNCTIONS
    assert re.findall(r"QueueName: ([\w-]+)", text) == [one.name for one in surroundings.WORK_QUEUES]
    assert re.findall(r":/queues/([\w-]+)", text) == [one.name for one in surroundings.DEAD_LETTER_QUEUES]


def test_a_message_stays_hidden_for_longer_than_a_call_may_take() -> None:
    """Else it would come again while it is being worked on."""
    timeouts = [
        int(found) for found in re.findall(r"^ +timeout: (\d+) ", (ROOT / "s.yaml").read_text("utf-8"), re.MULTILINE)
    ]
    assert timeouts
    assert all(queue.visibility > max(timeouts) for queue in surroundings.WORK_QUEUES)


# -- rights ------------------------------------------------------------------------------------------------------------

ARNS = {
    "mns": r"acs:mns:\*:{uid}:/(queues|topics)/[a-z-]+(/messages|/subscriptions(/\*)?)?",
    "ram": r"acs:ram::{uid}:role/[a-z-]+",
    "log": r"acs:log:\*:{uid}:project/[a-z0-9-]+/logstore/[a-z]+",
    "fc": r"acs:fc:\*:{uid}:functions/[a-z-]+(/triggers/\*|/\*)?",
    "vpc": r"acs:vpc:\*:{uid}:(vpc|virtualborderrouter)/\*",
    "expressconnect": r"acs:expressconnect:\*:{uid}:virtualborderrouter/\*",
    "expressconnectrouter": r"acs:expressconnectrouter:\*:\*:expressconnectrouter/ecr-[a-z0-9]+",
    "kms": r"acs:kms:\*:{uid}:secret/ecr-grants-\*",
    "eventbridge": r"acs:eventbridge:\*:{uid}:eventstreaming/\*",
}
"""How each service spells what is allowed on: MNS with a slash before its path, RAM without a region."""


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: str(policy.name))
def test_every_resource_is_spelt_as_its_service_spells_it(policy: Policy) -> None:
    """A resource that is misspelt allows nothing, and nobody says so."""
    resources = [each for statement in policy.document(A_HUNDRED)["Statement"] for each in statement["Resource"]]
    for resource in resources:
        if resource == "*":
            continue
        pattern = ARNS[resource.split(":")[1]].replace("{uid}", "[0-9]{16}")
        assert re.fullmatch(pattern, resource), resource
    assert resources


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: str(policy.name))
def test_a_policy_has_room_for_a_hundred_accounts_and_fifty_routers(policy: Policy) -> None:
    """With them filled in it is no longer than RAM allows."""
    assert len(json.dumps(policy.document(A_HUNDRED), separators=(",", ":"))) <= LONGEST_POLICY


def test_an_action_that_no_test_sees_is_known_to_the_facts() -> None:
    """A misspelt one would allow nothing, and nobody would say so. The facts are kept with the design, beside this repository."""
    facts = ROOT.parent / "shared" / "reference"
    if not facts.is_dir():
        pytest.skip("the fact collections are not here")
    text = "".join(path.read_text("utf-8") for path in facts.glob("*.md"))
    # Lists there share a noun: Get/Start/PauseEventStreaming, Create/Delete/DescribeNetworkInterface(s), Create/Update/GetAlias.
    words = set(re.findall(r"[A-Z][A-Za-z]+", text.replace("(s)", "s"))) | set(re.findall(r"[A-Z][A-Za-z]+", text))
    unproven = {
        action.split(":")[1] for _, statement in statements() if statement.unproven for action in statement.actions
    }
    assert {name for name in unproven if not _is_known(name, words)} == set()


def _is_known(name: str, words: set[str]) -> bool:
    verb, noun = re.findall(r"^([A-Z][a-z]+)(.*)$", name)[0]
    return name in words or (verb in words and any(word.endswith(noun) for word in words))


def test_the_names_of_policies_are_an_accounts_own() -> None:
    """Policies of one account share a name space, whatever role they come with."""
    hub = [policy.name for role in (*surroundings.FUNCTION_ROLES, surroundings.ENTERED_HUB) for policy in role.policies]
    hub += [policy.name for policy in (surroundings.NETWORK, surroundings.SECRETS, *surroundings.RIGHTS)]
    assert len(set(hub)) == len(hub)


def test_everything_is_allowed_on_something_named() -> None:
    """A star for all resources stands only where the platform takes no other."""
    stars = {(policy.name, statement.actions[0]) for policy, statement in statements() if "*" in statement.resources}
    assert stars == {
        ("ecr-grants-network", "vpc:DescribeVSwitchAttributes"),
        ("ecr-grants-deployer", "ram:CreateServiceLinkedRole"),
        ("ecr-grants-hub", "expressconnectrouter:ListExpressConnectRouterSupportedRegion"),
    }
    assert not [action for policy in POLICIES for action in policy.actions if "*" in action]


def test_nobody_but_the_deployer_sees_an_environment() -> None:
    """It may hold the database's password and the key that signs heads."""
    showing = {"fc:GetFunction", "fc:ListFunctions", "fc:GetFunctionCode"}
    assert {policy.name for policy in POLICIES if showing & set(policy.actions)} == {"ecr-grants-deployer"}


def test_a_blank_for_a_list_stands_alone() -> None:
    """So that templates can write it as one expression."""
    for _, statement in statements():
        many = [resource for resource in statement.resources if any(f"{{{blank}}}" in resource for blank in MANY)]
        assert not many or many == list(statement.resources)


def test_every_right_is_taken_away_in_a_test_or_says_why_not() -> None:
    """Whoever adds one proves it, or writes down where the need for it comes from."""
    taken_away = {
        *((right.role, right.action) for right in FUNCTIONS),
        *((surroundings.HUB_ROLE, action) for action in HUB_ACTIONS),
        *((surroundings.SPOKE_ROLE, action) for action in SPOKE_ACTIONS),
        *((right.policy, right.action) for right in OPERATORS),
        (surroundings.REQUESTER.name, "mns:SendMessage"),  # test_a_requester_hands_in_and_does_nothing_else
    }
    holders = {policy.name: role.name for role in ROLES for policy in role.policies}
    for policy, statement in statements():
        if statement.unproven:
            continue
        for action in statement.actions:
            assert (holders.get(policy.name, policy.name), action) in taken_away
