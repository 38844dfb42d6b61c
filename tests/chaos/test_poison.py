"""Poison: bad messages of every kind between good ones. The good ones are done; each bad one is refused once, and told why."""

from __future__ import annotations

import base64
import itertools
import json
import os
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.chaos.poison import KINDS, Bad, corpus
from tests.functional.approvals import approval
from tests.functional.deployment import Deployment, Json, deployment
from tests.functional.inprocess import InProcess, events
from tests.functional.inprocess import in_process as in_this_process
from tests.functional.world import HUB_ECR, Spoke, Stage

SEED = 20260131
BATCH = 40
SAMPLE = 60


def spoiled(uid: str) -> Json:
    """The approval out of which all bad ones are made; nobody has its VPC, so that none of them could do harm."""
    return approval(uid, "vpc-poisoned", ends_at="2090-01-01T00:00:00Z", on_end="report")


ALL = corpus(spoiled("2000000000000002"), SEED)


def test_the_corpus_has_at_least_five_hundred_messages_of_every_kind() -> None:
    """A seed gives the same messages every time; another seed cuts elsewhere."""
    assert len(ALL) >= 500
    assert set(Counter(one.kind for one in ALL)) == set(KINDS)
    good = spoiled("2000000000000002")
    good["approved_at"], good["request_id"] = "2026-01-31T12:00:00Z", "REQ-1"
    assert corpus(good, 1) == corpus(good, 1)
    assert corpus(good, 1) != corpus(good, 2)


@dataclass
class Fed:
    """Everything that was handed in, and what the function returned for each batch."""

    cloud: Deployment
    spoke: Spoke
    good: list[Json]
    bad: dict[str, Bad]
    """By message id."""
    returned: list[dict[str, int]] = field(default_factory=list)
    here: InProcess | None = None


def decoded(body: str) -> Any:
    """The body as a platform that decodes Base64 and JSON would hand it over; as it is where that cannot be done."""
    try:
        found = json.loads(base64.b64decode(body, validate=True).decode())
    except (ValueError, RecursionError):
        return body
    return body if isinstance(found, str) else found


@pytest.fixture(scope="module")
def in_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fed]:
    """All of it through the frame that the handler runs, in this process, in batches of every shape with good ones between."""
    stage = Stage()
    spokes = [stage.new_spoke() for _ in range(6)]
    with in_this_process(stage, tmp_path_factory.mktemp("poison"), EVENT_SUBJECT="optional") as here:
        fed = Fed(here.cloud, spokes[0], [], {}, here=here)
        waiting = [(f"M-{number:04d}", one) for number, one in enumerate(corpus(spoiled(spokes[0].uid), SEED))]
        chance = random.Random(SEED)  # noqa: S311  # repeatable, not a secret
        chance.shuffle(waiting)
        places = ((spoke, vpc) for spoke in spokes for vpc in spoke.vpcs)
        shapes = itertools.cycle(["objects", "strings", "data", "decoded"])
        for start in range(0, len(waiting), BATCH):
            chunk, shape = waiting[start : start + BATCH], next(shapes)
            spoke, vpc = next(places)
            good = approval(spoke.uid, vpc)
            fed.good.append(good)
            messages: list[tuple[str, Any]] = [
                # A field that was there twice is not any more once the platform has decoded it: that one travels as it is.
                (name, decoded(one.body) if shape == "decoded" and "twice" not in one.name else one.body)
                for name, one in chunk
            ]
            messages.insert(chance.randrange(len(messages)), (f"G-{start}", json.dumps(good)))
            fed.bad |= dict(chunk)
            fed.returned.append(here.handle(events(messages, shape), f"batch-{start}"))
        here.cloud.receive()
        yield fed


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fed]:
    """A sample of every kind through the queue, the trigger and the deployed function; POISON_ALL=1 sends everything."""
    stage = Stage()
    spokes = [stage.new_spoke() for _ in range(4)]
    with deployment(stage, tmp_path_factory.mktemp("poison")) as cloud:
        everything = corpus(spoiled(spokes[0].uid), SEED)
        chance = random.Random(SEED)  # noqa: S311  # repeatable, not a secret
        chosen = everything if os.environ.get("POISON_ALL") else chance.sample(everything, SAMPLE)
        fed = Fed(cloud, spokes[0], [], {})
        places = ((spoke, vpc) for spoke in spokes for vpc in spoke.vpcs)
        for chunk in (chosen[start : start + 6] for start in range(0, len(chosen), 6)):
            if len(fed.good) < 12:
                spoke, vpc = next(places)
                fed.good.append(approval(spoke.uid, vpc))
                cloud.send(fed.good[-1])
            for one in chunk:  # one by one: together they are larger than a batch may be
                [message_id] = cloud.send(one.body, plain=True)
                fed.bad[message_id] = one
        for message_id in fed.bad:
            cloud.answer_to_message(message_id)
        for document in fed.good:
            cloud.answer(document)
        cloud.quiet()
        yield fed


