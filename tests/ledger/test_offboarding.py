"""Offboard says what is live in an account B, on either database, and is not done while anything is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from deploy.surroundings import HUB_ROLE, SPOKE_ROLE
from shared.ledger.admission import admit
from shared.ledger.intents import saw
from shared.ledger.operating import set_hold
from shared.ledger.transactions import Ledger
from shared.messages.approval import RevokeApproval
from shared.messages.completion import EventKind
from shared.messages.seal import approval_from
from shared.rules.facts import Hold, HoldKind, Seen, Side
from tests.command import whole_command
from tests.ledger.kit import NOW, Database, closing, grant_id, opening, read, settle_side

B, OTHER = "2000000000000002", "3000000000000003"


def offboard(database: Database, uid: str = B, *more: str) -> Result:
    """The command, as it is typed."""
    words = ["offboard", "--ledger-url", database.url, "--account", uid, *more]
    return CliRunner().invoke(whole_command(), words)


def facts(database: Database, uid: str = B, *more: str) -> dict[str, Any]:
    """What it tells programs."""
    found: dict[str, Any] = json.loads(offboard(database, uid, "--json", *more).stdout)
    return found


def test_nothing_is_live_in_an_account_that_nobody_used(ledger: Ledger, database: Database) -> None:
    """Done: the inventory, the hub and the account itself are told what goes."""
    done = offboard(database)

    assert done.exit_code == 0
    assert f"nothing of account {B} is live" in done.stdout
    assert f"aliyun ram DeleteRole --RoleName {SPOKE_ROLE}" in done.stdout
    assert facts(database)["done"] is True


def test_a_live_grant_is_named_with_who_revokes_it(standing: Ledger, database: Database) -> None:
    """Not done: what stands, whose leases hold it, and that the role has to stay."""
    done = offboard(database)

    assert done.exit_code == 1
    assert f"{grant_id()}  vpc-1 on ecr-ledgertests: grant present, association ACTIVE" in done.stdout
    assert "tests revokes, and closes REQ-1" in done.stdout
    assert f"ecr-grants hold account {B}" in done.stdout
    assert "DeleteRole" not in done.stdout
    assert "the role in account B has to stay" in done.stderr
    assert f"account {B} is not offboarded: 1 of its grants are live" in done.stderr


def test_what_is_told_to_revoke_revokes(standing: Ledger, database: Database) -> None:
    """With what only the approver knows filled in, the message closes every lease; then, once it is down, it is done."""
    found = facts(database)
    assert found["done"] is False
    for number, revoke in enumerate(one for grant in found["live"] for one in grant["revokes"]):
        known = closing("all").model_dump(mode="json", by_alias=True)
        known |= revoke | {"request_id": f"REQ-OUT-{number}"}
        approved = approval_from(known)
        assert isinstance(approved, RevokeApproval)
        standing.write(admit, approved, f"message-out-{number}", NOW, standing.timing)
    assert [one["revokes"] for one in facts(database)["live"]] == [[]]

    for side in (Side.ASSOCIATE, Side.GRANT):
        standing.write(saw, read(standing, side), Seen("absent"), NOW)
        settle_side(standing, side, EventKind.DISSOCIATED if side is Side.ASSOCIATE else EventKind.REVOKED)
    assert facts(database)["done"] is True
    assert offboard(database).exit_code == 0


def test_an_approval_that_nothing_was_made_of_yet_is_live(admitted: Ledger, database: Database) -> None:
    """Else a grant would come up in an account that has just left."""
    assert offboard(database).exit_code == 1


def test_what_others_made_is_told_apart(ledger: Ledger, database: Database) -> None:
    """No lease of ours takes it down."""
    ledger.write(admit, opening(), "message-1", NOW, ledger.timing)
    ledger.write(saw, read(ledger, Side.GRANT), Seen("present", ours=False), NOW)
    assert "not granted by us" in offboard(database).stdout
    [live] = facts(database)["live"]
    assert live["ours"] is False


def test_a_hold_that_is_there_is_not_asked_for(standing: Ledger, database: Database) -> None:
    """What was done already is not told again."""
    standing.write(set_hold, Hold(HoldKind.ACCOUNT, B, everything=False, who="mei", reason="leaves", at=NOW), NOW)
    done = offboard(database)
    assert "ecr-grants hold account" not in done.stdout
    assert facts(database)["held"] is True


def test_other_accounts_do_not_count(standing: Ledger, database: Database) -> None:
    """One leaves, the others stay."""
    assert offboard(database, OTHER).exit_code == 0


def test_the_hub_is_told_who_is_left(ledger: Ledger, database: Database, tmp_path: Path) -> None:
    """By the inventory, without this account and without account A."""
    entry = {"name": "x", "owner": "x", "environment": "x", "role": SPOKE_ROLE, "external_id": "ecr-grants:x"}
    accounts = {
        B: entry,
        OTHER: entry,
        "1000000000000001": {**entry, "role": HUB_ROLE, "ecrs": {"ecr-ledgertests": {}}},
    }
    file = tmp_path / "accounts.yaml"
    file.write_text(json.dumps({"version": 1, "accounts": accounts}), "utf-8")

    found = facts(database, B, "--config", str(tmp_path))

    assert found["listed"] is True
    assert found["then"]["hub_parameters"] == {"SpokeAccounts": OTHER}
    done = offboard(database, B, "--config", str(tmp_path))
    assert f"Take the entry {B} out of {tmp_path}" in done.stdout
    assert f"SpokeAccounts={OTHER}" in done.stdout


@pytest.mark.parametrize("uid", ["4", "b"])
def test_what_is_no_account_is_refused(database: Database, uid: str) -> None:
    """In one line, with the exit code of a command line that cannot be used."""
    done = offboard(database, uid)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "--account must be an account uid" in done.stderr
