"""Poison: bad messages of every kind between good ones. The good ones are done; each bad one is refused once, and told why."""

from __future__ import annotations

import base64
import itertools
import json
import os
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sql
from jsonschema import Draft202012Validator

from shared.ledger.schema import upgrade_schema
from shared.ledger.transactions import Ledger
from shared.messages.schemas import message_schemas
from tests.chaos.poison import KINDS, Bad, as_sent, corpus
from tests.chaos.poison_fields import ODD, sent_again, taken
from tests.configured import sealed
from tests.functional.approvals import approval
from tests.functional.deployment import Deployment, Json, configure, deployment
from tests.functional.inprocess import InProcess, events
from tests.functional.inprocess import in_process as in_this_process
from tests.functional.world import HUB_ECR, Spoke, Stage
from tests.ledger import postgres

SEED = 20260131
BATCH = 100
SAMPLE = 60
HERE = ("sqlite", "postgresql")
"""In this process, on either database."""


def spoiled(uid: str) -> Json:
    """The approval out of which all bad ones are made; nobody has its VPC, so that none of them could do harm."""
    return approval(uid, "vpc-poisoned", ends_at="2090-01-01T00:00:00Z", on_end="report")


ALL = corpus(spoiled("2000000000000002"), SEED)


def test_the_corpus_has_at_least_two_thousand_messages_of_every_kind() -> None:
    """A seed gives the same messages every time; another seed cuts elsewhere."""
    assert len(ALL) >= 2000
    assert set(Counter(one.kind for one in ALL)) == set(KINDS)
    good = spoiled("2000000000000002")
    good["approved_at"], good["request_id"] = "2026-01-31T12:00:00Z", "REQ-1"
    assert corpus(good, 1) == corpus(good, 1)
    assert corpus(good, 1) != corpus(good, 2)


# What a schema cannot say: it compares no values and knows no calendar, Python's own readers let half a character through, and
# Python's "$" lets a line end pass.
BEYOND_A_SCHEMA = (
    "allowed_prefixes is ['10.0.0.1/8']",
    "approved_at is 2026-02-30T00:00:00Z",
    "ends_at is 2000-01-01T00:00:00Z",
    "ends_at is 0001-01-01T00:00:00+23:59",
    "request_id is REQ-1\n",
    "instance.id is 'vpc-a\\n'",
    "half a surrogate pair",
    "half a character",
    "broken UTF-8 6",
    "owner_uid is '9999999999999999'",  # well formed, and not listed
)


def test_whoever_checks_by_the_schema_is_refused_what_we_refuse() -> None:
    """Of all bad approvals that are JSON at all, every one but those that no schema can tell."""
    validator = Draft202012Validator(json.loads(message_schemas()["approval.json"]))
    documents = {one.name: decoded(one.body) for one in ALL if "twice" not in one.name}
    passed = [
        name
        for name, document in documents.items()
        if isinstance(document, dict)
        and document.get("schema") == "ecr-grants/approval/3"
        and validator.is_valid(document)
        and not name.endswith(BEYOND_A_SCHEMA)
    ]
    assert passed == []


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
    ledger_url: str = ""

    def unpublished(self) -> list[Any]:
        """What waits in the outbox of the ledger that was written to."""
        engine = sql.create_engine(self.ledger_url or self.cloud.ledger_url)
        try:
            with engine.connect() as connection:
                return list(connection.execute(sql.text("SELECT seq FROM outbox")).all())
        finally:
            engine.dispose()


def decoded(body: str) -> Any:
    """The body as a platform that decodes Base64 and JSON would hand it over; as it is where that cannot be done."""
    try:
        found = json.loads(base64.b64decode(body, validate=True).decode())
    except (ValueError, RecursionError):
        return json.loads(body) if body.startswith('{"payload": ') else body
    return body if isinstance(found, str) else found


@contextmanager
def ledger_of(database: str, folder: Path) -> Iterator[dict[str, str]]:
    """The settings for a fresh ledger; none for the one on SQLite that every local cloud brings."""
    if database == "sqlite":
        yield {}
        return
    with postgres.running() as server:
        url = server.address(server.new_database())
        ledger = Ledger(url)
        upgrade_schema(ledger)
        ledger.close()
        yield {"LEDGER_URL": url}


@contextmanager
def in_process(database: str, folder: Path) -> Iterator[Fed]:
    """All of it through the frame that the handler runs, in this process, in batches of every shape with good ones between."""
    stage = Stage()
    spokes = [stage.new_spoke() for _ in range(8)]
    with (
        ledger_of(database, folder) as settings,
        in_this_process(stage, folder, EVENT_SUBJECT="optional", **settings) as here,
    ):
        if settings:
            configure(settings["LEDGER_URL"], stage.configuration)
        fed = Fed(here.cloud, spokes[0], [], {}, here=here, ledger_url=settings.get("LEDGER_URL", ""))
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
                (name, decoded(as_sent(one)) if shape == "decoded" and "twice" not in one.name else as_sent(one))
                for name, one in chunk
            ]
            messages.insert(chance.randrange(len(messages)), (f"G-{start}", sealed(good)))
            fed.bad |= dict(chunk)
            fed.returned.append(here.handle(events(messages, shape), f"batch-{start}"))
        here.cloud.receive()
        yield fed


