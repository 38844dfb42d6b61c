"""The configuration as the ledger has it: applied, shown, compared with a folder, and tried on what was decided."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cli.common import As, AsJson, LedgerUrl, NotSo, formed, opened, operator_name, troubles
from cli.config_bundle import Opened, bundle_text, counted, fit, opened_bundle
from cli.config_leases import Unfit, flips, leases_facts, leases_lines, unfit_leases
from cli.keys import Directory
from cli.output import document, moment, remark, say
from cli.standing import Keys, Operator, Quorum, Trust, operator_by, standing, trust
from shared.errors import BadInput, NotAllowed, SettingsError
from shared.ledger.configuration import Kept, apply_version, deployment_id, history, newest_versions
from shared.ledger.decided import Recorded, applied_versions
from shared.ledger.transactions import Ledger, now_ms
from shared.loop.gate import Standing
from shared.messages.configuration import UNREADABLE, read_bundle
from shared.messages.forms import DeploymentId
from shared.rules.configuration import Configuration, Version, digest_of, stated, verified
from shared.rules.difference import difference
from shared.rules.questions import Command, TargetKind

Facts = dict[str, Any]
_DAY_MS = 86_400_000

SomeLedger = Annotated[
    str | None,
    typer.Option(
        "--ledger-url",
        envvar="LEDGER_URL",
        help="The ledger whose configuration it is compared with.",
        show_default=False,
    ),
]


# -- applied -----------------------------------------------------------------------------------------------------------


def apply(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="What `config sign` wrote.")],
    ledger_url: LedgerUrl,
    deployment: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="With the first version: what seals are addressed to. Default: a name that nobody else has.",
            show_default=False,
        ),
    ] = None,
    keys: Keys = "",
    quorum: Quorum = 1,
    claimed: As = None,
    as_json: AsJson = False,
) -> None:
    """Make a signed version the one that holds, from the functions' next event on.

    It must be signed by as many of the keys as the functions want, and be made for what holds now; the policy that holds must
    let you (operate, config-apply). Says what it changes, and which live leases it would not admit. It is an event of the record,
    with the name of whoever applied it. Safe to repeat.
    """
    with opened(ledger_url) as ledger:
        whom, text, who = trust(keys, quorum), bundle_text(bundle), operator_name(claimed)
        newest, named, found = ledger.read(newest_versions, 0)
        last = found[-1] if newest else None
        if _is(text, last, bundle):
            _tell_again(bundle, newest, as_json=as_json)
            return
        version = _version(bundle, text, whom, None if last is None else (last.number, last.digest))
        before = standing(ledger, whom)
        _by(who, before).ensure(Command.CONFIG_APPLY, TargetKind.CONFIGURATION, str(version.number))
        name = _deployment(deployment, named)
        lines = difference(before.version.configuration if before.version else None, version.configuration)
        if before.version is not None and before.fault is not None:
            lines.insert(0, f"compared with version {before.version.number}, the last that could be verified")
        kept = Kept(version.number, version.digest, version.previous, text, now_ms(), who)
        called = ledger.write(apply_version, kept, signers=version.signers, difference=lines, deployment=name)
        _warn(who, Standing(version.number, called, version, None))
        _tell_applied(version, called, who, lines, unfit_leases(ledger, version.configuration, called), as_json=as_json)


def _warn(who: str, now: Standing) -> None:
    """Who applied a policy by which they may not apply the next one should know it while others can."""
    try:
        operator_by(who, now).ensure(Command.CONFIG_APPLY, TargetKind.CONFIGURATION, str(now.number + 1))
    except NotAllowed as error:
        remark(f"by this version {who} may not apply the next one: {error}")


def _is(text: str, last: Kept | None, path: Path) -> bool:
    """Whether a bundle is the version that holds already, whoever signed it since."""
    try:
        return last is not None and digest_of(read_bundle(text).content) == last.digest
    except BadInput as error:
        raise SettingsError(f"{path}: {error}") from None


def _version(path: Path, text: str, whom: Trust, newest: tuple[int, str] | None) -> Version:
    """The version in a bundle. Raises SettingsError for one that cannot be used, and BadInput for one that is not for now."""
    from shared.rules.policy import Policy  # noqa: PLC0415  # Cedar, only where a policy is read

    try:
        version = verified(text, whom.keys, whom.quorum, newest)
    except BadInput as error:
        if error.code == UNREADABLE:
            raise SettingsError(f"{path}: {error}") from None
        raise
    faults = Policy(version.configuration.policy).faults()
    if faults:
        raise SettingsError(f"{path}: its policy answers nothing: {'; '.join(map(str, faults))}")
    return version


def _by(who: str, before: Standing) -> Operator:
    """Whoever applies, as the policy that holds knows them.

    Where no version can be verified, the keys that whoever deploys put there decide alone: so the first version comes in, and
    the one after a key that is not trusted any more.
    """
    if before.version is None and before.number:
        remark(f"no policy was asked whether {who} may do this: {before.fault}")
    return operator_by(who, before)


def _deployment(asked: str | None, named: str | None) -> str | None:
    name = None if asked is None else formed(DeploymentId, asked, "--deployment")
    if name is not None and named not in (None, name):
        raise NotSo(f"this deployment is called {named} since its first version: seals are addressed to it")
    return name


def _tell_again(path: Path, number: int, *, as_json: bool) -> None:
    if as_json:
        document({"applied": False, "number": number})
    else:
        say(f"{path} is version {number}, which holds already: nothing was changed")


def _tell_applied(
    version: Version, deployment: str, who: str, lines: list[str], unfit: list[Unfit], *, as_json: bool
) -> None:
    if as_json:
        facts = {"applied": True, "number": version.number, "digest": version.digest, "previous": version.previous}
        facts |= {"signers": list(version.signers), "who": who, "deployment": deployment, "difference": lines}
        document(facts | leases_facts(unfit))
        return
    say(f"{who} applied version {version.number} ({version.digest}), signed by {', '.join(version.signers)}")
    say(f"the deployment is called {deployment}: seals are addressed to that")
    _say_all("what it changes", lines)
    for line in leases_lines(unfit):
        say(line)


# -- looked at ---------------------------------------------------------------------------------------------------------


def show(
    ledger_url: LedgerUrl,
    number: Annotated[int | None, typer.Option(help="Which version. Default: the newest.", show_default=False)] = None,
    keys: Keys = "",
    quorum: Quorum = 1,
    as_json: AsJson = False,
) -> None:
    """Show the version that holds, or another: who signed and applied it, and all that it lists. No external id is shown.

    The newest is verified as the functions verify it; exit code 1 where they do not believe it.
    """
    with opened(ledger_url) as ledger:
        whom = trust(keys, quorum)
        versions = {one.number: one for one in ledger.read(history)}
        if not versions:
            raise NotSo("no configuration was applied yet; see `ecr-grants config apply`")
        one = versions.get(max(versions) if number is None else number)
        if one is None:
            raise NotSo(f"there is no version {number}: the newest is {max(versions)}")
        believed = standing(ledger, whom)
        recorded, content = ledger.read(applied_versions), _content(one)
        fault = believed.fault if one.number == believed.number else None
        facts = _version_facts(one, recorded.get(one.number)) | {
            "deployment": ledger.read(deployment_id),
            "fault": fault,
            "content": None if content is None else difference(None, content),
        }
        if as_json:
            document(facts)
        else:
            _tell_version(facts)
            say(f"the deployment is called {facts['deployment']}")
            _say_all("it lists", facts["content"] or ["nothing that could be read"])
        if fault is not None:
            raise NotSo(f"the functions do not believe it: {fault}")


def show_history(ledger_url: LedgerUrl, as_json: AsJson = False) -> None:
    """List all versions, oldest first: digest, signers, who applied it, when, and what it changed, as it was recorded."""
    with opened(ledger_url) as ledger:
        recorded = ledger.read(applied_versions)
        found = [_version_facts(one, recorded.get(one.number)) for one in ledger.read(history)]
    if as_json:
        document(found)
        return
    for one in found:
        _tell_version(one)
        for line in one["difference"]:
            say(f"  {line}")
    if not found:
        say("no configuration was applied yet")


def _version_facts(one: Kept, event: Recorded | None) -> Facts:
    """For programs. What the record does not have is empty: then the row was not made by a command of ours."""
    said = {} if event is None else event.facts
    return {
        "number": one.number,
        "digest": one.digest,
        "previous": one.previous,
        "signers": said.get("signers", []),
        "who": one.applied_by,
        "at": moment(one.applied_at),
        "recorded": said.get("digest") == one.digest,
        "difference": said.get("difference", []),
    }


def _tell_version(one: Facts) -> None:
    signers = ", ".join(one["signers"]) or "nobody that the record knows"
    say(f"version {one['number']}  {one['digest']}  applied {one['at']} by {one['who']}, signed by {signers}")
    if not one["recorded"]:
        say("  the record does not have it: see `ecr-grants ledger verify`")


def _content(one: Kept) -> Configuration | None:
    """What a version says, whoever signed it; None where it cannot be read."""
    try:
        return stated(read_bundle(one.bundle).content)[1]
    except BadInput:
        return None


def _say_all(title: str, lines: list[str]) -> None:
    say(f"{title}: {len(lines) or 'nothing'}")
    for line in lines:
        say(f"  {line}")


# -- compared ----------------------------------------------------------------------------------------------------------


def diff(
    folder: Directory,
    against: Annotated[
        Path | None,
        typer.Option(metavar="BUNDLE", help="Compare with a bundle instead of the ledger.", show_default=False),
    ] = None,
    ledger_url: SomeLedger = None,
    keys: Keys = "",
    quorum: Quorum = 1,
    as_json: AsJson = False,
) -> None:
    """Say in words what is different in the folder from what holds, and which live leases it would not admit.

    With --against: from a bundle, whose signatures are checked where CONFIG_KEYS is set.
    """
    with troubles():
        new = fit(folder)
        if against is not None:
            _tell_against(folder, opened_bundle(against, keys), new, as_json=as_json)
            return
        if ledger_url is None:
            raise SettingsError("say what to compare with: --ledger-url (LEDGER_URL), or --against BUNDLE")
    with opened(ledger_url) as ledger:
        before = standing(ledger, trust(keys, quorum))
        if before.fault is not None and before.number:
            remark(f"{before.fault}; compared with version {before.version.number if before.version else 'none'}")
        lines = difference(before.version.configuration if before.version else None, new)
        unfit = unfit_leases(ledger, new, before.deployment)
        newest = ledger.read(newest_versions, 0)[2][-1:]
        digest = newest[0].digest if newest else ""
        if as_json:
            document(
                {"against": {"number": before.number, "digest": digest}, "difference": lines} | leases_facts(unfit)
            )
            return
        if before.version is None:
            say(f"nothing to compare with: {before.fault}")
        elif not lines:
            say(f"{folder} says what version {before.version.number} says")
        for line in (*lines, *leases_lines(unfit)):
            say(line)
        successor = f"--number {before.number + 1} --previous {digest}" if digest else "--number 1"
        say(f"as the next version: ecr-grants config sign {folder} {successor} --key FILE --kid KID -o BUNDLE")


def _tell_against(folder: Path, before: Opened, new: Configuration, *, as_json: bool) -> None:
    lines = difference(before.configuration, new)
    if as_json:
        document({"against": before.facts, "difference": lines})
    elif not lines:
        say(f"{folder} says what version {before.said.number} says")
    for line in lines if not as_json else ():
        say(line)


def replay(
    ledger_url: LedgerUrl,
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="DIR", help="The folder of the policy. Default: the one that holds.", show_default=False
        ),
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=36_500, help="How far back.")] = 90,
    keys: Keys = "",
    quorum: Quorum = 1,
    as_json: AsJson = False,
) -> None:
    """Ask a policy again what was asked, and tell which recorded decisions would be others. Exit code 1 when there is one.

    Each question is asked as it was recorded: what accounts, people and issuers would come to now is not counted anew, which
    `config diff` does for what is live.
    """
    with opened(ledger_url) as ledger:
        from shared.rules.policy import Policy  # noqa: PLC0415  # Cedar, only where a policy is read

        configuration = _that_holds(ledger, trust(keys, quorum)) if folder is None else fit(folder)
        count, found = flips(ledger, Policy(configuration.policy), now_ms() - days * _DAY_MS)
        if as_json:
            document({"days": days, "decisions": count, "flips": [one.facts() for one in found]})
        for one in found if not as_json else ():
            say(one.text)
        if not as_json:
            say(f"{counted(count, 'decision')} of the last {counted(days, 'day')}: {len(found)} would be others")
        if found:
            raise NotSo(f"{counted(len(found), 'decision')} would be others")


def _that_holds(ledger: Ledger, whom: Trust) -> Configuration:
    found = standing(ledger, whom)
    if found.version is None or found.fault is not None:
        raise NotSo(f"{found.fault}; name a folder to ask its policy")
    return found.version.configuration
