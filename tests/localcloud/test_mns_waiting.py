"""Conformance: waiting for messages through the official Python SDK: long polls, and what wakes them."""

import pytest
from mns.mns_exception import MNSClientNetworkException, MNSServerException
from mns.queue import Message

from tests.functional.waiting import until
from tests.localcloud.conftest import RunCloud
from tests.localcloud.mns_kit import Hub, a_hub, code_of, in_thread, meta, waiters


@pytest.fixture
def hub(run_cloud: RunCloud) -> Hub:
    return a_hub(run_cloud, queues={"work": {}, "inbox": {}}, topics={"news": {}})


def test_long_poll_wakes_on_send(hub: Hub) -> None:
    """Two wait, one message comes: one of them gets it at once, the other waits on and times out in cloud time."""
    hub.queue("work").set_attributes(meta(visibility_timeout=3600))
    waiting = [in_thread(lambda: hub.queue("work").receive_message(30)) for _ in range(2)]
    until(lambda: waiters(hub) == 2, "2 wait")

    hub.queue("work").send_message(Message("a"))
    until(lambda: waiters(hub) == 1, "1 wait")
    hub.cloud.advance(29)
    assert waiters(hub) == 1
    hub.cloud.advance(2)

    outcomes = []
    for result in waiting:
        try:
            outcomes.append(result().message_body)
        except MNSServerException as error:
            outcomes.append(error.type)
    assert sorted(outcomes) == ["MessageNotExist", "a"]


def test_long_poll_wakes_when_visibility_or_delay_lapses(hub: Hub) -> None:
    """Whoever waits gets a message the moment it becomes visible again, or for the first time."""
    queue = hub.queue("work")
    queue.send_message(Message("delayed", delay_seconds=10))
    queue.send_message(Message("held"))
    queue.receive_message(0)

    first = in_thread(lambda: hub.queue("work").receive_message(30).message_body)
    until(lambda: waiters(hub) == 1, "1 wait")
    hub.cloud.advance(11)
    assert first() == "delayed"

    second = in_thread(lambda: hub.queue("work").batch_receive_message(16, 30))
    until(lambda: waiters(hub) == 1, "1 wait")
    hub.cloud.advance(21)
    assert [message.message_body for message in second()] == ["held"]


def test_long_poll_wakes_when_visibility_is_shortened(hub: Hub) -> None:
    """Somebody gives a message back early: whoever waits gets it then, not when it would have lapsed."""
    queue = hub.queue("work")
    queue.set_attributes(meta(visibility_timeout=3600))
    queue.send_message(Message("a"))
    handle = queue.receive_message(0).receipt_handle
    waiting = in_thread(lambda: hub.queue("work").receive_message(30).message_body)
    until(lambda: waiters(hub) == 1, "1 wait")

    queue.change_message_visibility(handle, 1)
    hub.cloud.advance(2)

    assert waiting() == "a"


def test_long_poll_ends_when_the_queue_is_deleted(hub: Hub) -> None:
    """Nobody waits on a queue that is gone."""
    waiting = in_thread(lambda: hub.queue("work").receive_message(30))
    until(lambda: waiters(hub) == 1, "1 wait")
    hub.queue("work").delete()

    assert code_of(waiting) == "QueueNotExist"


def test_queue_may_wait_by_itself(run_cloud: RunCloud) -> None:
    """PollingWaitSeconds is the wait of receives that say nothing; zero seconds is a wait of its own."""
    hub = a_hub(run_cloud, queues={"work": {"PollingWaitSeconds": 30}})
    waiting = in_thread(lambda: hub.queue("work").receive_message())
    until(lambda: waiters(hub) == 1, "1 wait")

    assert code_of(lambda: hub.queue("work").receive_message(0)) == "MessageNotExist"
    hub.queue("work").send_message(Message("a"))
    assert waiting().message_body == "a"


def test_abandoned_long_poll_takes_no_message(hub: Hub) -> None:
    """A client that hung up while it waited does not swallow the message that comes afterwards."""
    account = hub.account()
    account.get_client().set_connection_timeout(0.2)
    queue = account.get_queue("work")
    queue.set_encoding(False)
    with pytest.raises(MNSClientNetworkException):
        queue.receive_message(30)
    until(lambda: waiters(hub) == 1, "1 wait")

    hub.queue("work").send_message(Message("a"))

    assert hub.queue("work").receive_message(5).message_body == "a"


def test_long_poll_beyond_the_cap_answers_at_once(run_cloud: RunCloud) -> None:
    """The service may answer empty long polls at once; the switch makes it always do so."""
    hub = a_hub(run_cloud, queues={"work": {}}, switches={"long_poll": "immediate"})

    assert code_of(lambda: hub.queue("work").receive_message(30)) == "MessageNotExist"
    assert code_of(lambda: hub.queue("work").receive_message(31)) == "InvalidArgument"