@contextmanager
def deployed(folder: Path) -> Iterator[Fed]:
    """A sample of every kind through the queue, the trigger and the deployed function; POISON_ALL=1 sends everything."""
    stage = Stage()
    spokes = [stage.new_spoke() for _ in range(4)]
    with deployment(stage, folder) as cloud:
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
                [message_id] = cloud.send(as_sent(one), plain=True)
                fed.bad[message_id] = one
        for message_id in fed.bad:
            cloud.answer_to_message(message_id)
        for document in fed.good:
            cloud.answer(document)
        cloud.quiet()
        yield fed


@pytest.fixture(scope="module")
def fed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fed]:
    """What was handed in, in the way that a test asks for."""
    folder = tmp_path_factory.mktemp("poison")
    with deployed(folder) if request.param == "deployed" else in_process(request.param, folder) as made:
        yield made


by_every_way = pytest.mark.parametrize("fed", [*HERE, "deployed"], indirect=True)
in_this_one = pytest.mark.parametrize("fed", HERE, indirect=True)
over_the_wire = pytest.mark.parametrize("fed", ["deployed"], indirect=True)


def rejections(fed: Fed) -> dict[str, list[Json]]:
    """What was said about each bad message."""
    found: dict[str, list[Json]] = {name: [] for name in fed.bad}
    for one in {one["id"]: one for one in fed.cloud.completions}.values():
        if one.get("message_id") in found:
            found[one["message_id"]].append(one)
    return found


@by_every_way
def test_each_bad_message_has_one_rejection_that_names_what_is_wrong(fed: Fed) -> None:
    """The field at fault, or what is wrong with the whole, in a sentence that fits on a page and can be printed."""
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


@by_every_way
def test_the_good_ones_between_them_are_granted(fed: Fed) -> None:
    """No neighbour is stopped by a bad message, whatever it holds."""
    granted = {(one["instance_id"], one["ecr_id"]) for one in fed.cloud.admin.world()["grants"]}
    assert granted == {(one["instance"]["id"], HUB_ECR) for one in fed.good}


@by_every_way
def test_every_completion_went_out(fed: Fed) -> None:
    """Nothing waits in the outbox: not even the largest mistake makes an answer that cannot be sent."""
    assert fed.unpublished() == []
    assert fed.cloud.repeated() == []


@in_this_one
def test_no_batch_raises_and_every_item_is_counted(fed: Fed) -> None:
    """What the function returns adds up: each bad one rejected, the good one settled, nothing for later."""
    assert sum(one["rejected"] for one in fed.returned) == len(fed.bad)
    assert [one["settled"] for one in fed.returned] == [1] * len(fed.returned)
    assert {outcome for one in fed.returned for outcome in one} == {"rejected", "settled"}


@over_the_wire
def test_nothing_is_retried_and_nothing_is_buried(fed: Fed) -> None:
    """Each bad message was delivered once; no trigger gave one up; the dead-letter queues are empty."""
    delivered = fed.cloud.delivered()
    assert {name: delivered[name] for name in fed.bad} == dict.fromkeys(fed.bad, 1)
    assert fed.cloud.lost() == {}
    world = fed.cloud.admin.world()
    assert [
        queue["name"] for queue in world["mns"]["queues"] if queue["name"].endswith("-dead") and queue["messages"]
    ] == []


@in_this_one
def test_what_is_no_event_at_all_is_one_rejection(fed: Fed) -> None:
    """Bytes that are no batch do not raise: raising would bring them back for a day."""
    assert fed.here is not None
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
        assert fed.here.handle(raw) == {"rejected": 1}, raw[:80]
    assert fed.here.handle(b"[]") == {}


@in_this_one
def test_odd_ids_of_messages_stop_nobody(fed: Fed) -> None:
    """What the platform calls a message is its business; we keep what can be kept of it."""
    assert fed.here is not None
    messages = [(value, f"{{rotten {number}") for number, value in enumerate(ODD.values())]
    for shape in ("objects", "strings", "data"):
        assert fed.here.handle(events(messages, shape)) == {"rejected": len(messages)}
        messages = [(value, f"{body}, {shape}") for value, body in messages]
    assert fed.unpublished() == []


@in_this_one
def test_what_was_sent_again_is_refused_for_what_is_in_it(fed: Fed) -> None:
    """Under the id that its sender knows, as far as that can be kept."""
    assert fed.here is not None
    messages = [(f"A-{number}", json.dumps(one)) for number, (_, one) in enumerate(sent_again(spoiled(fed.spoke.uid)))]
    assert fed.here.handle(events(messages)) == {"rejected": len(messages)}
    assert fed.unpublished() == []


@in_this_one
def test_odd_hints_that_can_be_read_do_nothing(fed: Fed) -> None:
    """A completion about nobody's grant is looked at and forgotten, whatever people are told in it."""
    assert fed.here is not None
    messages = [(f"T-{number}", json.dumps(one)) for number, (_, one) in enumerate(taken(spoiled(fed.spoke.uid)))]
    assert len(messages) > 50
    told = fed.here.handle(events(messages))
    assert "rejected" not in told
    assert fed.unpublished() == []
