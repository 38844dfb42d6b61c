"""The queue as a state machine, without sockets: time is an argument."""

import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from localcloud.mns.attributes import QueueAttributes
from localcloud.mns.messages import Draft, Message, Property
from localcloud.mns.queues import Counts, DeadLetter, Queue
from localcloud.mns.visibility import Manner
from localcloud.refusal import Refusal

START = 1_800_000_000_000


def a_queue(dead_letter: DeadLetter | None = None, **given: int) -> Queue:
    attributes = QueueAttributes().changed({name: str(value) for name, value in given.items()})
    return Queue("1000000000000001", "work", attributes, START, dead_letter=dead_letter)


def bodies(queue: Queue, now_ms: int, count: int = 16) -> list[str]:
    return [receipt.message.body for receipt in queue.receive(count, now_ms)]


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises(Refusal) as refusal:
        call()
    return refusal.value.code


def test_received_message_is_hidden_until_its_visibility_lapses() -> None:
    """A received message is away until exactly the announced time, then it is there again with a higher count."""
    queue = a_queue(VisibilityTimeout=10)
    queue.send(Draft("a"), START)

    [first] = queue.receive(1, START + 5)

    assert first.next_visible_ms == START + 5 + 10_000
    assert queue.counts(START + 6) == Counts(active=0, inactive=1, delayed=0)
    assert not queue.receive(1, first.next_visible_ms - 1)
    [second] = queue.receive(1, first.next_visible_ms)
    assert (second.message.id, second.dequeue_count) == (first.message.id, 2)
    assert second.message.first_dequeued_ms == START + 5


def test_delayed_message_comes_after_its_delay() -> None:
    """A message's own delay wins over the queue's, and zero is a value of its own."""
    queue = a_queue(DelaySeconds=60)
    queue.send(Draft("queue's delay"), START)
    queue.send(Draft("own delay", delay_seconds=5), START)
    queue.send(Draft("none", delay_seconds=0), START)

    assert queue.counts(START) == Counts(active=1, inactive=0, delayed=2)
    assert bodies(queue, START) == ["none"]
    assert not bodies(queue, START + 4_999)
    assert bodies(queue, START + 5_000) == ["own delay"]
    assert bodies(queue, START + 60_000) == ["queue's delay", "own delay", "none"]


def test_handle_of_a_delayed_send_cancels_it() -> None:
    """Only a delayed send comes with a receipt handle; it deletes the message before anybody saw it."""
    queue = a_queue()
    _, none = queue.send(Draft("now"), START)
    _, handle = queue.send(Draft("later", delay_seconds=10), START)

    assert none is None
    assert handle is not None
    queue.delete(handle, START + 9_999)
    assert bodies(queue, START + 20_000) == ["now"]


def test_priority_first_then_age() -> None:
    """Within a queue read in order, 1 is the most urgent and equals come oldest first."""
    queue = a_queue()
    for body, priority in [("low", 16), ("first", 8), ("urgent", 1), ("second", 8)]:
        queue.send(Draft(body, priority=priority), START)

    assert [message.body for message in queue.peek(16, START)] == ["urgent", "first", "second", "low"]
    assert bodies(queue, START) == ["urgent", "first", "second", "low"]


def test_peek_changes_nothing() -> None:
    """A peek neither hides nor counts, and sees active messages only."""
    queue = a_queue()
    queue.send(Draft("a"), START)
    queue.send(Draft("hidden", delay_seconds=9), START)

    assert [message.body for message in queue.peek(16, START)] == ["a"]
    assert [message.dequeue_count for message in queue.peek(16, START)] == [0]
    assert bodies(queue, START) == ["a"]


def test_retention_removes_in_any_state() -> None:
    """What is older than the retention period is gone: active, delayed and in somebody's hands alike."""
    queue = a_queue(MessageRetentionPeriod=60, VisibilityTimeout=600)
    queue.send(Draft("active"), START)
    queue.send(Draft("delayed", delay_seconds=600), START)
    queue.send(Draft("held", priority=1), START)
    [held] = queue.receive(1, START)
    queue.send(Draft("younger"), START + 1)

    assert queue.counts(START + 59_999) == Counts(active=2, inactive=1, delayed=1)
    assert queue.counts(START + 60_000) == Counts(active=1, inactive=0, delayed=0)
    assert code_of(lambda: queue.delete(held.handle, START + 60_000)) == "MessageNotExist"
    assert bodies(queue, START + 60_000) == ["younger"]


def test_shorter_retention_counts_for_old_messages() -> None:
    """A changed retention period applies to the messages that are here already."""
    queue = a_queue()
    queue.send(Draft("a"), START)

    queue.set_attributes(queue.attributes.changed({"MessageRetentionPeriod": "60"}), START + 1)

    assert not bodies(queue, START + 60_000)


