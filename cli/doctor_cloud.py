"""The checks of `ecr-grants doctor` that ask the cloud: queues, topic, dead letters, functions, accounts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from cli.doctor_patient import Patient, Probe, seen
from cli.doctor_template import Wanted
from deploy import surroundings
from deploy.shapes import Queue, Subscription
from shared.cloud.dead_letters import DeadLetters
from shared.cloud.deployed import Deployed, FunctionSeen, TriggerSeen
from shared.cloud.messaging import BATCH, Messaging, SubscriptionSeen
from shared.errors import GrantError, NeedsSomebody, PermissionMissing, SettingsError
from shared.loop.gate import Standing
from shared.messages.check import EVERY_ACCOUNT, AccountCheck
from shared.rules.health import (
    Check,
    Difference,
    Finding,
    dead_letters_finding,
    differences,
    misspelt,
    named,
    ok,
    unknown,
    wrong,
)
from shared.setting_forms import private_key
from shared.settings import Settings, read_desk, read_signing, setting_names

_TEMPLATE = "deploy/hub.yaml has it: apply the template again"
_DEPLOY = "`make deploy-folder` and `make deploy`"
_FLAT = (
    "runtime",
    "handler",
    "memorySize",
    "cpu",
    "timeout",
    "diskSize",
    "role",
    "vpcConfig",
    "instanceLifecycleConfig",
    "customRuntimeConfig",
    "instanceConcurrency",
)
_IN_SERVICE = ("runtime", "handler", "memorySize", "timeout")
"""What of a function is compared with s.yaml, by the generation of Function Compute."""
_SECRET = ("HEAD_KEY", "LEDGER_URL", "DESK_CLIENT_SECRET", "DESK_KEYS")
_SWITCHES = {"triggerEnable", "enable"}
"""A deployment begins with its triggers off, and is not done before they are on."""
_MEANING = {
    "triggerEnable": "nothing is taken from its queue",
    "enable": "nothing is looked at by itself, no end takes effect",
    "runOptions.errorsTolerance": "one batch that cannot be handled stops all that come after it",
    "runOptions.deadLetterQueue.Arn": "what cannot be handled is lost",
    "eventSourceConfig.eventSourceParameters.sourceMNSParameters.QueueName": "messages come in by another door",
    "eventSourceConfig.eventSourceParameters.sourceMNSParameters.IsBase64Decode": "bodies arrive in another form",
    "maxAsyncRetryAttempts": "ticks that fail pile up",
    "reservedConcurrency": "more instances than one pace themselves, and all are throttled",
}
"""What comes of a value that is not as it should be, where one does not see it."""


def cloud_probes(patient: Patient) -> list[Probe]:
    """Everything that is asked of the cloud, each for itself."""
    names = _names(patient.settings)
    functions = (Check.FUNCTIONS, Check.ENVIRONMENT, Check.SECRETS, Check.LOG)
    limits = (Check.TRIGGERS, Check.CONCURRENCY, Check.ASYNCHRONOUS)
    compared: list[Probe] = []
    if isinstance(patient.wanted, str):
        nothing = partial(_nothing_to_compare_with, patient.wanted, functions + limits)
        compared.append(Probe("s.yaml", functions + limits, nothing))
    else:
        for one in patient.wanted:
            compared.append(Probe(one.name, functions, partial(_function, patient, one)))
            compared.append(Probe(one.name, limits, partial(_limits, patient, one)))
    return [
        Probe("queues", (Check.QUEUES,), partial(_queues, patient.messaging(), names)),
        Probe(names[surroundings.TOPIC.name], (Check.TOPIC, Check.SUBSCRIPTIONS), partial(_topic, patient, names)),
        Probe("queues", (Check.DEAD_LETTERS,), partial(_dead_letters, patient.messaging(), names)),
        Probe("dead letters", (Check.QUEUES, Check.SUBSCRIPTIONS), partial(_policies, patient, names)),
        *compared,
        Probe("secrets", (Check.SECRETS,), partial(_named_secrets, patient)),
        Probe("log", (Check.LOG,), partial(_retention, patient)),
        Probe("accounts", (Check.ROLES, Check.CONFIGURATION), partial(_roles, patient)),
    ]


def _nothing_to_compare_with(why: str, checks: Iterable[Check]) -> list[Finding]:
    remedy = "run it where the checkout is, or give --template"
    return [unknown(one, "s.yaml", f"nothing to compare with: {why}", remedy) for one in checks]


def _names(settings: Settings) -> dict[str, str]:
    """What each queue and the topic are called here, by what they are called as shipped."""
    called = {
        str(field.validation_alias): str(getattr(settings, name)) for name, field in type(settings).model_fields.items()
    }
    names = {one.name: called[one.setting] for one in (*surroundings.WORK_QUEUES, surroundings.TOPIC)}
    dead = {one.dead_letter.queue: f"{names[one.name]}-dead" for one in surroundings.WORK_QUEUES if one.dead_letter}
    return names | dead


# -- queues, topic, dead letters ---------------------------------------------------------------------------------------


def _queues(messaging: Messaging, names: Mapping[str, str]) -> list[Finding]:
    found: list[Finding] = []
    wanted: dict[str, Queue] = {}
    for one in surroundings.QUEUES:  # two may have one name here: what is asked of the first is asked
        wanted.setdefault(names[one.name], one)
    for name, queue in wanted.items():
        with seen(found, Check.QUEUES, name):
            there = messaging.queue(name)
            found.append(_queue(name, queue, None if there is None else there.attributes))
    return found


def _queue(name: str, queue: Queue, there: Mapping[str, int] | None) -> Finding:
    if there is None:
        return wrong(Check.QUEUES, name, "there is no such queue", f"create it: {_TEMPLATE}")
    others = list(differences(queue.attributes(), there))
    if others:
        return wrong(Check.QUEUES, name, _told(others), _TEMPLATE)
    return ok(Check.QUEUES, name, "is there, with its attributes")


def _topic(patient: Patient, names: Mapping[str, str]) -> list[Finding]:
    messaging, topic = patient.messaging(), names[surroundings.TOPIC.name]
    found: list[Finding] = []
    with seen(found, Check.TOPIC, topic):
        if not messaging.has_topic(topic):
            why = "there is no such topic"
            return [wrong(Check.TOPIC, topic, why, f"create it: {_TEMPLATE}"), unknown(Check.SUBSCRIPTIONS, topic, why)]
        found.append(ok(Check.TOPIC, topic, "is there"))
    wanted = {one.name: one for one in _wanted_subscriptions(names)}
    for name, subscription in wanted.items():
        with seen(found, Check.SUBSCRIPTIONS, name):
            found.append(_subscription(patient, names, subscription, messaging.subscription(topic, name)))
    with seen(found, Check.SUBSCRIPTIONS, f"others of {topic}"):
        found += _others(messaging, topic, set(wanted), _endpoint(patient, names[surroundings.APPROVALS]))
    return found


def _wanted_subscriptions(names: Mapping[str, str]) -> list[Subscription]:
    """With EVENT_SUBJECT=optional wakes and approvals share a queue, and no completion may come in there."""
    return [one for one in surroundings.TOPIC.subscriptions if names[one.queue] != names[surroundings.APPROVALS]]


def _subscription(
    patient: Patient, names: Mapping[str, str], wanted: Subscription, there: SubscriptionSeen | None
) -> Finding:
    if there is None:
        return wrong(Check.SUBSCRIPTIONS, wanted.name, "there is no such subscription", f"create it: {_TEMPLATE}")
    should = {
        "Endpoint": _endpoint(patient, names[wanted.queue]),
        "FilterTag": wanted.filter_tag,
        "NotifyStrategy": wanted.strategy.value,
        "NotifyContentFormat": wanted.format.value,
    }
    facts = (there.endpoint, there.filter_tag, there.strategy, there.format)
    others = list(differences(should, dict(zip(should, facts, strict=True))))
    if others:
        remedy = f"{_TEMPLATE}; all but NotifyStrategy needs the subscription deleted first"
        return wrong(Check.SUBSCRIPTIONS, wanted.name, _told(others), remedy)
    return ok(Check.SUBSCRIPTIONS, wanted.name, "is there, with its attributes")


def _others(messaging: Messaging, topic: str, known: set[str], approvals: str) -> Iterator[Finding]:
    """Whoever may publish must not approve: nothing of the topic goes into the approvals queue."""
    for name in messaging.subscriptions(topic):
        there = None if name in known else messaging.subscription(topic, name)
        if there is not None and there.endpoint == approvals:
            text = "pushes what is published into the approvals queue: who may publish could approve"
            yield wrong(Check.SUBSCRIPTIONS, name, text, "delete this subscription")


def _endpoint(patient: Patient, queue: str) -> str:
    return f"acs:mns:{patient.settings.region}:{patient.uid}:queues/{queue}"


def _dead_letters(messaging: Messaging, names: Mapping[str, str]) -> list[Finding]:
    """What can be seen in them. A queue's own counts are not asked: the vendor retires them, and 0 would mean nothing."""
    found: list[Finding] = []
    for queue in dict.fromkeys(names[one.name] for one in surroundings.DEAD_LETTER_QUEUES):
        with seen(found, Check.DEAD_LETTERS, queue):
            count = len(messaging.peek(queue))
            found.append(dead_letters_finding(queue, count, more=count >= BATCH))
    return found


