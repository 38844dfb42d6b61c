"""A new account B: what it applies to let us in, its entry for the configuration, and the proof that it does let us in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from pydantic import TypeAdapter, ValidationError

from cli.common import AsJson, NotSo, opened, reachable, troubles
from cli.config_folder import FILES, read_accounts
from cli.output import document, remark, say, texts
from cli.run import answer_of
from cli.standing import Trust, standing
from deploy.onboarding import Onboarding, fresh_prefix, spoke_accounts
from deploy.surroundings import RECONCILE, SPOKE_ROLE
from shared.errors import SettingsError
from shared.messages.check import AccountCheck
from shared.messages.forms import AccountId, RegionId
from shared.rules.consistency import Part
from shared.rules.inventory import Inventory
from shared.settings import read_settings

Facts = dict[str, Any]
_UID: TypeAdapter[str] = TypeAdapter(AccountId)
_REGION: TypeAdapter[str] = TypeAdapter(RegionId)

Account = Annotated[str, typer.Option(help="Uid of the account B.", show_default=False)]
ConfigFolder = Annotated[Path, typer.Option("--config", metavar="DIR", help="The folder of the configuration.")]
Region = Annotated[str, typer.Option(envvar="REGION", help="Of the functions, account B's stack and its instances.")]


Hub = Annotated[str | None, typer.Option(help="Uid of the account in which the functions run.", show_default=False)]
Prefix = Annotated[
    str | None,
    typer.Option(
        "--external-id-prefix",
        help="Where the accounts of a stack group share one; default: a fresh one, which nobody can guess.",
        show_default=False,
    ),
]
Observe = Annotated[bool, typer.Option("--observe", help="A role that can only read, for the mode observe.")]
TemplateUrl = Annotated[str, typer.Option(help="Where the console can fetch the template.", show_default=False)]
Prove = Annotated[
    bool, typer.Option("--check", help="Prove that the listed account lets us in, and print nothing else.")
]
Endpoint = Annotated[
    str | None,
    typer.Option(
        envvar="FC_ENDPOINT",
        help="With --check: Function Compute, https://{uid}.{region}.fc.aliyuncs.com; the deployed reconcile looks.",
        show_default=False,
    ),
]
Directly = Annotated[
    bool, typer.Option("--directly", help="With --check: look from here, with my own keys and the functions' settings.")
]
_UNNAMED = "TO-BE-NAMED"
CONFIG = Path("config")


def onboard(
    account: Account,
    hub: Hub = None,
    region: Region = "cn-hangzhou",
    name: Annotated[str, typer.Option(help="For its entry: what the account is called.")] = _UNNAMED,
    owner: Annotated[str, typer.Option(help="For its entry: the group that answers for it.")] = _UNNAMED,
    environment: Annotated[str, typer.Option(help="For its entry: such as production.")] = _UNNAMED,
    prefix: Prefix = None,
    observe: Observe = False,
    template_url: TemplateUrl = "",
    check: Prove = False,
    endpoint: Endpoint = None,
    directly: Directly = False,
    config: ConfigFolder = CONFIG,
    as_json: AsJson = False,
) -> None:
    """Say what an account B applies to let us in, and its entry for the configuration; with --check prove that it does.

    The external id is made here and printed once: hand it over with care, it belongs into the account's role and accounts.yaml.
    With --check the exit code is 1 when something is wrong or the account could not be entered; what cannot be proved safely is
    unknown, and says why. It writes nothing, and changes nothing in account B.
    """
    with troubles():
        uid = checked_uid(account, "--account")
        if check:
            _check(uid, endpoint, region, directly=directly, as_json=as_json)
            return
        if hub is None:
            raise SettingsError("--hub is missing: the uid of the account in which the functions run")
        listed, file = read_accounts(config), config / FILES[Part.INVENTORY]
        if listed is not None and uid in listed.accounts:
            raise NotSo(
                f"account {uid} is listed in {file} already; --check proves that it lets us in;"
                " to give it another external id, take its entry out first"
            )
        if listed is None:
            remark(f"there is no {file}: SpokeAccounts names this account alone")
        made = Onboarding(
            account=uid,
            hub=checked_uid(hub, "--hub"),
            prefix=prefix or fresh_prefix(),
            region=_region(region),
            observed=observe,
            template_url=template_url,
        )
        _hand_over(made, _entry(made, name, owner, environment), spokes_in(listed), config, as_json=as_json)


def _hand_over(made: Onboarding, entry: Facts, others: list[str], config: Path, *, as_json: bool) -> None:
    hub = {"SpokeAccounts": spoke_accounts([*others, made.account])}
    if as_json:
        document(
            {
                "account": made.account,
                "template": made.template,
                "parameters": made.parameters,
                "console": made.console,
                "stack": made.stack_command(),
                "commands": made.plain_commands(),
                "hub_parameters": hub,
                "entry": entry,
            }
        )
        return
    say(f"1. An administrator of account {made.account} applies {made.template}, once, in one region:")
    for key, value in made.parameters.items():
        say(f"     {key}={value}")
    say(f"   in the console   {made.console}")
    say("   or on the command line, in the project's folder")
    say(f"     {made.stack_command()}")
    say("   or without a stack")
    for command in made.plain_commands():
        say(f"     {command}")
    say(
        f"2. An administrator of account {made.hub} updates the stack of deploy/hub.yaml, all other parameters as they are:"
    )
    say(f"     SpokeAccounts={hub['SpokeAccounts']}")
    say(f"3. Under `accounts:` of {config / FILES[Part.INVENTORY]}, its owner a group of people.yaml:")
    texts("\n".join(f"  {line}" for line in yaml.safe_dump(entry, sort_keys=False).splitlines()))
    say("4. Checked, compared, signed as the next version, and applied:")
    for command in ("check", "diff"):
        say(f"     ecr-grants config {command} {config}")
    say(f"     ecr-grants config sign {config} --number N --previous DIGEST --key FILE --kid KID -o BUNDLE")
    say("     ecr-grants config apply BUNDLE")
    say(f"5. ecr-grants onboard --account {made.account} --check")


def _entry(made: Onboarding, name: str, owner: str, environment: str) -> Facts:
    """The account's part of accounts.yaml, read as the functions would read it. Raises SettingsError."""
    facts = {
        "name": name,
        "owner": owner,
        "environment": environment,
        "role": SPOKE_ROLE,
        "external_id": made.external_id,
        "regions": [made.region],
    }
    try:
        Inventory.model_validate({"version": 1, "accounts": {made.account: facts}})
    except ValidationError as error:
        fields = ", ".join(str(fault["loc"][-1]) for fault in error.errors())
        raise SettingsError(f"not fit for an entry of accounts.yaml: {fields}") from None
    return {made.account: facts}


