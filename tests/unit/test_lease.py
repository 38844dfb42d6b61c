"""Leases: what keeps a grant up. Order and repetition never matter."""

from __future__ import annotations

import dataclasses

import pytest

from shared.lease import Lease, Wanted, live, wanted

NOW = 1_000_000
LEASE = Lease(
    approval_id="a",
    issuer="direct",
    request_id="R1",
    approved_at=NOW - 100,
    ends_at=None,
    on_end="report",
    allowed_prefixes=("10.0.0.0/16",),
    closed=False,
    rejected=False,
)


@pytest.mark.parametrize(
    ("changes", "watermark", "alive"),
    [
        ({}, None, True),
        ({"closed": True}, None, False),
        ({"rejected": True}, None, False),
        ({}, NOW - 101, True),
        ({}, NOW - 100, False),
        ({"ends_at": NOW + 1, "on_end": "teardown"}, None, True),
        ({"ends_at": NOW, "on_end": "teardown"}, None, False),
        ({"ends_at": NOW, "on_end": "report"}, None, True),
    ],
)
def test_a_lease_is_live_while_nothing_ended_it(changes: dict[str, object], watermark: int | None, alive: bool) -> None:
    """Open, not closed, younger than the watermark, and not past an end that was approved to tear down."""
    assert live(dataclasses.replace(LEASE, **changes), watermark, NOW) is alive  # type: ignore[arg-type]


def test_a_grant_is_wanted_while_one_lease_lives_with_the_prefixes_of_all() -> None:
    """One request does not cut another off, and a dead one adds nothing."""
    other = dataclasses.replace(LEASE, approval_id="b", allowed_prefixes=("10.1.0.0/16", "10.0.0.0/16"))
    dead = dataclasses.replace(LEASE, approval_id="c", allowed_prefixes=("192.168.0.0/24",), closed=True)
    both = Wanted(up=True, prefixes=("10.0.0.0/16", "10.1.0.0/16"))
    assert wanted([LEASE, other, dead], None, NOW) == both == wanted([dead, other, LEASE], None, NOW)
    assert wanted([LEASE, dataclasses.replace(other, closed=True)], None, NOW) == Wanted(
        up=True, prefixes=("10.0.0.0/16",)
    )
    assert wanted([dead], None, NOW) == Wanted(up=False)


def test_prefixes_are_ordered_as_networks_not_as_text() -> None:
    """10.0.0.0/8 comes before 9.0.0.0/8 as text, after it as a network; the cloud's list is compared the same way."""
    lease = dataclasses.replace(LEASE, allowed_prefixes=("10.0.0.0/8", "9.0.0.0/8"))
    assert wanted([lease], None, NOW).prefixes == ("9.0.0.0/8", "10.0.0.0/8")
