"""Dead-letter queues as the counter looks through them: everything is shown, or it is said what is not; nothing stays hidden."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field

import pytest

from cli.letters import Dead, Looked, lines_of, look_through, look_through_all, of_message, taken
from shared.cloud.errors import made
from shared.cloud.keys import Keys
from shared.cloud.messaging import BATCH, Counts, Messaging, Parked
from shared.messages.completion import WAKE
from tests.configured import sealed

QUEUE = "ecr-approvals-dead"
APPROVAL = {
    "schema": "ecr-grants/approval/3",
    "action": "grant",
    "issuer": "tickets",
    "request_id": "REQ-1",
    "ecr": {"id": "ecr-7vrbqv9lcgvzqbwwkm", "owner_uid": "1000000000000001"},
    "instance": {"type": "VPC", "id": "vpc-1", "region": "cn-hangzhou", "owner_uid": "2000000000000002"},
    "allowed_prefixes": ["10.20.0.0/16"],
    "requested_by": "requester@example.com",
    "approved_by": ["approver@example.com", "second@example.com"],
    "approved_at": "2026-01-31T12:00:00Z",
    "reason": "for a test",
}

GRANT = "g-" + "0" * 24


@dataclass
class Queue(Messaging):
    """A queue in memory, by any name. ``refused``: what its caller may not do; ``hidden``: in somebody's hands."""

    messages: list[Parked]
    refused: set[str] = field(default_factory=set)
    hidden: int = 0
    counted: bool = True
    taken: set[str] = field(default_factory=set)

    def _check(self, operation: str) -> None:
        if operation in self.refused:
            raise made("AccessDenied", 403, f"the operator lacks the permission mns:{operation} on {QUEUE}", "no")

    def counts(self, _queue: str) -> Counts:
        """What it says."""
        self._check("GetQueueAttributes")
        return Counts(len(self.messages) - len(self.taken), self.hidden) if self.counted else Counts(0, 0)

    def peek(self, _queue: str) -> list[Parked]:
        """The first sixteen, always the same."""
        self._check("BatchPeekMessage")
        return [one for one in self.messages if one.message_id not in self.taken][:BATCH]

    def receive(self, _queue: str) -> list[Parked]:
        """Sixteen more."""
        self._check("BatchReceiveMessage")
        batch = [one for one in self.messages if one.message_id not in self.taken][:BATCH]
        self.taken |= {one.message_id for one in batch}
        return batch

    def delete(self, _queue: str, receipt: str) -> None:
        """Gone."""
        self.messages = [one for one in self.messages if one.receipt != receipt]

    def put_back(self, _queue: str, receipt: str) -> None:
        """To be seen again."""
        self._check("ChangeMessageVisibility")
        self.taken -= {one.message_id for one in self.messages if one.receipt == receipt}


def queue_of(count: int, **more: object) -> Queue:
    """A queue with so many messages."""
    return Queue([Parked(f"M-{number}", "{}", f"R-{number}", number) for number in range(count)], **more)  # type: ignore[arg-type]


def looked_through(queue: Queue, most: int = 1_000) -> Looked:
    """All that is found. Nothing is really hidden here, so nothing is waited for."""
    looked = Looked(most=most, back_seconds=0)
    look_through(queue, QUEUE, looked)
    return looked


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 40, 160])
@pytest.mark.parametrize("counted", [True, False], ids=["counted", "not counted"])
def test_every_message_is_shown_and_none_stays_hidden(count: int, counted: bool) -> None:
    """However many there are, and whether the queue counts them or not (the vendor retires the counts)."""
    queue = queue_of(count, counted=counted)
    looked = looked_through(queue)
    assert [one.name for one in looked.found] == [f"M-{number}" for number in range(count)]
    assert (looked.unseen, queue.taken) == ([], set())


def test_few_messages_are_only_peeked_at() -> None:
    """Looking hides nothing where a peek shows all; so less may be allowed."""
    queue = queue_of(15, refused={"BatchReceiveMessage", "ChangeMessageVisibility"})
    assert (len(looked_through(queue).found), looked_through(queue).unseen) == (15, [])


@pytest.mark.parametrize(
    ("refused", "found", "says"),
    [
        pytest.param("BatchPeekMessage", 0, "the operator lacks the permission mns:BatchPeekMessage", id="looking"),
        pytest.param(
            "BatchReceiveMessage", 16, "only the first 16 of 20, as the queue counts them: the op", id="taking"
        ),
        pytest.param("ChangeMessageVisibility", 20, "20 messages will be seen again only after", id="putting back"),
        pytest.param("GetQueueAttributes", 20, "how many messages it has: the operator lacks", id="counting"),
    ],
)
def test_what_is_refused_is_said(refused: str, found: int, says: str) -> None:
    """What could be seen is shown all the same; that something is missing is trouble."""
    looked = looked_through(queue_of(20, refused={refused}))
    assert len(looked.found) == found
    [line] = looked.failures
    assert line.startswith(f"{QUEUE}: {says}")