def rejections(fed: Fed) -> dict[str, list[Json]]:
    """What was said about each bad message."""
    found: dict[str, list[Json]] = {name: [] for name in fed.bad}
    for one in {one["id"]: one for one in fed.cloud.completions}.values():
        if one.get("message_id") in found:
            found[one["message_id"]].append(one)
    return found


@pytest.mark.parametrize("way", ["in_process", "deployed"])
def test_each_bad_message_has_one_rejection_that_names_what_is_wrong(request: pytest.FixtureRequest, way: str) -> None:
    """The field at fault, or what is wrong with the whole, in a sentence that fits on a page and can be printed."""
    fed: Fed = request.getfixturevalue(way)
    wrong: list[str] = []
    for name, answers in rejections(fed).items():
        one = fed.bad[name]
        told = [answer["reason"]["text"] for answer in answers]
        outcomes = [answer["event"] for answer in answers]
        fits = (
            len(told) == 1
            and any(word in told[0] for word in one.told)
            and told[0].isprintable()
            and len(told[0]) < 4000
        )
        if outcomes != ["rejected"] or not fits:
            wrong.append(f"{one.name} wants one of {one.told}: {outcomes} {[text[:200] for text in told]}")
    assert wrong == []


@pytest.mark.parametrize("way", ["in_process", "deployed"])
def test_the_good_ones_between_them_are_granted(request: pytest.FixtureRequest, way: str) -> None:
    """No neighbour is stopped by a bad message, whatever it holds."""
    fed: Fed = request.getfixturevalue(way)
    granted = {(one["instance_id"], one["ecr_id"]) for one in fed.cloud.admin.world()["grants"]}
    assert granted == {(one["instance"]["id"], HUB_ECR) for one in fed.good}


@pytest.mark.parametrize("way", ["in_process", "deployed"])
def test_every_completion_went_out(request: pytest.FixtureRequest, way: str) -> None:
    """Nothing waits in the outbox: not even the largest mistake makes an answer that cannot be sent."""
    fed: Fed = request.getfixturevalue(way)
    assert fed.cloud.rows("SELECT seq FROM outbox WHERE published_at IS NULL") == []
    assert fed.cloud.repeated() == []


def test_no_batch_raises_and_every_item_is_counted(in_process: Fed) -> None:
    """What the function returns adds up: each bad one rejected, the good one settled, nothing for later."""
    assert sum(one["rejected"] for one in in_process.returned) == len(in_process.bad)
    assert [one["settled"] for one in in_process.returned] == [1] * len(in_process.returned)
    assert {outcome for one in in_process.returned for outcome in one} == {"rejected", "settled"}


def test_nothing_is_retried_and_nothing_is_buried(deployed: Fed) -> None:
    """Each bad message was delivered once; the triggers saw no failure; the dead-letter queues are empty."""
    delivered = Counter(
        message_id
        for entry in deployed.cloud.journal(service="fc", operation="InvokeFunction")
        for message_id in entry["params"].get("messages", ())
    )
    assert {name: delivered[name] for name in deployed.bad} == dict.fromkeys(deployed.bad, 1)
    world = deployed.cloud.admin.world()
    triggers = [
        (trigger["failures"], trigger["buried"], trigger["discarded"])
        for function in world["fc"]["functions"]
        for trigger in function["triggers"]
        if trigger["type"] == "eventbridge"
    ]
    assert triggers == [(0, 0, 0), (0, 0, 0)]
    assert [
        queue["name"] for queue in world["mns"]["queues"] if queue["name"].endswith("-dead") and queue["messages"]
    ] == []


def test_what_is_no_event_at_all_is_one_rejection(in_process: Fed) -> None:
    """Bytes that are no batch do not raise: raising would bring them back for a day."""
    assert in_process.here is not None
    chance = random.Random(SEED)  # noqa: S311  # repeatable, not a secret
    raws = [b"", b"\xff\xfe", b"null", b"7", b'"text"', b"{}", b"[null]", b"[[]]", b"[" * 50_000, b"[[[[]]]]"]
    raws += [
        b'{"data": null}',
        b'{"data": {"messageBody": null}}',
        b'{"data": {"messageBody": 7, "messageId": {"a": 1}}}',
    ]
    raws += [b'[{"id": "\\ud800", "data": {"messageBody": "{"}}]', b'{"messageBody": ' + b"[" * 900 + b"]" * 900 + b"}"]
    raws += [chance.randbytes(chance.randrange(1, 2000)) for _ in range(50)]
    for raw in raws:
        assert in_process.here.handle(raw) == {"rejected": 1}, raw[:80]
    assert in_process.here.handle(b"[]") == {}
