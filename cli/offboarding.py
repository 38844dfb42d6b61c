"""An account B leaves: what is live there, what has to be revoked, and what is deleted once nothing is left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cli.common import AsJson, LedgerUrl, NotSo, opened
from cli.config_folder import FILES, read_accounts
from cli.onboarding import CONFIG, Account, ConfigFolder, Region, checked_uid, spokes_in
from cli.output import document, remark, say
from deploy.onboarding import spoke_accounts, undo_commands, undo_stack_command
from shared.ledger.operating import read_holds
from shared.ledger.views import GrantView, grant_ids, view_grants
from shared.rules.consistency import Part
from shared.rules.facts import HoldKind
from shared.rules.inventory import Inventory

Facts = dict[str, Any]


def offboard(
    ledger_url: LedgerUrl,
    account: Account,
    region: Region = "cn-hangzhou",
    config: ConfigFolder = CONFIG,
    as_json: AsJson = False,
) -> None:
    """Say what is live in an account B, what to revoke, and what to delete once nothing is.

    Exit code 1 while anything is live there, by the ledger: then its role must stay, or nobody can take the grants back.
    """
    with opened(ledger_url) as ledger:
        uid = checked_uid(account, "--account")
        views = [one for one in ledger.read(view_grants, ledger.read(grant_ids, history=False)) if _is_live(one, uid)]
        held = any(hold.kind is HoldKind.ACCOUNT and hold.name == uid for hold in ledger.read(read_holds))
        listed, file = read_accounts(config), config / FILES[Part.INVENTORY]
        if listed is None:
            remark(f"there is no {file}: it is not known which accounts are left")
        if as_json:
            document(_facts(uid, region, views, listed, held=held))
        else:
            _tell(uid, region, views, listed, file, held=held)
        if views:
            raise NotSo(f"account {uid} is not offboarded: {len(views)} of its grants are live")


def _is_live(one: GrantView, uid: str) -> bool:
    """Whether something of a grant of this account is up, wanted or under way."""
    if one.key.instance_owner_uid != uid:
        return False
    open_leases = any(not (each.lease.closed or each.lease.ended or each.lease.rejected) for each in one.leases)
    sides = (one.grant, one.associate)
    return open_leases or any(not side.row.nothing_up or not side.settled for side in sides)


def _revokes(one: GrantView) -> list[Facts]:
    """What has to be approved for this grant to go: an approval for each issuer to seal, without what only its approver knows."""
    issuers: dict[str, list[str]] = {}
    for each in one.leases:
        if not (each.lease.closed or each.lease.ended or each.lease.rejected):
            issuers.setdefault(each.lease.issuer, []).append(each.lease.request_id)
    key = one.key
    about = {
        "schema": "ecr-grants/approval/3",
        "action": "revoke",
        "ecr": {"id": key.ecr_id, "owner_uid": key.ecr_owner_uid},
        "instance": {
            "type": str(key.instance_type),
            "id": key.instance_id,
            "region": key.instance_region,
            "owner_uid": key.instance_owner_uid,
        },
    }
    return [{**about, "issuer": issuer, "closes": sorted(requests)} for issuer, requests in sorted(issuers.items())]


def _facts(uid: str, region: str, views: list[GrantView], listed: Inventory | None, *, held: bool) -> Facts:
    return {
        "account": uid,
        "done": not views,
        "held": held,
        "listed": listed is not None and uid in listed.accounts,
        "live": [
            {
                "grant_id": one.grant_id,
                "instance_id": one.key.instance_id,
                "ecr_id": one.key.ecr_id,
                "grant": one.grant.row.state,
                "association": one.associate.row.state,
                "ours": one.grant.row.ours,
                "revokes": _revokes(one),
            }
            for one in views
        ],
        "then": {
            "hub_parameters": {"SpokeAccounts": _left(uid, listed)},
            "stack": undo_stack_command(region),
            "commands": undo_commands(),
        },
    }


def _left(uid: str, listed: Inventory | None) -> str | None:
    """SpokeAccounts without this one; None where that would be nobody, or nobody knows."""
    others = [other for other in spokes_in(listed) if other != uid]
    return spoke_accounts(others) if others else None


def _tell(uid: str, region: str, views: list[GrantView], listed: Inventory | None, file: Path, *, held: bool) -> None:
    if views:
        _tell_live(uid, views, held=held)
        return
    say(f"nothing of account {uid} is live")
    if listed is not None and uid in listed.accounts:
        say(f"1. Take the entry {uid} out of {file}, and have that signed and applied (`ecr-grants config`).")
    left = _left(uid, listed) or "…, without this account"
    say(f"2. An administrator of the hub account updates the stack of deploy/hub.yaml: SpokeAccounts={left}")
    say(f"3. An administrator of account {uid} deletes the stack in the console, or")
    say(f"     {undo_stack_command(region)}")
    say("   or, where there is none,")
    for command in undo_commands():
        say(f"     {command}")


def _tell_live(uid: str, views: list[GrantView], *, held: bool) -> None:
    """What has to go, and how; the role in account B has to stay for that."""
    if not held:
        say(f"Let nothing new be made there: ecr-grants hold account {uid} --reason …")
    say(
        "Have this revoked by who approved it: --json has the approvals, without what only the approver knows. Each is completed,"
    )
    say("sealed by its issuer (by hand: ecr-grants seal), and put on the queue:")
    for one in views:
        seen = f"grant {one.grant.row.state}, association {one.associate.row.state}"
        say(f"  {one.grant_id}  {one.key.instance_id} on {one.key.ecr_id}: {seen}")
        for revoke in _revokes(one):
            say(f"    {revoke['issuer']} revokes, and closes {', '.join(revoke['closes'])}")
        if one.grant.row.ours is False:
            say("    not granted by us: whoever granted it takes it back in account B's console")
    remark("the role in account B has to stay until all of this is gone: without it nobody can take it back")