def test_each_receive_issues_a_new_handle_and_voids_the_old() -> None:
    """The handle of an earlier receive neither deletes nor prolongs once somebody else has the message."""
    queue = a_queue(VisibilityTimeout=10)
    queue.send(Draft("a"), START)
    [old] = queue.receive(1, START)
    [new] = queue.receive(1, START + 10_000)

    assert old.handle != new.handle
    assert code_of(lambda: queue.delete(old.handle, START + 10_001)) == "MessageNotExist"
    assert code_of(lambda: queue.change_visibility(old.handle, 5, START + 10_001)) == "MessageNotExist"
    queue.delete(new.handle, START + 10_001)
    assert len(queue) == 0


def test_lapsed_handle_is_worth_nothing_even_before_the_next_receive() -> None:
    """A handle is valid until NextVisibleTime, whether or not somebody received the message since."""
    queue = a_queue(VisibilityTimeout=10)
    queue.send(Draft("a"), START)
    [receipt] = queue.receive(1, START)

    assert code_of(lambda: queue.delete(receipt.handle, START + 10_000)) == "MessageNotExist"
    assert len(queue) == 1


@pytest.mark.parametrize("handle", ["", "x", "1-short", "1-" + "ä" * 32, "1-" + "a b" * 10, "a" * 300])
def test_malformed_handle_is_told_apart(handle: str) -> None:
    """A handle of impossible shape is a ReceiptHandleError, a plausible stranger's is a missing message."""
    queue = a_queue()

    assert code_of(lambda: queue.delete(handle, START)) == "ReceiptHandleError"


@pytest.mark.parametrize(
    "handle",
    [
        "8-0zxjHAX72zPzaztyz0z6GXzcSROgZnrPNl",
        "1-ODU4OTkzNDU5My0xNDM1MTk3NjAwLTItNg==",
        "MbZj6wDWli+QEauMZc8ZRv37sIW2iJKq3M9Mx/KSbkJ0",
    ],
)
def test_handles_as_seen_in_the_wild_are_well_formed(handle: str) -> None:
    """Handles of the real service's shapes are unknown here, not malformed."""
    assert code_of(lambda: a_queue().delete(handle, START)) == "MessageNotExist"


def test_visibility_change_counts_from_now() -> None:
    """A change restarts the clock at now: longer keeps the message away longer, shorter brings it back sooner."""
    queue = a_queue(VisibilityTimeout=30)
    queue.send(Draft("a"), START)
    [receipt] = queue.receive(1, START)

    longer, until = queue.change_visibility(receipt.handle, 100, START + 20_000)
    assert until == START + 120_000
    assert not bodies(queue, START + 119_999)
    shorter, until = queue.change_visibility(longer, 1, START + 119_999)
    assert until == START + 120_999
    assert shorter != longer
    assert bodies(queue, START + 120_999) == ["a"]


def test_handle_from_before_a_change_works_until_its_own_time() -> None:
    """Both handles delete while their own time lasts; where old ones are void, only the fresh one does."""
    queue = a_queue(VisibilityTimeout=30)
    for body in ("kept", "lapsed", "void"):
        queue.send(Draft(body), START)
    kept, lapsed, void = (queue.receive(1, START)[0].handle for _ in range(3))
    queue.change_visibility(kept, 100, START)
    fresh, _ = queue.change_visibility(lapsed, 100, START)
    queue.change_visibility(void, 100, START, keep=False)

    assert code_of(lambda: queue.delete(void, START + 1)) == "MessageNotExist"
    queue.delete(kept, START + 29_999)
    assert code_of(lambda: queue.delete(lapsed, START + 30_000)) == "MessageNotExist"
    queue.delete(fresh, START + 99_999)
    assert [message["body"] for message in queue.snapshot(START + 99_999)] == ["void"]


def test_old_handle_of_a_shortened_message_cannot_make_a_twin() -> None:
    """Hiding a message that is back already leaves one message, not two entries for it."""
    queue = a_queue(VisibilityTimeout=30)
    queue.send(Draft("a"), START)
    [receipt] = queue.receive(1, START)
    queue.change_visibility(receipt.handle, 1, START)

    assert queue.counts(START + 1_000).active == 1
    queue.change_visibility(receipt.handle, 5, START + 2_000)

    assert not bodies(queue, START + 6_999)
    assert bodies(queue, START + 7_000) == ["a"]
    assert not bodies(queue, START + 7_001)


def test_batch_delete_reports_only_failures() -> None:
    """Good handles delete, bad ones are reported with their reason, a handle given twice fails once."""
    queue = a_queue()
    queue.send(Draft("a"), START)
    queue.send(Draft("b"), START)
    first, second = (receipt.handle for receipt in queue.receive(2, START))

    failures = queue.delete_many([first, "bad", first, second], START)

    assert [(handle, refusal.code) for handle, refusal in failures] == [
        ("bad", "ReceiptHandleError"),
        (first, "MessageNotExist"),
    ]
    assert len(queue) == 0


@dataclass
class Grave:
    """Remembers what was buried."""

    open: bool = True

    def __post_init__(self) -> None:
        self.messages: list[Message] = []

    def bury(self, message: Message, _: DeadLetter) -> bool:
        if self.open:
            self.messages.append(message)
        return self.open


