"""Two streams and one instance: what is refused for want of it comes back, and neither stream waits for the other's end."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator

import pytest
from mns.account import Account
from mns.queue import Message

from tests.functional.approvals import approval, revocation, wake
from tests.functional.deployment import Deployment, Json, deployment
from tests.functional.waiting import until
from tests.functional.world import GRANT_FUNCTION, HUB, TESTER, Spoke, Stage

WAITING = 60.0
"""Seconds for one answer; a starved stream would wait for ever."""


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Deployment, list[Spoke]]]:
    """The functions as deployed, and enough accounts B for a burst."""
    stage = Stage()
    spokes = [stage.new_spoke() for _ in range(14)]
    with deployment(stage, tmp_path_factory.mktemp("streams")) as cloud:
        yield cloud, spokes


def streams(cloud: Deployment) -> dict[str, Json]:
    """How the grant function's triggers fare."""
    [found] = [one for one in cloud.admin.world()["fc"]["functions"] if one["name"] == GRANT_FUNCTION]
    return {one["trigger"]: one for one in found["triggers"]}


def dead_letters(cloud: Deployment) -> dict[str, int]:
    """Messages in each dead-letter queue."""
    queues = [one for one in cloud.admin.world()["mns"]["queues"] if one["account"] == HUB]
    return {one["name"]: int(one["active"]) + int(one["inactive"]) for one in queues if one["name"].endswith("-dead")}


@contextlib.contextmanager
def a_stream_of_wakes(cloud: Deployment, grants: list[str]) -> Iterator[None]:
    """Somebody who never lets the queue of wakes run empty."""
    done = threading.Event()

    def send() -> None:
        account = Account(cloud.url, TESTER.id, TESTER.secret)
        queue = account.get_queue("ecr-grants-wakes")
        while not done.is_set():
            for start in range(0, len(grants), 16):
                queue.batch_send_message([Message(json.dumps(wake(one))) for one in grants[start : start + 16]])
            done.wait(0.1)
        account.get_client().close_connection()

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield
    finally:
        done.set()
        sender.join()


def test_a_burst_on_both_queues_is_answered_to_the_last(crowd: tuple[Deployment, list[Spoke]]) -> None:
    """Revokes wake grant from account A's side while approvals are still coming in and keep its one instance busy."""
    cloud, spokes = crowd
    documents = [approval(spoke.uid, vpc) for spoke in spokes for vpc in spoke.vpcs]
    first, second = documents[::2], documents[1::2]
    cloud.send(*first)
    for document in first:
        assert cloud.answer(document, WAITING)["event"] == "done"
    slow = cloud.admin.plan(kind="slow", operation="GrantInstanceToExpressConnectRouter", seconds=0.2, times=None)
    closing = [revocation(document, "all") for document in first]
    cloud.send(*(one for pair in zip(closing, second, strict=True) for one in pair))
    for document in (*closing, *second):
        assert cloud.answer(document, WAITING)["event"] == "done"
    cloud.admin.clear(slow["number"])
    cloud.quiet()
    found = streams(cloud)
    assert sum(one["failures"] for one in found.values()) > 0, "nothing was refused: this shows nothing"
    assert cloud.lost() == {}
    assert set(dead_letters(cloud).values()) == {0}


def test_wakes_without_end_starve_no_approval(crowd: tuple[Deployment, list[Spoke]]) -> None:
    """Whoever may wake cannot keep approvals out by waking all the time."""
    cloud, spokes = crowd
    grants = [row.grant_id for row in cloud.rows("SELECT grant_id FROM grants")] or ["g-nobody"] * 48
    with a_stream_of_wakes(cloud, grants):
        until(lambda: streams(cloud)["wakes"]["delivered"] > 100, "the wakes are at it")
        documents = [approval(spoke.uid, next(spoke.vbrs)) for spoke in spokes[:6]]
        for document in documents:
            cloud.send(document)
            assert cloud.answer(document, WAITING)["event"] == "done"
    cloud.quiet()
    assert set(dead_letters(cloud).values()) == {0}
