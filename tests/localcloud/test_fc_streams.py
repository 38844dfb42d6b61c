"""Queue triggers: an MNS queue, an EventBridge stream and a function in a process of its own, over the official SDKs."""

import base64
import itertools
import json
import random
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from localcloud.fc import events
from localcloud.fc.streams import pauses
from tests.localcloud.conftest import RunCloud
from tests.localcloud.fc_harness import Functions, function, queue_trigger, until

BURY = {"deadLetterQueue": {"Arn": "acs:mns:cn-hangzhou::/queues/dead"}}


@pytest.fixture
def functions(run_cloud: RunCloud, tmp_path: Path) -> Functions:
    """A cloud with an account, queues and roles."""
    return Functions(run_cloud, tmp_path)


@pytest.fixture
def failing(tmp_path: Path) -> Path:
    """A file whose presence makes the sample function fail."""
    file = tmp_path / "fail"
    file.touch()
    return file


def bodies_of(event: str) -> list[str]:
    """The message bodies in a printed batch."""
    return [item["data"]["messageBody"] for item in json.loads(event)]


def test_a_message_reaches_the_function_and_leaves_the_queue(functions: Functions) -> None:
    """What is sent with the MNS SDK arrives as an array of one CloudEvent, decoded, and is deleted afterwards."""
    functions.deploy(function("grant", triggers=[queue_trigger()]))
    (message_id,) = functions.send('{"request": 1}')

    (text,) = until(lambda: functions.events("grant"), "the event")
    (event,) = json.loads(text)
    assert event["data"]["messageBody"] == '{"request": 1}'
    assert event["data"]["messageId"] == event["id"] == message_id
    assert event["source"] == "acs:mns"
    assert event["type"] == "mns:Queue:SendMessage"
    assert event["aliyunaccountid"] == functions.account
    assert event["subject"] == f"acs:mns:cn-hangzhou:{functions.account}:queues/work"
    assert set(event) == {
        "id", "source", "specversion", "type", "datacontenttype", "time", "subject", "aliyunaccountid", "data",
    }  # fmt: skip
    until(lambda: functions.bodies("work") == [], "the message to be deleted")
    (entry,) = functions.deliveries()
    assert entry["params"] == {
        "function": "grant", "trigger": "messages", "attempt": 0, "messages": [message_id], "outcome": "returned",
    }  # fmt: skip


@pytest.mark.parametrize(("decode", "seen"), [(True, "héllo"), (False, base64.b64encode("héllo".encode()).decode())])
def test_is_base64_decode_decides_what_the_handler_reads(functions: Functions, decode: bool, seen: str) -> None:
    """The SDK sends Base64; with IsBase64Decode false the function sees Base64, with true (the default) the text."""
    functions.deploy(function("reader", triggers=[queue_trigger(source={"IsBase64Decode": decode})]))
    functions.send("héllo")
    (text,) = until(lambda: functions.events("reader"), "the event")
    assert bodies_of(text) == [seen]


def test_a_plain_body_survives_decoding(functions: Functions) -> None:
    """A raw body that is no Base64 reaches the function as it is, whatever the trigger expects."""
    functions.deploy(function("reader", triggers=[queue_trigger()]))
    functions.send('{"plain": true}', base64=False)
    (text,) = until(lambda: functions.events("reader"), "the event")
    assert bodies_of(text) == ['{"plain": true}']


def test_the_count_closes_a_window(functions: Functions) -> None:
    """A window that is full is delivered at once, without waiting for its time."""
    window = {"batchWindow": {"CountBasedWindow": 3, "TimeBasedWindow": 15}}
    functions.deploy(function("batch", triggers=[queue_trigger(run=window)]))
    functions.send("1", "2", "3", "4", "5", "6")
    batches = until(lambda: len(found := functions.events("batch")) == 2 and found, "two full batches")
    assert sorted(len(bodies_of(text)) for text in batches) == [3, 3]
    assert sorted(itertools.chain.from_iterable(map(bodies_of, batches))) == ["1", "2", "3", "4", "5", "6"]


