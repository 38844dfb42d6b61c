"""`ecr-grants doctor`: whether everything that a deployment needs fits together, each thing for itself."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.common import AsJson, opened, reachable, troubles
from cli.config_bundle import counts_of
from cli.output import document, say
from cli.standing import Believed, Trust, standing
from shared.errors import GrantError, LedgerError, SettingsError
from shared.ledger.health import clock_ahead, end_fault, end_of, transport
from shared.ledger.operating_seen import say_found
from shared.ledger.schema import check_schema
from shared.ledger.transactions import Ledger, is_file, now_ms, place
from shared.rules.configuration import Version
from shared.rules.health import (
    Check,
    Finding,
    Verdict,
    clock_finding,
    elsewhere,
    misspelt,
    ok,
    tls_finding,
    unknown,
    wrong,
)
from shared.setting_forms import checked_address
from shared.settings import Settings, examined, read_desk, read_signing, setting_names

if TYPE_CHECKING:
    from cli.doctor_patient import Patient
    from cli.doctor_template import Wanted
    from shared.cloud.secrets import Secrets

_IDENTITY_MS = 2_500
_CONNECT_SECONDS = 3
_LEDGER = "ledger"
_FC = "https://{uid}.{region}.fc.aliyuncs.com"
_CONTROL = "https://mns-open.{region}.aliyuncs.com"
_OURS = {
    *("FC_ENDPOINT", "MNS_OPEN_ENDPOINT", "REGION", "HEAD_PUBLIC_KEY", "ECR_GRANTS_USER"),
    *("DESK_LEDGER_URL", "DESK_LEDGER_SECRET", "DESK_RUNTIME", "DESK_ROLE"),
}
"""Variables that commands and s.yaml read, and functions do not."""
_SETTINGS = "docs/operating.md, Settings, says what it may be"


def doctor(
    template: Annotated[Path, typer.Option(help="What was deployed, as make deploy-folder wrote it.")] = Path(
        ".local/s.yaml"
    ),
    endpoint: Annotated[str, typer.Option(envvar="FC_ENDPOINT", help="Function Compute.")] = _FC,
    mns_open_endpoint: Annotated[
        str, typer.Option(envvar="MNS_OPEN_ENDPOINT", help="The control API of queues and topics.")
    ] = _CONTROL,
    region: Annotated[str, typer.Option(envvar="REGION", help="The functions' region.")] = "cn-hangzhou",
    service: Annotated[
        str | None, typer.Option(help="The FC 2.0 service they are in; FC 3.0 functions have none.")
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the result in the ledger (LEDGER_URL), where the desk shows it.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Look whether a deployment fits together: settings, ledger, queues, topic, functions, accounts, and say what to do.

    Run it in the checkout, with the environment that `make deploy` was run with. Nothing is changed; with --keep what is not ok
    is kept. Each look ends ok, wrong with what to do, or unknown with why; unknown is no failure. Exit code 1 when something is
    wrong. Credentials come from ALIBABA_CLOUD_ACCESS_KEY_ID, ALIBABA_CLOUD_ACCESS_KEY_SECRET and ALIBABA_CLOUD_SECURITY_TOKEN;
    they need the policy ecr-grants-operator, and for the functions' own settings ecr-grants-deployer too.
    """
    with troubles():
        found = look(template, Addresses(endpoint, mns_open_endpoint, region, service))
    order, verdicts = list(Check), list(Verdict)
    found.sort(key=lambda one: (order.index(one.check), verdicts.index(one.verdict)))
    counts = {verdict.value: sum(one.verdict is verdict for one in found) for verdict in Verdict}
    if as_json:
        document({"counts": counts, "findings": [one.facts() for one in found]})
    else:
        for line in _lines(found):
            say(line)
        say(", ".join(f"{count} {verdict}" for verdict, count in counts.items()))
    if keep:
        with opened(os.environ.get("LEDGER_URL", "")) as ledger:
            told = {"counts": counts, "findings": [one.facts() for one in found if one.verdict is not Verdict.OK]}
            ledger.write(say_found, "doctor", told, now_ms())
    if counts[Verdict.WRONG.value]:
        raise typer.Exit(1)