def _policies(patient: Patient, names: Mapping[str, str]) -> list[Finding]:
    """Where queues and subscriptions put what they give up on, which the queue API does not show."""
    found: list[Finding] = []
    control = patient.control()
    for queue in surroundings.WORK_QUEUES:
        about = f"dead letters of {names[queue.name]}"
        with seen(found, Check.QUEUES, about):
            assert queue.dead_letter is not None  # noqa: S101  # every work queue has one
            should = DeadLetters(names[queue.dead_letter.queue], queue.dead_letter.max_receives)
            found.append(_policy(Check.QUEUES, about, should, control.of_queue(names[queue.name])))
    topic = names[surroundings.TOPIC.name]
    for one in _wanted_subscriptions(names):
        about = f"dead letters of {one.name}"
        with seen(found, Check.SUBSCRIPTIONS, about):
            should = DeadLetters(names[one.dead_letter], None)
            found.append(_policy(Check.SUBSCRIPTIONS, about, should, control.of_subscription(topic, one.name)))
    return found


def _policy(check: Check, about: str, should: DeadLetters, there: DeadLetters) -> Finding:
    if not there.queue:
        return wrong(check, about, "what is given up on is lost: there is no dead-letter policy", _TEMPLATE)
    others = list(differences(vars(should), vars(there)))
    if others:
        return wrong(check, about, _told(others), _TEMPLATE)
    return ok(check, about, f"go to {there.queue}")