def test_message_received_too_often_is_buried() -> None:
    """It is handed out as often as the policy allows; the receive that would exceed it buries and looks further."""
    queue, grave = a_queue(DeadLetter("dead", 2), VisibilityTimeout=1), Grave()
    queue.send(Draft("poison"), START)
    queue.send(Draft("fine", priority=16), START)

    def receive(now_ms: int) -> list[str]:
        return [each.message.body for each in queue.receive(1, now_ms, bury=grave.bury)]

    assert receive(START) == ["poison"]
    assert receive(START + 1_000) == ["poison"]
    assert not grave.messages
    assert receive(START + 2_000) == ["fine"]
    assert [message.body for message in grave.messages] == ["poison"]
    assert len(queue) == 1


def test_message_whose_grave_is_missing_is_not_lost() -> None:
    """Without a dead-letter queue to move to, the message keeps being delivered."""
    queue, grave = a_queue(DeadLetter("dead", 1), VisibilityTimeout=1), Grave(open=False)
    queue.send(Draft("poison"), START)

    for again in range(3):
        assert [each.message.body for each in queue.receive(1, START + again * 1_000, bury=grave.bury)] == ["poison"]


def test_slices_return_less_than_there_is_but_starve_nothing() -> None:
    """A receive reads one slice: ten messages need several receives, and all of them come."""
    queue = a_queue()
    sent = [queue.send(Draft(str(number)), START)[0].body for number in range(10)]
    manner = Manner(shuffle=random.Random(1), slices=4)  # noqa: S311 - a seed

    batches = []
    while batch := [each.message.body for each in queue.receive(16, START, manner=manner)]:
        batches.append(batch)

    assert len(batches) == 4
    assert sorted(body for batch in batches for body in batch) == sent


def test_duplicated_delivery_leaves_the_message_active() -> None:
    """A planned duplicate is handed out and is there for the next receive as well, with its own handle."""
    queue = a_queue()
    queue.send(Draft("a"), START)

    [first] = queue.receive(16, START, manner=Manner(duplicate=True))
    [second] = queue.receive(16, START)

    assert first.message is second.message
    assert (first.dequeue_count, second.dequeue_count) == (1, 2)
    queue.delete(second.handle, START)
    assert not bodies(queue, START)


def test_size_limit_counts_properties() -> None:
    """Body and properties together may not be larger than MaximumMessageSize, measured in bytes."""
    queue = a_queue(MaximumMessageSize=1024)
    queue.check(Draft("a" * 1024))

    assert code_of(lambda: queue.check(Draft("ä" * 513))) == "InvalidArgument"
    crowded = Draft("a" * 1020, user_properties=(Property("k", "v", "STRING"),))
    assert code_of(lambda: queue.check(crowded)) == "InvalidArgument"


class Ringing:
    """A bell that remembers whether it was rung."""

    def __init__(self) -> None:
        self.rung = False

    def set(self) -> None:
        self.rung = True


def test_one_send_wakes_one_waiter_the_longest_waiting_first() -> None:
    """A message for one does not stir up all who wait; a hidden one tells everybody to look at their clocks."""
    queue, first, second, third = a_queue(), Ringing(), Ringing(), Ringing()
    for bell in (first, second, third):
        queue.wait(bell)

    queue.send(Draft("a"), START)
    assert (first.rung, second.rung, third.rung) == (True, False, False)
    queue.send(Draft("b", delay_seconds=5), START)
    assert (second.rung, third.rung) == (True, True)


def test_waiter_knows_when_to_look_again() -> None:
    """The next change is the earliest lapse of what is still hidden; deleted messages do not count."""
    queue = a_queue(VisibilityTimeout=10)
    queue.send(Draft("a"), START)
    queue.send(Draft("b", delay_seconds=30), START)
    [receipt] = queue.receive(1, START)

    assert queue.next_change_ms() == START + 10_000
    queue.delete(receipt.handle, START)
    assert queue.next_change_ms() == START + 30_000
    assert bodies(queue, START + 30_000) == ["b"]
    assert queue.next_change_ms() == START + 40_000


def test_stopping_to_wait_tells_whether_the_bell_was_rung() -> None:
    """Whoever leaves learns whether a wake-up was meant for it and has to be passed on."""
    queue, leaving, rung = a_queue(), Ringing(), Ringing()
    queue.wait(rung)
    queue.send(Draft("a"), START)
    queue.wait(leaving)

    assert queue.stop_waiting(leaving)
    assert not queue.stop_waiting(rung)


def test_closing_wakes_everybody() -> None:
    """When a queue is deleted nobody waits on."""
    queue, bell = a_queue(), Ringing()
    queue.send(Draft("a"), START)
    queue.wait(bell)

    queue.close()

    assert bell.rung
    assert queue.closed
    assert len(queue) == 0


def test_busy_queue_does_not_remember_what_is_gone() -> None:
    """Ten thousand messages that came and went leave almost nothing behind."""
    queue = a_queue()
    for number in range(10_000):
        queue.send(Draft("a"), START + number)
        [receipt] = queue.receive(1, START + number)
        queue.delete(receipt.handle, START + number)

    assert len(queue) == 0
    assert len(queue._aging) < 200
    assert len(queue._visibility._hidden) < 200
    assert len(queue._handles) == 0