@dataclass(frozen=True)
class Addresses:
    """What the command line says beside the settings. Addresses may hold ``{region}`` and ``{uid}``."""

    functions: str
    control: str
    region: str
    service: str | None

    def named(self, settings: Settings) -> dict[str, str]:
        """Every address that is asked from here, by its variable."""
        told = {"MNS_ENDPOINT": settings.mns_endpoint, "STS_ENDPOINT": settings.sts_endpoint}
        return told | {"FC_ENDPOINT": self.functions, "MNS_OPEN_ENDPOINT": self.control}


def look(template: Path, where: Addresses) -> list[Finding]:
    """Everything that can be found out in ten seconds. Raises SettingsError for an address on the command line that is none."""
    from cli.doctor_patient import SECONDS, Probe, examine  # noqa: PLC0415  # the vendor's SDKs, only where they are needed

    until = time.monotonic() + SECONDS
    settings, faults = examined(where.region)
    addresses = where.named(settings)
    for name, address in addresses.items():  # all of them: who is near must not be looked for behind a proxy
        _address(address, name, settings.region, "0")
    found = list(_settings(settings, faults, addresses))
    believed: Believed = Future()
    patient, told_of_keys = _patient(settings, believed, where, template)
    found += [*_head_key(), *told_of_keys]
    ledger = (Check.LEDGER, Check.TLS, Check.SCHEMA, Check.CHAIN, Check.CONFIGURATION)
    secrets = None if patient is None else patient.secrets()
    probes = [Probe(_LEDGER, ledger, lambda: _whole_ledger(settings, secrets, believed))]
    if patient is None:
        found += _not_asked()
    else:
        from cli.doctor_cloud import cloud_probes  # noqa: PLC0415

        for name, what in elsewhere(addresses, settings.region, patient.uid):
            if what.startswith("account"):
                text = f"names {what}, the key belongs to account {patient.uid}"
                found.append(wrong(Check.CREDENTIALS, name, text, "use a key of the account that the functions run in"))
        probes += cloud_probes(patient)
    return found + examine(probes, max(0.5, until - time.monotonic()))


def _address(address: str, name: str, region: str, uid: str) -> str:
    try:
        return reachable(checked_address(address).format(region=region, uid=uid), name)
    except ValueError as error:
        raise SettingsError(f"{name} {error}") from None


# -- here --------------------------------------------------------------------------------------------------------------


def _settings(settings: Settings, faults: dict[str, str], addresses: dict[str, str]) -> Iterator[Finding]:
    bad = [wrong(Check.SETTINGS, name, text, f"set {name}; {_SETTINGS}") for name, text in faults.items()]
    bad += [
        wrong(Check.SETTINGS, name, f"is read by nobody: {meant} is meant", f"set {meant} instead")
        for name, meant in misspelt(os.environ, setting_names() | _OURS)
    ]
    bad += [
        wrong(
            Check.SETTINGS, name, f"names {what}, and the functions are in {settings.region}", f"set {name} or REGION"
        )
        for name, what in elsewhere(addresses | {"VPC_ENDPOINT": settings.vpc_endpoint}, settings.region)
    ]
    if os.environ.get("DESK_ADDRESS"):
        try:
            read_desk()
        except SettingsError as error:
            bad.append(wrong(Check.SETTINGS, "desk", f"{error}: the desk cannot start with it", _SETTINGS))
    yield from bad or [ok(Check.SETTINGS, "environment", f"every setting can be used; region {settings.region}")]


def _head_key() -> Iterator[Finding]:
    try:
        if read_signing().head_key is not None:
            yield ok(Check.SECRETS, "HEAD_KEY", "is an Ed25519 private key")
    except SettingsError as error:
        text = f"{error}: reconcile cannot start with it"
        yield wrong(Check.SECRETS, "HEAD_KEY", text, "set the key that was made for this deployment, or none")