# -- functions ---------------------------------------------------------------------------------------------------------


def _function(patient: Patient, wanted: Wanted) -> list[Finding]:
    """What only GetFunction shows, which shows the environment too: so this is the deployer's."""
    checks = (Check.FUNCTIONS, Check.ENVIRONMENT, Check.SECRETS, Check.LOG)
    try:
        there = patient.deployed().function(wanted.name)
    except PermissionMissing:
        why = "this key may not read it (fc:GetFunction), as an operator's should not: the environment would be shown"
        remedy = "run it with a key that has the policy ecr-grants-deployer too"
        return [unknown(check, wanted.name, why, remedy) for check in checks]
    if there is None:
        missing = wrong(Check.FUNCTIONS, wanted.name, "there is no such function", _DEPLOY)
        return [missing, *(unknown(check, wanted.name, "the function is not there") for check in checks[1:])]
    fields = _FLAT if patient.service is None else _IN_SERVICE
    others = list(differences(wanted.part(*fields), there.settings))
    plain = wrong(Check.FUNCTIONS, wanted.name, _told(others), _DEPLOY) if others else None
    return [
        plain or ok(Check.FUNCTIONS, wanted.name, "is as s.yaml has it"),
        _environment(wanted, there),
        _secrets(wanted, there),
        _log(wanted, there),
    ]


def _environment(wanted: Wanted, there: FunctionSeen) -> Finding:
    """Names only, and whether a value is there where one must be."""
    names, told = there.environment_variables, []
    absent = wanted.environment - set(names)
    empty = {name for name in setting_names(required=True) & set(names) if not names[name]}
    strange = set(names) - wanted.environment - set(_SECRET)
    if absent:
        told.append(f"lacks {named(absent)}")
    if empty:
        told.append(f"{named(empty)} is empty")
    for name, meant in misspelt(names, wanted.environment | setting_names()):
        told.append(f"{name} is read by nobody: {meant} is meant")
        strange.discard(name)
    if strange:
        told.append(f"has {named(strange)}, which s.yaml does not give it")
    if told:
        return wrong(
            Check.ENVIRONMENT, wanted.name, "; ".join(told), f"{_DEPLOY}, with every variable that s.yaml reads"
        )
    return ok(Check.ENVIRONMENT, wanted.name, "has the variables of s.yaml")


