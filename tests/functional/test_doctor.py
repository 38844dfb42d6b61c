"""`ecr-grants doctor` against a deployment: all is well where all is well, and one fault at a time is found where it is.

Each fault is planted for real: on the local cloud, in a function that is deployed anew, in a file, in the environment.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import pytest

from examples.keys import key as example_key
from shared.rules.health import Check
from tests.configured import public
from tests.functional.clinic import DEPLOYER, LOOKS, ODD, OPERATOR, Clinic, Findings, by_name, clinic, shipped, without
from tests.functional.launch import run
from tests.functional.world import HUB, SPOKE, Key

CLOUD = frozenset(list(Check)[list(Check).index(Check.QUEUES) :])
"""What is asked of the cloud, and needs a key that works."""
ENVIRONMENTS = (Check.SECRETS, Check.FUNCTIONS, Check.ENVIRONMENT, Check.LOG)
"""What only who may read a function's environment is told."""
FUNCTIONS = ("ecr-grants-associate", "ecr-grants-grant", "ecr-grants-reconcile")


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clinic]:
    """A healthy deployment of its own."""
    with clinic(tmp_path_factory.mktemp("doctor")) as made:
        yield made


@pytest.fixture(scope="module")
def healthy(deployment: Clinic) -> Findings:
    """What is found where nothing is wrong."""
    return deployment.findings()


# -- where all is well -------------------------------------------------------------------------------------------------


def test_a_healthy_deployment_is_all_ok_to_its_deployer(deployment: Clinic) -> None:
    """But for how long the log is kept, which no tool of ours can read; each check has something to say."""
    code, told = deployment.look()
    assert code == 0
    others = [one for one in told["findings"] if one["verdict"] != "ok"]
    assert [(one["check"], one["about"], one["verdict"]) for one in others] == [("log", "retention", "unknown")]
    assert {one["check"] for one in told["findings"]} == {check.value for check in Check}
    assert told["counts"] == {"ok": len(told["findings"]) - 1, "wrong": 0, "unknown": 1}


def test_an_operator_is_told_all_but_what_shows_the_environment(deployment: Clinic) -> None:
    """With the shipped policy and no other; unknown says why and what to do, and is no failure."""
    code, told = deployment.look(OPERATOR)
    assert code == 0
    others = {(one["check"], one["about"]) for one in told["findings"] if one["verdict"] != "ok"}
    assert others == {(check.value, name) for check in ENVIRONMENTS for name in FUNCTIONS} | {("log", "retention")}
    for one in told["findings"]:
        if one["verdict"] == "unknown":
            assert one["do"]
    assert "fc:GetFunction" in by_name(told)["environment", "ecr-grants-grant"]["text"]