def _patient(
    settings: Settings, believed: Believed, where: Addresses, template: Path
) -> tuple[Patient | None, list[Finding]]:
    """The deployment that the key leads to, and what is to be said about the key; None where it leads nowhere."""
    from cli.doctor_patient import Patient  # noqa: PLC0415
    from cli.doctor_template import read_template  # noqa: PLC0415
    from shared.cloud.identity import who_am_i  # noqa: PLC0415
    from shared.cloud.keys import home_keys  # noqa: PLC0415

    about = "access key"
    try:
        keys = home_keys(None)
    except SettingsError:
        text = "there are none in the environment"
        remedy = (
            "set ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET, of a session also …_SECURITY_TOKEN"
        )
        return None, [wrong(Check.CREDENTIALS, about, text, remedy)]
    try:
        identity = who_am_i(settings.sts_endpoint.format(region=settings.region), settings.region, keys, _IDENTITY_MS)
    except GrantError as error:
        return None, list(_refused(about, error))
    found = [ok(Check.CREDENTIALS, about, f"is of {identity.arn}")]
    if identity.clock_ahead is None:
        found.append(unknown(Check.CLOCK, "STS", "its answer has no date"))
    else:
        found.append(clock_finding("STS", identity.clock_ahead))
    try:
        given = {**os.environ, "REGION": settings.region}
        wanted: list[Wanted] | str = read_template(template, identity.account, given)
    except SettingsError as error:
        wanted = str(error)
    here = {"region": settings.region, "uid": identity.account}
    functions_at = _address(where.functions, "FC_ENDPOINT", **here)
    control_at = _address(where.control, "MNS_OPEN_ENDPOINT", **here)
    return Patient(settings, believed, wanted, keys, identity, functions_at, control_at, where.service), found


def _refused(about: str, error: GrantError) -> Iterator[Finding]:
    if error.code.startswith("InvalidTimeStamp"):
        yield wrong(Check.CLOCK, "STS", str(error), "set this machine's clock by NTP")
        yield unknown(Check.CREDENTIALS, about, "nothing is answered as long as the clock is off")
    elif error.code == "CloudUnreachable":
        yield unknown(Check.CREDENTIALS, about, str(error), "look whether STS can be reached from here (STS_ENDPOINT)")
        yield unknown(Check.CLOCK, "STS", "it does not answer")
    else:
        yield wrong(Check.CREDENTIALS, about, str(error), "use an access key of the account that the functions run in")
        yield unknown(Check.CLOCK, "STS", "it refuses the key")


def _not_asked() -> list[Finding]:
    asked = list(Check)[list(Check).index(Check.QUEUES) :]
    return [unknown(check, "cloud", "not asked without a key that works") for check in asked]


# -- the ledger --------------------------------------------------------------------------------------------------------


def _whole_ledger(settings: Settings, secrets: Secrets | None, believed: Believed) -> list[Finding]:
    """What ``_ledger`` finds. Whoever waits for what is believed is told in any case."""
    try:
        return list(_ledger(settings, secrets, believed))
    finally:
        if not believed.done():
            believed.set_result(None)


def _ledger(settings: Settings, secrets: Secrets | None, believed: Believed) -> Iterator[Finding]:
    """Its address, how it is reached, its schema, its record's end, its clock, its configuration. Raises GrantError where only a
    secret that cannot be read has its password.
    """
    others = (Check.TLS, Check.SCHEMA, Check.CHAIN, Check.CONFIGURATION)
    url, password = settings.ledger_url, None
    if settings.ledger_secret is not None:
        if secrets is None:
            raise SettingsError("its password is in a secret, which cannot be read without a key that works")
        known = secrets.read(settings.ledger_secret)
        password = lambda _: known  # noqa: E731  # what was read just now is as new as it can be
    try:
        ledger = Ledger(url, password=password, connect_seconds=_CONNECT_SECONDS) if url else None
    except LedgerError as error:
        yield wrong(Check.LEDGER, _LEDGER, str(error), f"set LEDGER_URL; {_SETTINGS}")
        ledger = None
    else:
        if ledger is None:
            yield unknown(Check.LEDGER, _LEDGER, "nothing says where it is")
    if ledger is None:
        yield from (unknown(check, _LEDGER, "nothing says where it is") for check in others)
        return
    try:
        yield from _reached(ledger, settings)
    except LedgerError as error:
        remedy = "look at LEDGER_URL, the database and the way to it: every command needs it"
        yield wrong(Check.LEDGER, _LEDGER, str(error), remedy)
        yield from (unknown(check, _LEDGER, "the ledger is away") for check in others)
    else:
        yield from _record(ledger)
        yield from _configuration(ledger, settings, believed)
    finally:
        ledger.close()


