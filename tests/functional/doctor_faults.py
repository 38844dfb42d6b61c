"""Faults of a deployment that `ecr-grants doctor` has to find, one at a time, and where it finds them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from deploy import surroundings
from examples.keys import key as example_key
from shared.rules.health import Check
from tests.configured import public
from tests.functional.clinic import DEPLOYER, Clinic, shipped
from tests.functional.world import HUB, SPOKE, Key

CLOUD = frozenset(list(Check)[list(Check).index(Check.QUEUES) :])
"""What is asked of the cloud, and needs a key that works."""


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
GRANT, ASSOCIATE, RECONCILE = surroundings.GRANT, surroundings.ASSOCIATE, surroundings.RECONCILE
PREFLIGHT, DESK = surroundings.PREFLIGHT, surroundings.DESK
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
    function(
        "the desk's keys are elsewhere too",
        Check.SECRETS,
        ASSOCIATE,
        ("DESK_KEYS",),
        "environmentVariables",
        "DESK_KEYS",
        value="example-key-that-nobody-may-see",
    ),
    function(
        "preflight is told of something else",
        Check.TRIGGERS,
        f"{PREFLIGHT}/asked",
        ("QueueName is ecr-answers, should be ecr-asked",),
        *SOURCE,
        "QueueName",
        value="ecr-answers",
    ),
    function(
        "the desk takes fewer at once",
        Check.FUNCTIONS,
        DESK,
        ("instanceConcurrency is 1",),
        "instanceConcurrency",
        value=1,
    ),
    function(
        "the desk is started otherwise",
        Check.FUNCTIONS,
        DESK,
        ("customRuntimeConfig.healthCheckConfig",),
        "customRuntimeConfig",
        "healthCheckConfig",
    ),
    function(
        "the desk may have more instances than connections",
        Check.CONCURRENCY,
        DESK,
        ("reservedConcurrency is 9, should be 2",),
        "concurrencyConfig",
        "reservedConcurrency",
        value=9,
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
    Fault(
        "the desk's key is none",
        Check.SETTINGS,
        "desk",
        ("DESK_KEYS is not usable", "the desk cannot start"),
        variables={"DESK_KEYS": "bm8ga2V5"},
    ),
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
FAULTS = [*QUEUES, *CONFIGURED, *VARIABLES, *DEPLOYED]