def test_it_is_told_in_lines_that_are_whole(deployment: Clinic) -> None:
    """To people: a word for the verdict, what it is about, what to do; never cut, however narrow the terminal is."""
    given = deployment.variables(OPERATOR, COLUMNS="20", MODE="sometimes")
    done = run("cli", "doctor", "--template", str(deployment.template), **given)
    assert (done.returncode, done.stderr) == (1, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "wrong    settings      MODE: is not usable (" + lines[0].partition(" (")[2]
    assert lines[1] == "                       do: set MODE; docs/operating.md, Settings, says what it may be"
    assert re.fullmatch(r"\d+ ok, 1 wrong, \d+ unknown", lines[-1])
    assert ", ".join(FUNCTIONS) in done.stdout


def test_nothing_is_changed_and_calls_do_not_grow_with_what_there_is(deployment: Clinic) -> None:
    """Reads, one question to reconcile, and one AssumeRole for each account: some forty calls and no write."""
    before = deployment.cloud.admin.journal()[-1]["number"]
    deployment.look()
    entries = deployment.cloud.admin.journal(before)
    mine = [one for one in entries if one["caller"].get("name") in ("deploys", "ecr-grants-reconcile")]
    operations = [one["operation"] for one in mine if "trigger" not in one["params"]]
    accounts = operations.count("AssumeRole")
    assert accounts == 2
    assert len(operations) - accounts <= 50
    reading = ("Get", "List", "BatchPeek")
    assert {one for one in operations if not one.startswith(reading)} == {"InvokeFunction", "AssumeRole"}


# -- one fault at a time -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fault:
    """Something that is planted, and where it has to be found.

    ``about``: what the finding is about; ``words``: what it says; ``follows``: checks that cannot say the same as before.
    """

    id: str
    check: Check
    about: str
    words: tuple[str, ...]
    plant: Callable[[Clinic], AbstractContextManager[object]] = lambda _: nullcontext()
    variables: Mapping[str, str] = field(default_factory=dict)
    follows: frozenset[Check] = frozenset()
    key: Key = DEPLOYER


def topic(name: str, about: str, *words: str, gone: bool = False) -> Fault:
    """The completions' topic is another one, which has one fault."""
    variables, follows = {"COMPLETIONS_TOPIC": name}, frozenset({Check.TOPIC})
    return Fault(name, Check.SUBSCRIPTIONS, about, words, variables=variables, follows=follows)


def function(name: str, check: Check, about: str, words: tuple[str, ...], *path: str | int, value: Any = None) -> Fault:
    """A function is deployed otherwise. ``about`` begins with the function; its resource is named after it."""
    resource = about.partition("/")[0].removeprefix("ecr-grants-")
    return Fault(name, check, about, words, lambda at: at.deployed(resource, *path, value=value))


def configured(name: str, check: Check, about: str, words: tuple[str, ...], **changes: Any) -> Fault:
    """Another version of the configuration holds. ``changes``: of account B's entry, or ``policy``."""

    def plant(at: Clinic) -> AbstractContextManager[object]:
        if "policy" in changes:
            return at.configured(**changes)
        listed = at.cloud.stage.listed
        return at.configured(accounts={**listed, SPOKE: {**listed[SPOKE], **changes}})

    return Fault(name, check, about, words, plant)


@contextmanager
def waiting(at: Clinic) -> Iterator[None]:
    """A message that nobody could handle."""
    at.cloud.send("nobody can handle this", queue="ecr-approvals-dead")
    yield
    at.cloud.take("ecr-approvals-dead")


CONFIG = ("triggers", 0, "triggerConfig")
SOURCE = (*CONFIG, "eventSourceConfig", "eventSourceParameters", "sourceMNSParameters")
GRANT, ASSOCIATE, RECONCILE = "ecr-grants-grant", "ecr-grants-associate", "ecr-grants-reconcile"
APPROVALS = f"{GRANT}/approvals"
OTHER_KEYS = f"others-1:{public(example_key('others-1'))}"
EXTRA = {
    "triggerName": "back-door",
    "triggerType": "timer",
    "triggerConfig": {"cronExpression": "@every 24h", "enable": False},
}

QUEUES = [
    Fault(
        "a queue is missing",
        Check.QUEUES,
        "ecr-associations-dead",
        ("no such queue",),
        lambda at: at.without_queue("ecr-associations-dead"),
        follows=frozenset({Check.DEAD_LETTERS}),
    ),
    Fault(
        "a visibility timeout is wrong",
        Check.QUEUES,
        "ecr-approvals",
        ("VisibilityTimeout is 30, should be 360",),
        lambda at: at.queue_with("ecr-approvals", 30),
    ),
    Fault(
        "a queue has no dead-letter policy",
        Check.QUEUES,
        "dead letters of no-policy",
        ("is lost",),
        variables={"APPROVALS_QUEUE": "no-policy"},
        follows=frozenset({Check.DEAD_LETTERS}),
    ),
    Fault("dead letters wait", Check.DEAD_LETTERS, "ecr-approvals-dead", ("1 message waits",), waiting),
    topic("other-filter", "associate-granted", "FilterTag is rejected, should be granted"),
    topic("other-format", "associate-granted", "NotifyContentFormat is JSON, should be SIMPLIFIED"),
    topic("other-strategy", "associate-unwanted", "NotifyStrategy is BACKOFF_RETRY"),
    topic("other-queue", "grant-dissociated", "queues/ecr-associations, should be", "queues/ecr-grants-wakes"),
    topic("no-dead-letter", "dead letters of grant-dissociated", "is lost"),
    topic("no-subscription", "grant-dissociated", "no such subscription"),
    topic("one-too-many", "shortcut", "who may publish could approve"),
    Fault(
        "the topic is missing",
        Check.TOPIC,
        "no-topic",
        ("no such topic",),
        variables={"COMPLETIONS_TOPIC": "no-topic"},
        follows=frozenset({Check.SUBSCRIPTIONS}),
    ),
]
DEPLOYED = [
    function(
        "a trigger is disabled",
        Check.TRIGGERS,
        APPROVALS,
        ("triggerEnable is false, should be true: nothing is taken",),
        *CONFIG,
        "triggerEnable",
        value=False,
    ),
    function(
        "a trigger is on another queue",
        Check.TRIGGERS,
        APPROVALS,
        ("QueueName is ecr-answers, should be ecr-approvals",),
        *SOURCE,
        "QueueName",
        value="ecr-answers",
    ),
    function(
        "bodies are decoded on the way",
        Check.TRIGGERS,
        APPROVALS,
        ("IsBase64Decode is true, should be false",),
        *SOURCE,
        "IsBase64Decode",
        value=True,
    ),
    function(
        "errors are not tolerated",
        Check.TRIGGERS,
        APPROVALS,
        ("errorsTolerance is NONE, should be ALL", "stops all that come after it"),
        *CONFIG,
        "runOptions",
        "errorsTolerance",
        value="NONE",
    ),
    function(
        "a trigger has no dead-letter queue",
        Check.TRIGGERS,
        APPROVALS,
        ("deadLetterQueue.Arn is not set", "is lost"),
        *CONFIG,
        "runOptions",
        "deadLetterQueue",
    ),
    function("a trigger is missing", Check.TRIGGERS, f"{GRANT}/wakes", ("no such trigger",), "triggers", 1),
    function(
        "there is one trigger too many",
        Check.TRIGGERS,
        f"{ASSOCIATE}/back-door",
        ("another door",),
        "triggers",
        value=[*shipped()["resources"]["associate"]["props"]["triggers"], EXTRA],
    ),
    function(
        "the timer is off",
        Check.TRIGGERS,
        f"{RECONCILE}/tick",
        ("enable is false", "no end takes effect"),
        *CONFIG,
        "enable",
        value=False,
    ),
    function(
        "a function has no limit",
        Check.CONCURRENCY,
        GRANT,
        ("reservedConcurrency is not set, should be 1",),
        "concurrencyConfig",
    ),
    function(
        "ticks are tried again",
        Check.ASYNCHRONOUS,
        RECONCILE,
        ("maxAsyncRetryAttempts is 3, should be 0: ticks that fail pile up",),
        "asyncInvokeConfig",
        "maxAsyncRetryAttempts",
        value=3,
    ),
    function("asynchronous settings are missing", Check.ASYNCHRONOUS, RECONCILE, ("is not set",), "asyncInvokeConfig"),
    function(
        "a handler is another",
        Check.FUNCTIONS,
        ASSOCIATE,
        ("handler is ",),
        "handler",
        value=shipped()["resources"]["grant"]["props"]["handler"],
    ),
    function(
        "a function's memory is another", Check.FUNCTIONS, ASSOCIATE, ("memorySize is 1024",), "memorySize", value=1024
    ),
    function("a function has less time", Check.FUNCTIONS, ASSOCIATE, ("timeout is 60",), "timeout", value=60),
    function(
        "a runtime is another", Check.FUNCTIONS, ASSOCIATE, ("runtime is python3.10",), "runtime", value="python3.10"
    ),
    function(
        "a role is another's",
        Check.FUNCTIONS,
        ASSOCIATE,
        ("role is ", "should be "),
        "role",
        value=f"acs:ram::{HUB}:role/ecr-grants-reconcile",
    ),
    function(
        "a variable is missing",
        Check.ENVIRONMENT,
        ASSOCIATE,
        ("lacks SETTLE_SECONDS",),
        "environmentVariables",
        "SETTLE_SECONDS",
    ),
    function(
        "a variable is misspelt",
        Check.ENVIRONMENT,
        ASSOCIATE,
        ("has SETTEL_SECONDS",),
        "environmentVariables",
        "SETTEL_SECONDS",
        value="60",
    ),
    function(
        "a function has a secret that it does not need",
        Check.SECRETS,
        ASSOCIATE,
        ("HEAD_KEY",),
        "environmentVariables",
        "HEAD_KEY",
        value="example-key-that-nobody-may-see",
    ),
    Fault(
        "the functions trust other keys",
        Check.CONFIGURATION,
        "deployed",
        ("the functions do not believe it", "tests-1 is not one of the keys that may sign: others-1"),
        lambda at: at.deployed("reconcile", "environmentVariables", "CONFIG_KEYS", value=OTHER_KEYS),
        follows=frozenset({Check.ROLES}),
    ),
    function("no log is kept", Check.LOG, ASSOCIATE, ("kept nowhere",), "logConfig"),
]
CONFIGURED = [
    configured(
        "an external id is wrong",
        Check.ROLES,
        SPOKE,
        ("may not be assumed", SPOKE),
        external_id="ecr-grants:of-somebody-else",
    ),
    configured("a role is not there", Check.ROLES, SPOKE, (SPOKE,), role="ecr-grants-nobody"),
    configured(
        "a policy has a fault",
        Check.CONFIGURATION,
        "ledger",
        ("the policy of version N answers nothing: line 1, column 1",),
        policy="forbid (principal, action, resource);",
    ),
    Fault(
        "the keys here are others",
        Check.CONFIGURATION,
        "ledger",
        ("tests-1 is not one of the keys that may sign: others-1", "nothing is granted"),
        variables={"CONFIG_KEYS": OTHER_KEYS},
    ),
    Fault(
        "more must sign than can",
        Check.CONFIGURATION,
        "CONFIG_QUORUM",
        ("wants 2 signatures, and CONFIG_KEYS names 1 keys",),
        variables={"CONFIG_QUORUM": "2"},
    ),
    Fault(
        "there are no keys",
        Check.SETTINGS,
        "CONFIG_KEYS",
        ("is missing",),
        variables={"CONFIG_KEYS": ""},
        follows=frozenset({Check.CONFIGURATION}),
    ),
]
VARIABLES = [
    Fault(
        "a setting is misspelt",
        Check.SETTINGS,
        "CHANGE_WINDOWS",
        ("CHANGE_WINDOW is meant",),
        variables={"CHANGE_WINDOWS": "22:00-04:00"},
    ),
    Fault("a setting has no such value", Check.SETTINGS, "MODE", ("'full'",), variables={"MODE": "sometimes"}),
    Fault("a number is too small", Check.SETTINGS, "SETTLE_SECONDS", ("greater",), variables={"SETTLE_SECONDS": "-1"}),
    Fault(
        "an address is in another region",
        Check.SETTINGS,
        "VPC_ENDPOINT",
        ("names region cn-shanghai", "cn-hangzhou"),
        variables={"VPC_ENDPOINT": "https://vpc.cn-shanghai.aliyuncs.com"},
    ),
    Fault(
        "the region is wrong",
        Check.TRIGGERS,
        APPROVALS,
        ("RegionId is cn-hangzhou, should be cn-shanghai",),
        variables={"REGION": "cn-shanghai"},
        follows=frozenset({Check.SUBSCRIPTIONS, Check.SETTINGS}),
    ),
    Fault(
        "the signing key is none",
        Check.SECRETS,
        "HEAD_KEY",
        ("must be the Base64 of a 32-byte",),
        variables={"HEAD_KEY": "bm8ga2V5"},
    ),
    Fault(
        "the ledger has no address",
        Check.LEDGER,
        "ledger",
        ("not a database address",),
        variables={"LEDGER_URL": "the one in the basement"},
        follows=frozenset({Check.TLS, Check.SCHEMA, Check.CHAIN, Check.CONFIGURATION}),
    ),
    Fault(
        "the access key is unknown",
        Check.CREDENTIALS,
        "access key",
        ("the access key",),
        key=Key("LTAI-example-unknown", "example-secret-of-nobody-known"),
        follows=CLOUD | {Check.CLOCK, Check.SECRETS, Check.CONFIGURATION},
    ),
    Fault(
        "there is no access key",
        Check.CREDENTIALS,
        "access key",
        ("none in the environment",),
        variables={"ALIBABA_CLOUD_ACCESS_KEY_ID": ""},
        follows=CLOUD | {Check.CLOCK, Check.SECRETS, Check.CONFIGURATION},
    ),
]


@pytest.mark.parametrize("fault", [*QUEUES, *CONFIGURED, *VARIABLES, *DEPLOYED], ids=lambda fault: fault.id)
def test_a_fault_is_found_where_it_is(deployment: Clinic, healthy: Findings, fault: Fault) -> None:
    """By its check, with a sentence and what to do, and exit code 1. Nothing else is said otherwise than without it."""
    with fault.plant(deployment):
        code, told = deployment.look(fault.key, **fault.variables)
    assert code == 1
    assert "nobody-may-see" not in json.dumps(told)
    found = by_name(told)
    one = found[fault.check.value, fault.about]
    assert (one["verdict"], [word for word in fault.words if word not in one["text"]]) == ("wrong", [])
    assert one["do"]
    touched = {fault.check, *fault.follows}
    others = {
        name: (before, after)
        for name in healthy.keys() | found.keys()
        if (before := healthy.get(name)) != (after := found.get(name)) and Check(name[0]) not in touched
    }
    assert others == {}
    wrong = {Check(check) for (check, _), each in found.items() if each["verdict"] == "wrong"}
    assert wrong - {fault.check} <= fault.follows


def test_every_fault_was_taken_back(deployment: Clinic, healthy: Findings) -> None:
    """So that each was the only one."""
    deployment.mend()
    assert deployment.findings() == healthy


def test_every_odd_topic_is_looked_at() -> None:
    """None of them is left over from a test that is gone."""
    assert {fault.variables.get("COMPLETIONS_TOPIC") for fault in QUEUES} >= set(ODD)


# -- rights ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("action", "check"), LOOKS.items(), ids=str)
def test_without_a_right_its_check_says_so(deployment: Clinic, healthy: Findings, action: str, check: str) -> None:
    """Unknown, with the right by name and what to do, and nothing else is said otherwise. So none of them is one too many."""
    found = deployment.findings(without(action))
    touched = {name for name in found if found[name] != healthy.get(name)} - {("credentials", "access key")}
    touched = {name for name in touched if Check(name[0]) not in ENVIRONMENTS}
    assert {name[0] for name in touched} - {"configuration"} == {check}
    for name in touched:
        assert (found[name]["verdict"], action in found[name]["text"]) == ("unknown", True), found[name]
        assert found[name]["do"]