def _reached(ledger: Ledger, settings: Settings) -> Iterator[Finding]:
    """Raises LedgerError where it cannot be reached, before anything is said."""
    url, where = ledger.engine.url, place(ledger.engine.url)
    if is_file(url) and not Path(str(url.database)).exists():  # connecting would make an empty one
        raise LedgerError(f"{where}: no such file")
    tls = tls_finding(_LEDGER, ledger.read(transport))
    if url.get_backend_name() == "sqlite" and not settings.mns_endpoint.startswith("http://"):
        text = f"{where} is on this machine: no deployed function can reach it"
        yield wrong(Check.LEDGER, _LEDGER, text, "use PostgreSQL, and deploy again")
    else:
        yield ok(Check.LEDGER, _LEDGER, f"answers: {where}")
    yield tls
    ahead = ledger.read(clock_ahead)
    if ahead is not None:
        yield clock_finding("the database", ahead)


def _record(ledger: Ledger) -> Iterator[Finding]:
    try:
        yield ok(Check.SCHEMA, _LEDGER, f"is at revision {check_schema(ledger).revision}, as this version wants it")
    except LedgerError as error:
        remedy = "an older ledger: `ecr-grants ledger upgrade`; a newer one: use and deploy the newer version"
        yield wrong(Check.SCHEMA, _LEDGER, str(error), remedy)
    try:
        fault = ledger.read(end_fault)
        if fault is None:
            yield ok(
                Check.CHAIN,
                _LEDGER,
                f"ends with event {ledger.read(end_of)}; `ecr-grants ledger verify` proves it whole",
            )
        else:
            yield wrong(
                Check.CHAIN, _LEDGER, fault, "freeze with `ecr-grants mode pause-all`, then `ecr-grants ledger verify`"
            )
    except LedgerError as error:
        yield unknown(Check.CHAIN, _LEDGER, str(error))


def _configuration(ledger: Ledger, settings: Settings, believed: Believed) -> Iterator[Finding]:
    """Whether one was applied, and is verified with these keys, as the functions verify it."""
    keys, quorum = settings.config_keys, settings.config_quorum
    if not keys:
        yield unknown(Check.CONFIGURATION, _LEDGER, "nobody can verify it without CONFIG_KEYS")
        return
    if quorum > len(keys):
        text = f"wants {quorum} signatures, and CONFIG_KEYS names {len(keys)} keys"
        yield wrong(Check.CONFIGURATION, "CONFIG_QUORUM", text, "name more keys, or lower it, and deploy")
    try:
        found = standing(ledger, Trust(keys, quorum))
    except LedgerError as error:
        yield unknown(Check.CONFIGURATION, _LEDGER, str(error))
        return
    believed.set_result(found)
    if not found.number:
        remedy = "`ecr-grants config sign` and `ecr-grants config apply`; docs/configuration.md says how"
        yield wrong(Check.CONFIGURATION, _LEDGER, f"{found.fault}: nothing is granted", remedy)
    elif found.fault is not None or found.version is None:
        remedy = "apply one that these keys have signed, or correct CONFIG_KEYS and CONFIG_QUORUM, and deploy"
        yield wrong(Check.CONFIGURATION, _LEDGER, f"{found.fault}: nothing is granted", remedy)
    else:
        yield _version(found.version)


def _version(version: Version) -> Finding:
    """The version that holds, whose policy must be one that answers."""
    from shared.rules.policy import Policy  # noqa: PLC0415  # Cedar, only where a policy is read

    faults = Policy(version.configuration.policy).faults()
    if faults:
        text = f"the policy of version {version.number} answers nothing: {'; '.join(map(str, faults))}"
        return wrong(Check.CONFIGURATION, _LEDGER, text, "correct policy.cedar, have it signed and applied")
    text = f"version {version.number}, signed by {', '.join(version.signers)}: {counts_of(version.configuration)}"
    return ok(Check.CONFIGURATION, _LEDGER, text)


# -- told --------------------------------------------------------------------------------------------------------------


def _lines(found: Iterable[Finding]) -> Iterator[str]:
    """For people: of what is ok one line for each check, of the rest one for each reason, and what to do below it."""
    for (check, verdict), group in groupby(found, key=lambda one: (one.check, one.verdict)):
        start = f"{verdict.value:<8} {check.value:<13} "
        alike = list(group)
        told: dict[tuple[str, str], list[str]] = {}
        for one in alike:
            text = "" if verdict is Verdict.OK and len(alike) > 1 else one.text
            told.setdefault((text, one.remedy), []).append(one.about)
        for (text, remedy), abouts in told.items():
            yield start + ", ".join(abouts) + (f": {text}" if text else "")
            if remedy:
                yield f"{'':<23}do: {remedy}"
