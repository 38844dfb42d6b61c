"""A page costs what it shows: the same work on a small world and on one that is a hundred times larger."""

import sys
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from alibabacloud_expressconnectrouter20230901 import models as ecr_models
from alibabacloud_vpc20160428 import models as vpc_models
from hypothesis import given
from hypothesis import strategies as st

from localcloud.journal import KEPT, Journal
from localcloud.ordered import Names, Shelf
from tests.localcloud.conftest import RunCloud
from tests.localcloud.harness import HANGZHOU, LocalCloud, Stage, stage
from tests.localcloud.mns_kit import a_hub


def steps(action: Callable[[], object]) -> int:
    """Lines of Python that an action runs, in this thread."""
    counted = [0]

    def trace(_frame: Any, event: str, _argument: Any) -> Any:
        counted[0] += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        action()
    finally:
        sys.settrace(before)
    return counted[0]


def inside(cloud: LocalCloud, action: Callable[[], object]) -> int:
    """Lines run in the cloud's own thread while it does something."""
    return cloud.inside(lambda _: steps(action))


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from("abcdef")), unique=True), st.integers(0, 5))
def test_a_shelf_is_in_order(places: list[tuple[int, str]], after: int) -> None:
    """Whatever is put in and taken out, reading goes from low to high and begins behind a place."""
    shelf: Shelf[tuple[int, str]] = Shelf()
    for place in places:
        shelf.add(place, place)
    for place in places[::3]:
        shelf.remove(place)
    left = sorted(set(places) - set(places[::3]))
    assert list(shelf) == left
    assert list(shelf.after((after, "c"))) == [place for place in left if place > (after, "c")]
    assert len(shelf) == len(left)


@given(st.lists(st.text("abc", min_size=1, max_size=3)), st.text("abc", max_size=2), st.text("abc", max_size=2))
def test_names_are_in_order(names: list[str], prefix: str, after: str) -> None:
    """Pages by prefix and place are those of a sorted list."""
    kept: Names[int] = Names()
    for at, name in enumerate(names):
        kept[name] = at
    for name in names[::2]:
        kept.take(name)
    left = sorted(set(names) - set(names[::2]))
    assert sorted(kept) == left
    assert list(kept.page(prefix=prefix, after=after)) == [
        name for name in left if name.startswith(prefix) and name > after
    ]
    assert list(kept.page(first=after)) == [name for name in left if name >= after]


# Networks


def grants(at: Stage, cloud: LocalCloud, many: int) -> None:
    """So many grants of B to A's ECR, and as many that have ended."""
    from localcloud.call import Call  # noqa: PLC0415 - used here only
    from localcloud.network import GrantKey  # noqa: PLC0415 - the same

    def make(running: Any) -> None:
        (caller,) = [key.caller for key in running.world._keys.values() if key.caller.account == at.spoke][:1]
        ecr_id = next(iter(running.network.ecrs))
        call = Call("ecr", "x", caller, at.spoke, HANGZHOU, "r", now=running.clock.now())
        for number in range(2 * many):
            key = GrantKey(ecr_id, at.hub, "VPC", f"vpc-{number:06d}", HANGZHOU)
            running.network.make_grant(key, at.spoke, call)
            if number % 2:
                running.network.end_grant(key, call)

    cloud.inside(make)


@pytest.mark.parametrize("side", ["ecr", "vpc"])
def test_pages_of_grants(run_cloud: RunCloud, side: str) -> None:
    """Both sides' listings: the same lines for a page of few and of many, in a stable order without gaps."""
    from localcloud.call import Call  # noqa: PLC0415 - the same
    from localcloud.ecr.common import EcrParams  # noqa: PLC0415 - the same
    from localcloud.ecr.grants import describe_granted  # noqa: PLC0415 - used here only
    from localcloud.params import Params  # noqa: PLC0415 - the same
    from localcloud.vpc import describe_vpc_grant_rules_to_ecr  # noqa: PLC0415 - the same

    found = []
    for many in (50, 5_000):
        at = stage()
        cloud = run_cloud(at.world)
        grants(at, cloud, many)
        owner = at.hub if side == "ecr" else at.spoke
        ecr_id = next(iter(cloud.cloud.network.ecrs))
        caller = next(key.caller for key in cloud.cloud.world._keys.values() if key.caller.account == owner)
        call = Call(side, "x", caller, owner, HANGZHOU, "r", now=cloud.cloud.clock.now())
        call.seen = call.now
        if side == "ecr":
            work = describe_granted(cloud.cloud, caller, EcrParams({"EcrId": ecr_id, "MaxResults": "10"}))
        else:
            asked = Params({"RegionId": HANGZHOU, "MaxResults": "10"})
            work = describe_vpc_grant_rules_to_ecr(cloud.cloud, caller, asked)
        assert work.look is not None
        look = work.look
        found.append(inside(cloud, lambda look=look, call=call: look(call)))  # type: ignore[misc]
    assert found[1] <= found[0] * 1.2


