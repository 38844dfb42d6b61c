"""The table of a router's address ranges: what stands, what a request changes, what overlaps."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from shared.messages.consent import Wish
from shared.rules.ranges import Change, Entry, LeaseRange, changed, outside, size_of, table, total

DAY = 86_400_000


def lease(
    request: str, *prefixes: str, vpc: str = "vpc-1", issuer: str = "desk", ends_at: int | None = DAY
) -> LeaseRange:
    """An open lease on a grant of the test's router."""
    return LeaseRange(wish(vpc).grant.grant_id, vpc, "2000000000000002", issuer, request, prefixes, ends_at)


def wish(vpc: str = "vpc-1", **changes: Any) -> Wish:
    """A wish on that router."""
    document = {
        "kind": "grant",
        "ecr": {"id": "ecr-1abcdef", "owner_uid": "1000000000000001"},
        "instance": {"type": "VPC", "id": vpc, "region": "cn-hangzhou", "owner_uid": "2000000000000002"},
        "reason": "A test needs it",
        **changes,
    }
    return Wish.model_validate(document)


def said(entries: tuple[Entry, ...]) -> list[tuple[str, str, Change]]:
    """Prefix, instance, what becomes of it."""
    return [(one.prefix, one.instance_id, one.change) for one in entries]


def test_a_prefix_of_several_leases_is_one_entry_until_the_last_end() -> None:
    """And an endless one among them makes it endless."""
    (one,) = table([lease("r-1", "10.0.0.0/16", ends_at=DAY), lease("r-2", "10.0.0.0/16", ends_at=3 * DAY)])
    assert (one.requests, one.ends_at, one.endless, one.size) == (("r-1", "r-2"), 3 * DAY, False, 65_536)
    (two,) = table([lease("r-1", "10.0.0.0/16"), lease("r-2", "10.0.0.0/16", ends_at=None)])
    assert (two.ends_at, two.endless) == (None, True)


def test_overlaps_are_told_between_grants_and_not_within_one() -> None:
    """Both of them know it."""
    entries = table([lease("r-1", "10.0.0.0/8", "10.1.0.0/16"), lease("r-2", "10.1.128.0/17", vpc="vpc-2")])
    hits = {(one.prefix, one.instance_id): one.overlaps for one in entries}
    assert hits["10.0.0.0/8", "vpc-1"] == (("10.1.128.0/17", "vpc-2"),)
    assert hits["10.1.0.0/16", "vpc-1"] == (("10.1.128.0/17", "vpc-2"),)
    assert set(hits["10.1.128.0/17", "vpc-2"]) == {("10.0.0.0/8", "vpc-1"), ("10.1.0.0/16", "vpc-1")}


_NETWORKS = some.tuples(some.integers(0, 255), some.integers(8, 24)).map(
    lambda one: (
        f"10.{one[0] & (0xFF << max(0, 16 - one[1])) & 0xFF}.0.0/{max(one[1], 16)}" if one[1] >= 16 else "10.0.0.0/8"
    )
)


@given(some.lists(some.tuples(_NETWORKS, some.sampled_from(["vpc-1", "vpc-2", "vpc-3"])), max_size=12))
def test_overlaps_are_those_that_comparing_each_with_each_finds(given_: list[tuple[str, str]]) -> None:
    """However many nest."""
    from ipaddress import IPv4Network  # noqa: PLC0415  # for this alone

    entries = table([lease(f"r-{number}", prefix, vpc=vpc) for number, (prefix, vpc) in enumerate(given_)])
    for one in entries:
        expected = {
            (other.prefix, other.instance_id)
            for other in entries
            if other.grant_id != one.grant_id and IPv4Network(one.prefix).overlaps(IPv4Network(other.prefix))
        }
        assert set(one.overlaps) == expected


BOTH = [lease("r-1", "10.0.0.0/16"), lease("other", "10.9.0.0/16", issuer="tickets")]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        pytest.param(
            wish(allowed_prefixes=["10.2.0.0/16"]),
            [("10.0.0.0/16", Change.STAYS), ("10.2.0.0/16", Change.ADDED), ("10.9.0.0/16", Change.STAYS)],
            id="a new lease adds its own",
        ),
        pytest.param(
            wish(kind="change", replaces=["r-1"], allowed_prefixes=["10.2.0.0/16"]),
            [("10.0.0.0/16", Change.GONE), ("10.2.0.0/16", Change.ADDED), ("10.9.0.0/16", Change.STAYS)],
            id="a change takes what it replaces with it",
        ),
        pytest.param(
            wish(kind="change", replaces=["r-1"], allowed_prefixes=["10.0.0.0/16"]),
            [("10.0.0.0/16", Change.STAYS), ("10.9.0.0/16", Change.STAYS)],
            id="what stays is neither added nor gone",
        ),
        pytest.param(
            wish(kind="revoke", closes=["r-1"]),
            [("10.0.0.0/16", Change.GONE), ("10.9.0.0/16", Change.STAYS)],
            id="a revoke of one lease",
        ),
        pytest.param(
            wish(kind="revoke", closes="all"),
            [("10.0.0.0/16", Change.GONE), ("10.9.0.0/16", Change.STAYS)],
            id="all of the desk's are not those of other issuers",
        ),
        pytest.param(
            wish(kind="revoke", closes="everyone"),
            [("10.0.0.0/16", Change.GONE), ("10.9.0.0/16", Change.GONE)],
            id="everyone's are all of them",
        ),
        pytest.param(
            wish("vpc-2", kind="revoke", closes="everyone"),
            [("10.0.0.0/16", Change.STAYS), ("10.9.0.0/16", Change.STAYS)],
            id="and of no other grant",
        ),
    ],
)
def test_what_a_request_changes_is_marked(asked: Wish, expected: list[tuple[str, Change]]) -> None:
    """By network, with what goes in its place."""
    assert [(prefix, change) for prefix, _, change in said(changed(BOTH, asked, "r-9", 2 * DAY))] == expected


def test_a_request_that_counts_already_is_not_added_twice() -> None:
    """Looking at it afterwards shows what is so."""
    (one,) = changed([lease("r-9", "10.0.0.0/16")], wish(allowed_prefixes=["10.0.0.0/16"]), "r-9", DAY)
    assert (one.change, one.requests) == (Change.STAYS, ("r-9",))


def test_outside_is_what_no_range_of_a_list_holds_wholly() -> None:
    """Two halves hold their whole together; what is no network is outside."""
    allowed = ["10.0.0.0/17", "10.0.128.0/17", "nonsense"]
    assert outside(["10.0.0.0/16", "10.0.4.0/24", "10.0.0.0/15", "2001:db8::/32"], allowed) == (
        "10.0.0.0/15",
        "2001:db8::/32",
    )


def test_sizes_count_each_address_once() -> None:
    """And what is no IPv4 network has none."""
    assert total(["10.0.0.0/24", "10.0.0.128/25", "10.0.1.0/24"]) == 512
    assert (size_of("10.0.0.0/8"), size_of("::/0")) == (2**24, None)