def spokes_in(listed: Inventory | None) -> list[str]:
    """The accounts that are listed and entered by the role that account B's template makes."""
    return [] if listed is None else [uid for uid, account in listed.accounts.items() if account.role == SPOKE_ROLE]


# -- proof -------------------------------------------------------------------------------------------------------------


def _check(uid: str, endpoint: str | None, region: str, *, directly: bool, as_json: bool) -> None:
    """Raises typer.Exit(1) when something is wrong, or the account could not be entered."""
    if directly:
        found = _from_here(uid)
    elif endpoint is None:
        raise SettingsError(
            "--endpoint (FC_ENDPOINT) is missing: the deployed reconcile looks; or --directly, with my own keys"
        )
    else:
        found = _from_reconcile(uid, reachable(endpoint, "--endpoint (FC_ENDPOINT)"), region)
    counted = {verdict: sum(one["verdict"] == verdict for one in found) for verdict in ("ok", "wrong", "unknown")}
    if as_json:
        document({"account": uid, "findings": found, **counted})
    else:
        for one in found:
            say(f"{one['verdict']:<8}{one['about']}: {one['text']}")
        say(", ".join(f"{count} {verdict}" for verdict, count in counted.items()))
    if counted["wrong"] or found[0]["verdict"] != "ok":
        raise typer.Exit(1)


def _from_reconcile(uid: str, address: str, region: str) -> list[Facts]:
    """What the deployed function sees, by the very role that will look at the account from then on."""
    report = answer_of(address, region, RECONCILE, payload=AccountCheck(check=uid).event)
    findings = report.get("findings")
    if not isinstance(findings, list) or not findings:
        raise NotSo(
            f"{RECONCILE} answered with something else than findings: is what is deployed older than this command?"
        )
    return [{name: str(one.get(name, "?")) for name in ("about", "verdict", "text")} for one in findings]


def _from_here(uid: str) -> list[Facts]:
    """What the keys of whoever types see."""
    from shared.cloud.calls import Calls  # noqa: PLC0415  # the vendor's SDK takes a second to import
    from shared.cloud.entrance import Entrance  # noqa: PLC0415
    from shared.cloud.keys import home_keys  # noqa: PLC0415

    settings = read_settings()
    with opened(settings.ledger_url) as ledger:
        inventory = standing(ledger, Trust(settings.config_keys, settings.config_quorum)).inventory
    calls = Calls(settings, lambda: inventory, home_keys(None))
    findings = Entrance(calls, inventory, reads_only=False).examine(uid)
    return [one.facts() for one in findings]


def checked_uid(text: str, option: str) -> str:
    """A uid as it was typed. Raises SettingsError that names the option."""
    try:
        return _UID.validate_python(text)
    except ValidationError:
        raise SettingsError(f"{option} must be an account uid: 15 to 20 digits (found {text!r})") from None


def _region(text: str) -> str:
    try:
        return _REGION.validate_python(text)
    except ValidationError:
        raise SettingsError(f"--region (REGION) must be a region such as cn-hangzhou (found {text!r})") from None