def test_time_closes_a_window(functions: Functions) -> None:
    """A window that does not fill is delivered when its time is over, in cloud time."""
    window = {"batchWindow": {"CountBasedWindow": 100, "TimeBasedWindow": 15}}
    functions.deploy(function("batch", triggers=[queue_trigger(run=window)]))
    functions.send("1", "2")
    until(
        lambda: functions.cloud.inside(lambda _: _inactive(functions.cloud.mns.snapshot(), "work")) == 2,
        "both to be taken",
    )
    assert functions.events("batch") == []
    functions.cloud.advance(16)
    (text,) = until(lambda: functions.events("batch"), "the batch")
    assert sorted(bodies_of(text)) == ["1", "2"]


def _inactive(snapshot: dict[str, Any], queue: str) -> int:
    count: int = next(one for one in snapshot["queues"] if one["name"] == queue)["inactive"]
    return count


def test_a_batch_is_cut_at_the_body_limit(functions: Functions) -> None:
    """An asynchronous trigger delivers 128 KB at most: four messages of 40 KB arrive as three and one."""
    window = {"batchWindow": {"CountBasedWindow": 4, "TimeBasedWindow": 15}}
    trigger = queue_trigger(run=window, config={"asyncInvocationType": True}, source={"IsBase64Decode": False})
    functions.deploy(function("batch", triggers=[trigger]))
    functions.send(*["x" * 40_000] * 4, base64=False)
    until(lambda: len(functions.deliveries()) == 2, "two deliveries", nudge=lambda: functions.cloud.advance(20))
    assert [len(entry["params"]["messages"]) for entry in functions.deliveries()] == [3, 1]


@pytest.mark.parametrize("shape", ["objects", "strings", "single"])
def test_each_documented_shape_can_be_had(functions: Functions, shape: str) -> None:
    """The switch event_shape chooses between an array of objects, an array of JSON texts and one event."""
    functions.cloud.admin.switch(event_shape=shape)
    functions.deploy(function("shapes", triggers=[queue_trigger(run={"batchWindow": {"CountBasedWindow": 2}})]))
    functions.send("1")
    (text,) = until(lambda: functions.events("shapes"), "the event")
    document = json.loads(text)
    event = document if shape == "single" else document[0]
    if shape == "strings":
        assert isinstance(event, str)
        event = json.loads(event)
    assert event["data"]["messageBody"] == "1"


def test_raw_data_is_the_data_part_alone(functions: Functions) -> None:
    """eventSchema RawData leaves the envelope out."""
    functions.deploy(function("raw", triggers=[queue_trigger(delivery={"eventSchema": "RawData"})]))
    (message_id,) = functions.send("1")
    (text,) = until(lambda: functions.events("raw"), "the event")
    (item,) = json.loads(text)
    assert (item["messageId"], item["messageBody"]) == (message_id, "1")
    assert set(item) == {"requestId", "messageId", "messageBody"}


def test_event_mode_delivers_one_full_cloud_event(functions: Functions) -> None:
    """In event-driven mode each message is one event with all attributes, and its id is the request id too."""
    trigger = queue_trigger(
        run={"mode": "event-driven"}, config={"eventRuleFilterPattern": '{"source": ["MNS-mode-messages"]}'}
    )
    functions.deploy(function("mode", triggers=[trigger]))
    (message_id,) = functions.send("1")
    (text,) = until(lambda: functions.events("mode"), "the event")
    event = json.loads(text)
    assert event["source"] == event["aliyuneventbusname"] == "MNS-mode-messages"
    assert event["id"] == event["data"]["messageId"] == event["data"]["requestId"] == message_id
    assert functions.deliveries()[0]["request_id"] == message_id