def test_all_pages_of_grants(run_cloud: RunCloud) -> None:
    """The SDK walks through: every grant once, oldest first, the total on every page, also when the past is looked at."""
    at = stage()
    cloud = run_cloud(at.world)
    grants(at, cloud, 23)
    client = cloud.vpc(at.b)

    def walk() -> list[str]:
        token, seen = "", []
        while True:
            body = client.describe_vpc_grant_rules_to_ecr(
                vpc_models.DescribeVpcGrantRulesToEcrRequest(
                    region_id=HANGZHOU, max_results=5, next_token=token or None
                )
            ).body
            assert body.total_count == "23"
            seen += [rule.instance_id for rule in body.grant_rule_models]
            token = body.next_token
            if not token:
                return seen

    seen = walk()
    assert sorted(seen) == [f"vpc-{number:06d}" for number in range(0, 46, 2)]
    cloud.admin.plan(kind="lag", seconds=0.001, service="vpc", times=None)
    assert walk() == seen
    ecr = cloud.ecr(at.a)
    asked = ecr_models.DescribeInstanceGrantedToExpressConnectRouterRequest(
        ecr_id=next(iter(cloud.cloud.network.ecrs)), instance_id="vpc-000004"
    )
    assert ecr.describe_instance_granted_to_express_connect_router(asked).body.total_count == 1


# Queues


def test_pages_of_queues(run_cloud: RunCloud) -> None:
    """A page of ten names costs the same among twenty queues and among a thousand."""
    from localcloud.mns.operations.table import OPERATIONS  # noqa: PLC0415 - used here only

    assert "ListQueue" in OPERATIONS
    found = []
    for many in (20, 1_000):
        hub = a_hub(run_cloud, queues={f"q-{number:04d}": {} for number in range(many)})
        queues = hub.cloud.mns.store.queues(hub.uid)
        found.append(inside(hub.cloud, lambda queues=queues: [*zip(range(10), queues.page(prefix="q-"), strict=False)]))  # type: ignore[misc]
        urls, marker = hub.account().list_queue(ret_number=10)
        assert [url.rpartition("/")[2] for url in urls] == [f"q-{number:04d}" for number in range(10)]
        urls, marker = hub.account().list_queue(ret_number=10, marker=marker)
        assert urls[0].endswith("/q-0010")
        assert bool(marker) == (many > 20)
    assert found[0] == found[1]


def test_looking_at_the_first_messages_of_many(run_cloud: RunCloud) -> None:
    """Peeking looks at as many messages as are asked for, and changes nothing."""
    from localcloud.mns.messages import Draft  # noqa: PLC0415 - used here only

    found = []
    for many in (20, 2_000):
        hub = a_hub(run_cloud, queues={"work": {}})
        queue = hub.cloud.mns.store.queue(hub.uid, "work")
        for number in range(many):
            queue.send(Draft(str(number)), 1)
        found.append(inside(hub.cloud, lambda queue=queue: queue.peek(5, 2)))  # type: ignore[misc]
        assert [message.body for message in queue.peek(5, 2)] == ["0", "1", "2", "3", "4"]
        assert [receipt.message.body for receipt in queue.receive(3, 3)] == ["0", "1", "2"]
    assert found[1] <= found[0] * 1.2


def test_attributes_of_a_queue_with_many_messages(run_cloud: RunCloud) -> None:
    """Counting is not looking at every message, and the counts are those of the messages."""
    from localcloud.mns.messages import Draft  # noqa: PLC0415 - used here only
    from localcloud.mns.queues import Counts  # noqa: PLC0415 - the same

    found = []
    for many in (20, 2_000):
        hub = a_hub(run_cloud, queues={"work": {}})
        queue = hub.cloud.mns.store.queue(hub.uid, "work")
        for number in range(many):
            queue.send(Draft(str(number), delay_seconds=60 * (number % 2)), 1)
        receipts = queue.receive(4, 2)
        queue.delete(receipts[0].handle, 3)
        queue.change_visibility(receipts[1].handle, 1, 3, keep=True)
        found.append(inside(hub.cloud, lambda queue=queue: queue.counts(3)))  # type: ignore[misc]
        assert queue.counts(3) == Counts(many // 2 - 4, 3, many // 2)
        assert queue.counts(1_500) == Counts(many // 2 - 3, 2, many // 2)
        assert queue.counts(60_002) == Counts(many - 1, 0, 0)
        assert queue.counts(700_000_000) == Counts(0, 0, 0)
    assert found[0] == found[1]


# The journal


def note(journal: Journal, number: int) -> None:
    """One entry: every thousandth is of another service."""
    service = "sts" if number % 1_000 == 0 else "mns"
    journal.note_refused(1.0, service, f"Op{number % 7}", "key", "r", 400, "Code", "text")


def test_pages_of_the_journal() -> None:
    """Reading ten entries costs the same at the start, in the middle and behind a filter, however long the record is."""
    journals = []
    for many in (2_000, 100_000):
        journal = Journal()
        for number in range(many):
            note(journal, number)
        journals.append(journal)
    small, large = journals
    pages: list[dict[str, Any]] = [{"limit": 10}, {"after": 1_000, "limit": 10}, {"service": "sts", "limit": 2}]
    for page in pages:
        assert steps(partial(large.read, **page)) <= 1.2 * steps(partial(small.read, **page)), page
    assert steps(lambda: large.read(after=99_990)) < 2 * steps(lambda: small.read(after=1_990))
    assert [entry["number"] for entry in large.read(service="sts", limit=3)] == [1, 1001, 2001]


def test_the_journal_forgets_what_is_old() -> None:
    """It keeps as many entries as it says at least, twice as many at most, and filters forget alike."""
    journal = Journal()
    for number in range(2 * KEPT + 10):
        note(journal, number)

    entries = journal.read(limit=2)
    assert [entry["number"] for entry in entries] == [KEPT + 1, KEPT + 2]
    assert journal.last == 2 * KEPT + 10
    numbers = [entry["number"] for entry in journal.read(service="sts")]
    assert numbers[0] > KEPT
    assert {later - earlier for earlier, later in pairwise(numbers)} == {1_000}