def _named_secrets(patient: Patient) -> list[Finding]:
    """Whether the secrets that settings name are there. The functions' roles may read them; whoever looks need not."""
    found: list[Finding] = []
    names = {"LEDGER_SECRET": patient.settings.ledger_secret}
    with suppress(SettingsError):  # which is told of HEAD_KEY
        names["HEAD_KEY_SECRET"] = read_signing().head_key_secret
    with suppress(SettingsError):
        names["DESK_CLIENT_SECRET_NAME"] = read_desk().desk_client_secret_name
    for variable, name in names.items():
        if name is None:
            continue
        try:
            value = patient.secrets().read(name)
            if variable == "HEAD_KEY_SECRET":
                private_key(value)
            found.append(ok(Check.SECRETS, variable, f"names a secret that can be read: {name}"))
        except PermissionMissing as error:
            remedy = "the functions' roles need kms:GetSecretValue on it; whoever looks need not have it"
            found.append(unknown(Check.SECRETS, variable, str(error), remedy))
        except NeedsSomebody as error:
            found.append(wrong(Check.SECRETS, variable, str(error), f"make the secret {name}, or name another"))
        except ValueError as error:
            found.append(wrong(Check.SECRETS, variable, f"{name} {error}", f"put the key into {name}"))
        except GrantError as error:
            found.append(unknown(Check.SECRETS, variable, str(error)))
    return found


def _secrets(wanted: Wanted, there: FunctionSeen) -> Finding:
    held = {name for name in _SECRET if there.environment_variables.get(name)}
    extra = held - wanted.environment
    if extra:
        text = f"has {named(extra)}, which it does not need"
        return wrong(Check.SECRETS, wanted.name, text, f"{_DEPLOY}, then replace what it could read")
    if "HEAD_KEY" in wanted.environment - held and not there.environment_variables.get("HEAD_KEY_SECRET"):
        return ok(Check.SECRETS, wanted.name, "has no HEAD_KEY: heads are logged without a signature")
    return ok(Check.SECRETS, wanted.name, "has the secrets that it needs, and no others")


def _log(wanted: Wanted, there: FunctionSeen) -> Finding:
    found = there.settings.get("logConfig") or {}
    project, store = found.get("project"), found.get("logstore")
    if not project or not store:
        return wrong(Check.LOG, wanted.name, "its log is kept nowhere, heads of the record included", _DEPLOY)
    others = list(differences(wanted.part("logConfig"), {"logConfig": found}))
    if others:
        return wrong(Check.LOG, wanted.name, _told(others), _DEPLOY)
    return ok(Check.LOG, wanted.name, f"is kept in {project}/{store}")


def _retention(patient: Patient) -> list[Finding]:
    """Log Service is no part of what this project speaks to: one number is not worth its SDK."""
    log = surroundings.LOG
    why = (
        f"Log Service is not asked; {log.retention_days} days are wanted, so that signed heads outlive what they prove"
    )
    project = log.project.format(hub=patient.uid)
    return [
        unknown(Check.LOG, "retention", why, f"look in the console of Log Service: {project}, {log.name}, attributes")
    ]


def _limits(patient: Patient, wanted: Wanted) -> list[Finding]:
    """What an operator may read."""
    found: list[Finding] = []
    deployed = patient.deployed()
    with seen(found, Check.TRIGGERS, wanted.name):
        there = deployed.triggers(wanted.name)
        if there is None:
            absent = unknown(Check.TRIGGERS, wanted.name, "the function is not there", _DEPLOY)
            return [
                absent,
                *(unknown(one, wanted.name, absent.text) for one in (Check.CONCURRENCY, Check.ASYNCHRONOUS)),
            ]
        found += _triggers(wanted, there)
    with seen(found, Check.CONCURRENCY, wanted.name):
        found.append(_concurrency(wanted, deployed))
    with seen(found, Check.ASYNCHRONOUS, wanted.name):
        found.append(_asynchronous(wanted, deployed))
    return found


def _triggers(wanted: Wanted, there: Iterable[TriggerSeen]) -> Iterator[Finding]:
    by_name = {one.trigger_name: one.trigger_config for one in there}
    for name, config in wanted.triggers.items():
        about = f"{wanted.name}/{name}"
        found = by_name.pop(name, None)
        if found is None:
            yield wrong(Check.TRIGGERS, about, "there is no such trigger", _DEPLOY)
            continue
        others = list(differences(config | dict.fromkeys(_SWITCHES & config.keys(), True), found))
        if others:
            yield wrong(Check.TRIGGERS, about, _told(others), f"{_DEPLOY} with TRIGGERS=on")
        else:
            yield ok(Check.TRIGGERS, about, "is as s.yaml has it")
    for name in by_name:
        text = "s.yaml does not have it: what comes in by it is another door"
        yield wrong(Check.TRIGGERS, f"{wanted.name}/{name}", text, f"delete this trigger of {wanted.name}")


def _concurrency(wanted: Wanted, deployed: Deployed) -> Finding:
    should = (wanted.props.get("concurrencyConfig") or {}).get("reservedConcurrency")
    others = list(differences({"reservedConcurrency": should}, {"reservedConcurrency": deployed.reserved(wanted.name)}))
    if others:
        return wrong(Check.CONCURRENCY, wanted.name, _told(others), _DEPLOY)
    return ok(Check.CONCURRENCY, wanted.name, f"at most {should} instances" if should != 1 else "one instance at most")


