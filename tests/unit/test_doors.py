"""One door, one purpose: where an approval may come in, by all that an event can say of where it lay."""

from __future__ import annotations

import json

import pytest

from shared.errors import NotAllowed
from shared.loop.doors import Doors
from shared.messages.envelope import Item, again, items, unwrapped
from shared.rules.facts import Side
from shared.settings import EventSubject, Settings
from tests.configured import CONFIG_KEYS_TEXT

UID = "1000000000000001"
APPROVALS = f"acs:mns:cn-hangzhou:{UID}:queues/ecr-approvals"
WAKES = f"acs:mns:cn-hangzhou:{UID}:queues/ecr-grants-wakes"


def doors(subject: EventSubject = EventSubject.REQUIRED, account: str = UID) -> Doors:
    """The doors of a deployment with the usual names."""
    values = {
        "FC_REGION": "cn-hangzhou",
        "LEDGER_URL": "sqlite://",
        "CONFIG_KEYS": CONFIG_KEYS_TEXT,
        "EVENT_SUBJECT": subject,
    }
    return Doors(Settings.model_validate(values), account)


def opens(found: Doors, side: Side, subject: str | None) -> bool:
    """Whether an approval may come in; where it may not, the error has to name where it came from."""
    try:
        found.check(side, Item("M-1", "{}", subject))
    except NotAllowed:
        return False
    return True


@pytest.mark.parametrize(
    ("subject", "named"),
    [
        pytest.param(WAKES, f"'{WAKES}'", id="the queue"),
        pytest.param("\x1b[2J", "'\\x1b[2J'", id="what is no queue, so that a terminal shows it"),
        pytest.param("x" * 500, "x" * 77 + "...", id="the beginning of what is long"),
        pytest.param(None, "an event that names no queue", id="no queue at all"),
    ],
)
def test_a_refusal_says_where_the_approval_came_from(subject: str | None, named: str) -> None:
    """And where it should have come from."""
    with pytest.raises(NotAllowed) as refused:
        doors().check(Side.GRANT, Item("M-1", "{}", subject))
    assert str(refused.value).startswith(
        "an approval enters only through the queue ecr-approvals into the grant function"
    )
    assert named in str(refused.value)
    assert str(refused.value).endswith("into the grant function")


@pytest.mark.parametrize(
    ("subject", "may"),
    [
        pytest.param(APPROVALS, True, id="the approvals queue, as samples spell it"),
        pytest.param(APPROVALS.replace(":queues", ":/queues"), True, id="with the slash that other ARNs have"),
        pytest.param(WAKES, False, id="the queue of wakes"),
        pytest.param(WAKES.replace("grants-wakes", "associations"), False, id="account A's queue"),
        pytest.param(f"{APPROVALS}-dead", False, id="the dead letters of approvals"),
        pytest.param(APPROVALS.replace(UID, "2000000000000002"), False, id="a queue of that name of somebody else"),
        pytest.param(APPROVALS.replace("queues/", "topics/"), False, id="a topic of that name"),
        pytest.param("ecr-approvals", False, id="the name alone"),
        pytest.param(f"x{APPROVALS}", False, id="something before it"),
        pytest.param(f"{APPROVALS}\n", False, id="something behind it"),
        pytest.param("", False, id="an empty subject is not a missing one"),
        pytest.param(None, False, id="no subject: nothing tells where it came from"),
    ],
)
def test_approvals_enter_through_their_queue_only(subject: str | None, may: bool) -> None:
    """And never into account A's side, whatever the event says."""
    assert opens(doors(), Side.GRANT, subject) is may
    assert not opens(doors(), Side.ASSOCIATE, subject)


@pytest.mark.parametrize(
    ("subject", "may"),
    [
        pytest.param(None, True, id="no subject: the function decides"),
        pytest.param(APPROVALS, True, id="the approvals queue"),
        pytest.param(WAKES, False, id="a subject that is there is believed"),
        pytest.param("", False, id="an empty subject is not a missing one"),
    ],
)
def test_where_subjects_are_optional_a_missing_one_is_no_hindrance(subject: str | None, may: bool) -> None:
    """The fallback for a platform that leaves them out; account A's side takes none even then."""
    assert opens(doors(EventSubject.OPTIONAL), Side.GRANT, subject) is may
    assert not opens(doors(EventSubject.OPTIONAL), Side.ASSOCIATE, subject)


def test_an_account_that_is_not_known_is_not_compared() -> None:
    """A context without the account's id does not shut the door."""
    assert opens(doors(account=""), Side.GRANT, APPROVALS)


@pytest.mark.parametrize(
    ("side", "subject", "queue"),
    [
        pytest.param(Side.GRANT, APPROVALS, "ecr-approvals", id="an approval keeps its door"),
        pytest.param(Side.GRANT, WAKES, "ecr-grants-wakes", id="a hint keeps its door"),
        pytest.param(Side.GRANT, None, "ecr-grants-wakes", id="what came by no queue gets none that admits approvals"),
        pytest.param(Side.ASSOCIATE, WAKES, "ecr-associations", id="account A's side has one queue"),
        pytest.param(Side.ASSOCIATE, APPROVALS, "ecr-associations", id="and cannot pass anything on as an approval"),
        pytest.param(Side.ASSOCIATE, None, "ecr-associations", id="nor what came by no queue"),
    ],
)
def test_what_is_sent_again_gets_no_better_door(side: Side, subject: str | None, queue: str) -> None:
    """Otherwise a ledger that is away would turn what may not come in into what may."""
    assert doors().way_back(side, Item("M-1", "{}", subject)) == queue


def test_wrapping_changes_no_door() -> None:
    """A message that is sent again comes in where its wrapping comes in, whatever stands inside."""
    inner = Item("M-1", json.dumps({"subject": APPROVALS}), APPROVALS)
    assert unwrapped(Item("M-2", again(inner), WAKES)) == Item("M-1", inner.body, WAKES)


@pytest.mark.parametrize(
    ("element", "subject"),
    [
        pytest.param({"id": "e", "subject": WAKES, "data": {"messageBody": "b"}}, WAKES, id="a CloudEvent"),
        pytest.param({"id": "e", "data": {"messageBody": "b", "subject": APPROVALS}}, None, id="inside the data"),
        pytest.param({"messageBody": "b", "subject": APPROVALS}, None, id="bare data has none"),
        pytest.param({"id": "e", "subject": 7, "data": {"messageBody": "b"}}, None, id="no text is none"),
        pytest.param({"schema": "x", "subject": APPROVALS}, None, id="a message without any envelope"),
    ],
)
def test_only_the_platforms_envelope_says_where_a_message_lay(element: object, subject: str | None) -> None:
    """What the sender of a message can write is no subject."""
    for written in (element, [element], [json.dumps(element)]):
        [item] = items(json.dumps(written).encode())
        assert item.subject == subject