def test_messages_in_somebodys_hands_are_counted() -> None:
    """An empty look is not yet an empty queue."""
    looked = looked_through(queue_of(0, hidden=2))
    assert looked.unseen == [f"{QUEUE}: 2 messages that somebody has in hand just now; look again soon"]
    assert looked.failures == []


def test_what_cannot_be_reached_is_asked_once() -> None:
    """Each further queue would cost the whole time limit again; it is named all the same."""
    looked = Looked()
    look_through_all(Messaging("http://127.0.0.1:1", lambda: Keys("a", "b", "")), looked)
    [failure] = looked.failures
    assert "BatchPeekMessage on ecr-approvals-dead: the platform gave no usable answer" in failure
    assert "asking http://127.0.0.1:1" in failure
    assert looked.unseen[1:] == [
        f"{name}-dead: not asked after that" for name in ("ecr-grants-wakes", "ecr-associations", "ecr-asked")
    ]


def test_more_than_can_be_listed_is_said() -> None:
    """Taking thousands would hide them for long."""
    queue = queue_of(50)
    looked = looked_through(queue, most=32)
    assert len(looked.found) == 32
    assert looked.failures == [f"{QUEUE}: only the first 32 of 50, as the queue counts them"]
    assert queue.taken == set()


def test_an_interrupt_puts_back_what_was_taken() -> None:
    """Ctrl-C in the middle leaves nothing hidden."""
    queue = queue_of(20)

    def interrupted() -> None:
        with taken(queue, QUEUE, Looked(back_seconds=0)) as messages:
            for _ in messages:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert queue.taken == set()


def told(body: str) -> Dead:
    """What is said of a message with this body."""
    return of_message(QUEUE, Parked("M-1", body, "R-1", 0))


def test_a_dead_letter_names_request_instance_and_people() -> None:
    """In clear text, as Base64, and in the platform's envelope."""
    text = sealed(APPROVAL)
    coded = base64.b64encode(text.encode()).decode()
    wrapped = json.dumps([{"id": "M-1", "source": "acs:mns", "data": {"messageBody": coded}}])
    for body in (text, coded, wrapped):
        lines = list(lines_of(told(body)))
        assert lines[1:] == [
            "    an approval sealed with tickets-1 that no function could take; the seal is not opened here",
            "    instance vpc-1 of account 2000000000000002 in cn-hangzhou, for ecr-7vrbqv9lcgvzqbwwkm",
            (
                "    request REQ-1 of tickets: asked for by requester@example.com; "
                "approved by approver@example.com, second@example.com"
            ),
        ]
    facts = told(text).facts()
    assert facts["grant"]["instance_id"] == "vpc-1"
    assert facts["requests"] == [
        {
            "issuer": "tickets",
            "request_id": "REQ-1",
            "requested_by": "requester@example.com",
            "approved_by": ["approver@example.com", "second@example.com"],
        }
    ]


def test_what_is_unreadable_says_so_and_names_what_can_be_read() -> None:
    """One that is not sealed does not hide whose request it is."""
    lines = list(lines_of(told(json.dumps(APPROVAL | {"approved_at": "yesterday"}))))
    assert lines[1].startswith("    unreadable: the approval is not sealed")
    assert (
        "    request REQ-1 of tickets: asked for by requester@example.com; approved by approver@example.com, second@example.com"
        in lines
    )
    nothing = list(lines_of(told("{rotten")))
    assert nothing[1].startswith("    unreadable: the message is not JSON")
    assert nothing[2:] == ["    names no instance that could be read", "    names no request that could be read"]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"ecr": 1, "instance": [], "issuer": {}, "approved_by": 3}, id="parts of other kinds"),
        pytest.param(
            {"instance": {"id": None}, "approved_by": [None, 1], "request_id": ["x"]}, id="names that are none"
        ),
        pytest.param({"schema": None}, id="of no schema"),
        pytest.param({"request_id": "x" * 5_000}, id="endless"),
    ],
)
def test_no_letter_stops_the_list(changes: dict[str, object]) -> None:
    """Whatever is in it: some lines, and facts that are JSON."""
    one = told(json.dumps(APPROVAL | changes))
    assert all(len(line) < 2_000 for line in lines_of(one))
    json.dumps(one.facts())


def test_a_wake_names_its_grant() -> None:
    """It is nobody's request."""
    lines = list(lines_of(told(json.dumps({"schema": WAKE, "grant_id": GRANT}))))
    assert lines[1:] == ["    Wake that no function could take", f"    grant {GRANT}"]