def _asynchronous(wanted: Wanted, deployed: Deployed) -> Finding:
    timer = any("cronExpression" in config for config in wanted.triggers.values())
    should: dict[str, Any] = dict(wanted.props.get("asyncInvokeConfig") or {})
    if timer:  # ticks come anyway: one that is tried again meets the next
        should.setdefault("maxAsyncRetryAttempts", 0)
    others = list(differences(should, deployed.asynchronous(wanted.name)))
    if others:
        return wrong(Check.ASYNCHRONOUS, wanted.name, _told(others), _DEPLOY)
    return ok(Check.ASYNCHRONOUS, wanted.name, "as s.yaml has it" if should else "is called by nobody in that way")


def _told(others: Iterable[Difference]) -> str:
    return "; ".join(f"{one}: {_MEANING[one.name]}" if one.name in _MEANING else str(one) for one in others)


# -- accounts ----------------------------------------------------------------------------------------------------------


_OF_RECONCILE = ((Check.ROLES, "accounts"), (Check.CONFIGURATION, "deployed"))
"""What it is asked about."""


def _roles(patient: Patient) -> list[Finding]:
    """Asked of reconcile, whose role the accounts trust; nobody trusts whoever types."""
    function = surroundings.RECONCILE
    try:
        answer = patient.functions().run(function, AccountCheck(check=EVERY_ACCOUNT).event, patient.service).result
    except PermissionMissing as error:
        remedy = "run it with a key that has the policy ecr-grants-operator"
        return [
            unknown(check, about, f"{function} could not be asked: {error}", remedy) for check, about in _OF_RECONCILE
        ]
    except GrantError as error:
        return [unknown(check, about, f"{function} could not be asked: {error}") for check, about in _OF_RECONCILE]
    told = answer.get("accounts") if isinstance(answer, dict) else None
    seen_there = answer.get("configuration") if isinstance(answer, dict) else None
    if not isinstance(told, dict) or not isinstance(seen_there, dict):
        why = f"{function} answers otherwise: what is deployed is older than this command"
        return [unknown(check, about, why, _DEPLOY) for check, about in _OF_RECONCILE]
    here = patient.standing()
    found = list(_entered({str(uid): trouble for uid, trouble in told.items()}, here))
    return [*found, _compared(seen_there, here)]


def _entered(told: Mapping[str, Any], here: Standing | None) -> Iterator[Finding]:
    refused = {uid: trouble for uid, trouble in told.items() if trouble}
    for uid, trouble in refused.items():
        account = None if here is None else here.inventory.accounts.get(uid)
        role = account.role if account is not None else "the role"
        text = str(trouble.get("text") if isinstance(trouble, dict) else trouble)
        if isinstance(trouble, dict) and trouble.get("code") == "PermissionMissing":
            remedy = (
                f"in account {uid}, let {role} be assumed by the functions' roles with the external id of accounts.yaml"
                f" (the spoke's template); in this account, let the roles assume it"
            )
            yield wrong(Check.ROLES, uid, text, remedy)
        else:
            yield unknown(Check.ROLES, uid, text)
    if len(refused) < len(told):
        yield ok(Check.ROLES, "accounts", f"{len(told) - len(refused)} can be entered by {surroundings.RECONCILE}")
    elif not told:
        yield unknown(
            Check.ROLES, "accounts", "the functions know of none: no configuration that they believe lists any"
        )


def _compared(there: Mapping[str, Any], here: Standing | None) -> Finding:
    """Whether what is deployed goes by the same version as is seen from here."""
    number, fault = there.get("number"), there.get("fault")
    if fault is not None:
        remedy = (
            f"{_DEPLOY} with the CONFIG_KEYS and CONFIG_QUORUM that it was signed for, or apply one that they verify"
        )
        return wrong(Check.CONFIGURATION, "deployed", f"the functions do not believe it: {fault}", remedy)
    if here is None:
        return unknown(
            Check.CONFIGURATION, "deployed", f"the functions go by version {number}; the ledger was not read from here"
        )
    if number != here.number:
        text = f"the functions go by version {number}, and the ledger that is seen from here has version {here.number}"
        return wrong(Check.CONFIGURATION, "deployed", text, f"{_DEPLOY} with this LEDGER_URL, or set theirs here")
    return ok(Check.CONFIGURATION, "deployed", f"the functions go by version {number}")
