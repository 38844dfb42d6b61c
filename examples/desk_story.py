"""What people do in the demo: one request, a batch of fifty, an emergency and its review; and requests in every state."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from examples.asking import (
    PEOPLE,
    Json,
    Person,
    Refused,
    batch_vpcs,
    cidr_of,
    in_hours,
    lapsed_long_ago,
    tell_checks,
    wish,
)
from examples.telling import clock, say, tell

_MANY = 10


class Following(Protocol):
    """Follows what the functions do, as ``examples.story`` has it."""

    def wait(self, wanted: Callable[[Json], bool], what: str) -> Json:
        """Until a completion like this comes, telling what happens."""
        ...

    def count(self, event: str, instances: Sequence[str], what: str, every: int) -> None:
        """Until this was published of each of these instances, telling only how many there are."""
        ...

    def follow(self) -> None:
        """Tell what happened since."""
        ...

    def skip(self) -> None:
        """Leave out what happened since."""
        ...


def desk_story(story: Following, address: str, many: int) -> None:
    """The whole of it, with a batch of so many. Raises Refused where the desk does not do what the demo says."""
    tell(f"People now, at the desk: {address}")
    people = {name: Person(name, address) for name in PEOPLE}
    _one(story, people)
    _batch(story, people, many)
    _urgent(story, people)
    _back(story, people, many)


def _one(story: Following, people: dict[str, Person]) -> None:
    vpc = "vpc-asked"
    asked = people["requester"].ask([wish(vpc, cidr_of(vpc), "Orders reach the data centre")])
    story.follow()
    takes = " and ".join(asked[0]["takes"])
    say(
        clock(),
        "requester",
        f"asked for {vpc}, without an end, as {asked[0]['request_id']}; it takes a yes for {takes}",
    )
    shown = people["orders-lead"].look(asked, story.follow)
    tell_checks(shown[0])
    _decide(people, shown, "as it was planned")
    story.wait(lambda one: _of(one, "associated", vpc), f"{vpc} to be ACTIVE")
    tell(f"The association of {vpc} is ACTIVE.")


def _decide(people: dict[str, Person], shown: list[Json], reason: str) -> None:
    for side, name in (("grant", "orders-lead"), ("associate", "network-lead")):
        people[name].decide(side, shown, reason)
        what = shown[0]["request_id"] if len(shown) == 1 else f"all {len(shown)}"
        say(clock(), name, f"said yes for the {side} side of {what}")


def _batch(story: Following, people: dict[str, Person], many: int) -> None:
    vpcs = [str(one["id"]) for one in batch_vpcs()[:many]]
    asked = people["requester"].ask([wish(vpc, cidr_of(vpc), "Many more of them") for vpc in vpcs])
    say(clock(), "requester", f"asked for {len(asked)} at once, as the batch {asked[0]['batch']}")
    shown = people["orders-lead"].look(asked, story.skip)
    failed = sum(one["failed"] for one in shown)
    say(clock(), "preflight", f"looked at {len(shown)}: {failed} checks failed")
    _decide(people, shown, "as it was planned for all of them")
    story.count("associated", vpcs, "ACTIVE", _MANY)
    tell(f"All {len(vpcs)} of the batch are ACTIVE.")


def _urgent(story: Following, people: dict[str, Person]) -> None:
    vpc = "vpc-urgent"
    asked = people["requester"].ask(
        [wish(vpc, cidr_of(vpc), "The line to the other site is down", ends_at=in_hours(12), emergency=True)]
    )
    say(clock(), "requester", f"asked for {vpc} as an emergency, for twelve hours: one yes of either side is enough")
    shown = people["network-lead"].look(asked, story.skip)
    people["network-lead"].decide("associate", shown, "it cannot wait")
    say(clock(), "network-lead", "said yes for the associate side; nobody was asked for the grant side")
    story.count("associated", [vpc], "ACTIVE", 1)
    request_id = asked[0]["request_id"]
    told = people["orders-lead"].get(f"/requests/{request_id}")
    say(clock(), "desk", f"{request_id} {told['ended']}")
    again = wish(vpc, cidr_of(vpc), "Once more", ends_at=in_hours(12), emergency=True)
    try:
        people["requester"].ask([again])
    except Refused as error:
        say(clock(), "desk", f"refused, as it must be: {error}")
    else:
        raise Refused("another emergency was let through before the first was reviewed")
    finding = {"in_order": True, "reason": "The line was down, and nothing else helped"}
    people["orders-lead"].post(f"/requests/{request_id}/review", finding)
    say(clock(), "orders-lead", "reviewed it: in order")


def _back(story: Following, people: dict[str, Person], many: int) -> None:
    vpcs = [*(str(one["id"]) for one in batch_vpcs()[:many]), "vpc-asked", "vpc-urgent"]
    gone = [revoke(vpc, "The demo is over") for vpc in vpcs]
    asked = people["orders-lead"].ask(gone)
    say(clock(), "orders-lead", f"revoked all {len(asked)}, as an owner of account B: nobody else has to agree")
    story.count("revoked", vpcs, "taken back", _MANY)


def revoke(vpc: str, reason: str) -> Json:
    """A wish to end whatever stands on a VPC's grant."""
    ended = wish(vpc, cidr_of(vpc), reason, kind="revoke", closes="everyone")
    return {name: value for name, value in ended.items() if name not in ("allowed_prefixes", "ends_at")}


def _of(completion: Json, event: str, vpc: str) -> bool:
    return completion["event"] == event and (completion.get("grant") or {}).get("instance_id") == vpc


def requests_in_every_state(address: str, ledger_url: str) -> None:
    """Ask, decide, refuse and withdraw, so that whoever signs in finds something of each."""
    from shared.ledger.configuration import newest_number  # noqa: PLC0415  # what no desk can say: what was asked last week
    from shared.ledger.consent import add_facts  # noqa: PLC0415
    from shared.ledger.transactions import Ledger  # noqa: PLC0415

    people = {name: Person(name, address) for name in PEOPLE}
    with contextlib.closing(Ledger(ledger_url)) as ledger:
        lapsed = lapsed_long_ago("vpc-lapsed", "requester", ledger.read(newest_number))
        ledger.write(add_facts, lapsed.request_id, lambda _: [lapsed])

    def ask(vpc: str, reason: str, **more: Any) -> list[Json]:
        asked = people["requester"].ask([wish(vpc, cidr_of(vpc), reason, ends_at=in_hours(12), **more)])
        return people["orders-lead"].look(asked, lambda: time.sleep(0.3))

    ask("vpc-waiting", "Waits for an owner of account B")
    people["orders-lead"].decide("grant", ask("vpc-asked", "Approved, and ACTIVE soon"), "it is ours to give")
    people["network-lead"].decide("associate", ask("vpc-urgent", "An emergency", emergency=True), "it cannot wait")
    people["orders-lead"].decide("grant", ask("vpc-refused", "Refused"), "not over this line", agrees=False)
    (gone,) = people["requester"].ask([wish("vpc-withdrawn", cidr_of("vpc-withdrawn"), "Asked by mistake")])
    people["requester"].post(f"/requests/{gone['request_id']}/withdrawal", {"reason": "asked by mistake"})