def test_a_failing_batch_is_retried_and_then_buried(functions: Functions, failing: Path) -> None:
    """BACKOFF_RETRY: three retries, at least ten seconds apart, the message invisible meanwhile; then it is a dead letter."""
    functions.deploy(
        function("poisoned", triggers=[queue_trigger(run=BURY)], environmentVariables={"FAIL_WHEN": str(failing)})
    )
    functions.send("poison", base64=False)
    until(lambda: functions.bodies("dead") == ["poison"], "the dead letter", nudge=lambda: functions.cloud.advance(3))
    assert functions.bodies("work") == []
    entries = functions.deliveries()
    assert [entry["params"]["attempt"] for entry in entries] == [0, 1, 2, 3]
    assert {entry["params"]["outcome"] for entry in entries} == {"raised"}
    moments = [_seconds(entry["time"]) for entry in entries]
    assert all(later - earlier >= 10 for earlier, later in itertools.pairwise(moments))
    shown = functions.trigger("poisoned")
    assert (shown["state"], shown["buried"], shown["failures"]) == ("Running", 1, 4)

    failing.unlink()
    functions.send("healthy", base64=False)
    until(lambda: functions.trigger("poisoned")["delivered"] == 1, "the stream to go on")


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def test_a_retry_that_works_ends_the_trouble(functions: Functions, failing: Path) -> None:
    """EXPONENTIAL_DECAY_RETRY goes on until the function works again; nothing is buried."""
    run = BURY | {"retryStrategy": {"PushRetryStrategy": "EXPONENTIAL_DECAY_RETRY"}}
    functions.deploy(
        function("flaky", triggers=[queue_trigger(run=run)], environmentVariables={"FAIL_WHEN": str(failing)})
    )
    functions.send("once")
    until(lambda: len(functions.deliveries()) >= 6, "six attempts", nudge=lambda: functions.cloud.advance(8))
    failing.unlink()
    until(
        lambda: functions.trigger("flaky")["delivered"] == 1, "the delivery", nudge=lambda: functions.cloud.advance(64)
    )
    assert functions.bodies("dead") == functions.bodies("work") == []


def test_the_retry_strategies_are_the_published_ones() -> None:
    """Backoff: three pauses of 10 to 20 seconds. Exponential decay: 176 pauses, doubling up to 512 seconds."""
    chance = random.Random(1)  # noqa: S311 - repeatable
    backoff = list(pauses("BACKOFF_RETRY", chance))
    assert len(backoff) == 3
    assert all(10 <= pause <= 20 for pause in backoff)
    decay = list(pauses("EXPONENTIAL_DECAY_RETRY", chance))
    assert len(decay) == 176
    assert decay[:10] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]
    assert set(decay[9:]) == {512}


def test_without_a_dead_letter_queue_tolerance_means_loss(functions: Functions, failing: Path) -> None:
    """errorsTolerance ALL and no dead-letter queue: what could not be delivered is discarded, as documented."""
    functions.deploy(function("lossy", triggers=[queue_trigger()], environmentVariables={"FAIL_WHEN": str(failing)}))
    functions.send("lost")
    until(lambda: functions.trigger("lossy")["discarded"] == 1, "the loss", nudge=lambda: functions.cloud.advance(20))
    assert functions.bodies("work") == []


def test_no_tolerance_stops_the_stream(functions: Functions, failing: Path) -> None:
    """errorsTolerance NONE, the default: when retries run out the stream is Ready, and messages stay in the queue."""
    trigger = queue_trigger()
    del trigger["triggerConfig"]["runOptions"]["errorsTolerance"]
    props = function("strict", triggers=[trigger], environmentVariables={"FAIL_WHEN": str(failing)})
    functions.deploy(props)
    functions.send("first", base64=False)
    until(
        lambda: functions.trigger("strict")["state"] == "Ready", "the stop", nudge=lambda: functions.cloud.advance(20)
    )
    functions.send("second", base64=False)
    assert sorted(functions.bodies("work")) == ["first", "second"]
    assert _inactive(functions.cloud.inside(lambda _: functions.cloud.mns.snapshot()), "work") == 0

    failing.unlink()
    functions.deploy(props)  # somebody deploys again
    until(lambda: functions.bodies("work") == [], "the messages to be delivered")


@pytest.mark.parametrize("setting", ["retry", "acknowledge"])
def test_what_a_raised_exception_means_is_a_switch(functions: Functions, failing: Path, setting: str) -> None:
    """raised_exception: the batch is retried, or counts as delivered; both must be survived."""
    functions.cloud.admin.switch(raised_exception=setting)
    functions.deploy(
        function("raiser", triggers=[queue_trigger(run=BURY)], environmentVariables={"FAIL_WHEN": str(failing)})
    )
    functions.send("x", base64=False)
    if setting == "acknowledge":
        until(lambda: functions.trigger("raiser")["delivered"] == 1, "the acknowledgement")
        assert functions.bodies("dead") == []
    else:
        until(lambda: functions.bodies("dead") == ["x"], "the dead letter", nudge=lambda: functions.cloud.advance(20))


def test_a_crash_is_always_retried(functions: Functions) -> None:
    """A worker that dies under a batch is replaced and the batch delivered again, also when raising counts as done."""
    functions.cloud.admin.switch(raised_exception="acknowledge")
    functions.deploy(function("crash", triggers=[queue_trigger(run=BURY, delivery={"eventSchema": "RawData"})]))
    functions.cloud.admin.switch(event_shape="single")
    # In this form the sample function does what it is told; the body is the instruction's wrapping, so it is printed.
    functions.send("{}")
    until(lambda: functions.trigger("crash")["delivered"] == 1, "the first delivery")
    first = functions.named("crash")["instances"][0]["pid"]
    functions.cloud.admin.call("POST", "functions/crash/kill")
    functions.send("{}")
    until(lambda: functions.trigger("crash")["delivered"] == 2, "the second", nudge=lambda: functions.cloud.advance(20))
    assert functions.named("crash")["instances"][0]["pid"] != first


def test_an_asynchronous_trigger_ends_with_the_acceptance(functions: Functions, failing: Path) -> None:
    """asyncInvocationType true: the message is gone once FC took the event; FC's own retries and destination follow."""
    functions.deploy(
        function(
            "later",
            triggers=[queue_trigger(run=BURY, config={"asyncInvocationType": True})],
            environmentVariables={"FAIL_WHEN": str(failing)},
            asyncInvokeConfig={
                "maxAsyncRetryAttempts": 1,
                "destinationConfig": {"onFailure": {"destination": "acs:mns:::/queues/failed/messages"}},
            },
        )
    )
    functions.send("x")
    until(lambda: functions.bodies("failed"), "the destination", nudge=lambda: functions.cloud.advance(2))
    assert functions.trigger("later")["delivered"] == 1
    assert functions.bodies("work") == functions.bodies("dead") == []
    (told,) = map(json.loads, functions.bodies("failed"))
    assert told["requestContext"]["approximateInvokeCount"] == 2
    assert told["responseContext"] == {"statusCode": 200, "functionError": "UnhandledInvocationError"}


def test_a_trigger_that_is_off_takes_nothing(functions: Functions) -> None:
    """triggerEnable false: deployed, shown as Stopped, and the messages wait."""
    functions.deploy(function("off", triggers=[queue_trigger(config={"triggerEnable": False})]))
    functions.send("waiting", base64=False)
    assert functions.trigger("off")["state"] == "Stopped"
    assert functions.bodies("work") == ["waiting"]


def test_throttled_deliveries_are_retried(functions: Functions) -> None:
    """Planned throttling of the delivery counts as a failed attempt, and the retry delivers."""
    functions.cloud.admin.plan(kind="throttle", service="fc", operation="InvokeFunction", times=2)
    functions.deploy(function("busy", triggers=[queue_trigger(run=BURY)]))
    functions.send("x")
    until(
        lambda: functions.trigger("busy")["delivered"] == 1, "the delivery", nudge=lambda: functions.cloud.advance(20)
    )
    assert [entry["code"] for entry in functions.deliveries()] == ["ResourceExhausted", "ResourceExhausted", ""]


def test_planned_duplicates_and_reordering_reach_the_function(functions: Functions) -> None:
    """Delivery is at least once and in no order: both can be planned for a trigger's batches."""
    functions.cloud.admin.plan(kind="duplicate", service="fc", function=None, operation="InvokeFunction")
    functions.cloud.admin.plan(kind="reorder", service="fc", operation="InvokeFunction")
    window = {"batchWindow": {"CountBasedWindow": 3, "TimeBasedWindow": 15}}
    functions.deploy(function("twice", triggers=[queue_trigger(run=window)]))
    functions.send("1", "2", "3")
    first, second = until(lambda: len(found := functions.events("twice")) == 2 and found, "two deliveries")
    assert first == second
    assert bodies_of(first) == ["3", "2", "1"]
    assert functions.trigger("twice")["delivered"] == 3


def test_lanes_deliver_side_by_side(functions: Functions) -> None:
    """deliveryOption.concurrency lets several batches be under way; a function with room starts more instances."""
    functions.deploy(function("wide", triggers=[queue_trigger(delivery={"concurrency": 3})]))
    functions.send(*[f"{number}" for number in range(12)])
    until(lambda: functions.trigger("wide")["delivered"] == 12, "all deliveries")
    assert sorted(itertools.chain.from_iterable(map(bodies_of, functions.events("wide")))) == sorted(
        f"{number}" for number in range(12)
    )


def test_no_trouble_loses_a_message(functions: Functions) -> None:
    """Throttling, errors, cuts, duplicates, reordering and killed workers: every message is delivered at least
    once, and in the end the queue and the dead-letter queue are empty."""
    kinds: list[dict[str, Any]] = [
        {"kind": "throttle"},
        {"kind": "error", "status": 500, "code": "InternalServerError"},
        {"kind": "server_error", "body": "html"},
        {"kind": "cut_before"},
        {"kind": "cut_after"},
        {"kind": "late", "seconds": 30},
        {"kind": "duplicate"},
        {"kind": "reorder"},
    ]
    for seed, kind in enumerate(kinds, start=1):
        functions.cloud.admin.plan(
            service="fc", operation="InvokeFunction", times=None, probability=0.08, seed=seed, **kind
        )
    run = BURY | {
        "retryStrategy": {"PushRetryStrategy": "EXPONENTIAL_DECAY_RETRY"},
        "batchWindow": {"CountBasedWindow": 4, "TimeBasedWindow": 0},
    }
    functions.deploy(function("storm", triggers=[queue_trigger(run=run, delivery={"concurrency": 2})]))
    sent = [f"message {number}" for number in range(120)]
    functions.send(*sent)
    kills = iter(range(5))

    def all_struck() -> bool:
        return all(fault["struck"] for fault in functions.cloud.admin.faults())

    def disturb() -> None:
        functions.cloud.advance(40)
        if next(kills, None) is not None:
            functions.cloud.admin.call("POST", "functions/storm/kill")
        if functions.bodies("work") == [] and not all_struck():  # chance has left one out so far
            more = [f"message {len(sent) + number}" for number in range(20)]
            sent.extend(more)
            functions.send(*more)

    until(lambda: functions.bodies("work") == [] and all_struck(), "an empty queue, after every trouble", nudge=disturb)
    seen = list(itertools.chain.from_iterable(map(bodies_of, functions.events("storm"))))
    assert set(seen) == set(sent)
    assert len(seen) > len(sent)
    assert functions.bodies("dead") == []


def test_stopping_gives_the_messages_back(functions: Functions, failing: Path) -> None:
    """A deployment that replaces a stream in the middle of its retries loses nothing: the message is seen again."""
    props = function("swap", triggers=[queue_trigger(run=BURY)], environmentVariables={"FAIL_WHEN": str(failing)})
    functions.deploy(props)
    functions.send("kept", base64=False)
    until(lambda: functions.trigger("swap")["failures"] == 1, "the first failure")
    failing.unlink()
    functions.deploy(props)
    until(lambda: functions.trigger("swap")["delivered"] == 1, "the delivery by the new deployment")
    assert functions.bodies("work") == functions.bodies("dead") == []


def test_filters_match_exactly() -> None:
    """An event bus lets through what has one of the listed values in every listed attribute."""
    event = {"source": "a", "type": "b"}
    assert events.wanted(event, {})
    assert events.wanted(event, {"source": ["x", "a"]})
    assert not events.wanted(event, {"source": ["a"], "type": ["c"]})
    assert not events.wanted(event, {"missing": ["a"]})
