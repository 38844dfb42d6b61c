"""Deployed functions, run now."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.common import AsJson, NotSo, command, command_line, reachable, troubles
from cli.output import document, say
from shared.errors import CloudUnreachable, NeedsSomebody, PermissionMissing

app = command_line("run", "Run a deployed function now.")


@app.callback()
def group() -> None:
    """Run a deployed function now."""


@command(app, "reconcile")
def run_reconcile(
    endpoint: Annotated[
        str,
        typer.Option(
            envvar="FC_ENDPOINT", help="Function Compute: https://{uid}.{region}.fc.aliyuncs.com", show_default=False
        ),
    ],
    region: Annotated[str, typer.Option(envvar="REGION", help="The functions' region.")] = "cn-hangzhou",
    function: Annotated[str, typer.Option(help="The function's name.")] = "ecr-grants-reconcile",
    service: Annotated[
        str | None, typer.Option(help="The FC 2.0 service it is in; FC 3.0 functions have none.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare ledger and cloud now, and wake what is not as wanted.

    Exit code 1 when an account could not be read. Credentials come from ALIBABA_CLOUD_ACCESS_KEY_ID,
    ALIBABA_CLOUD_ACCESS_KEY_SECRET and ALIBABA_CLOUD_SECURITY_TOKEN. They need fc:InvokeFunction on the function.
    """
    with troubles():
        report = answer_of(reachable(endpoint, "--endpoint (FC_ENDPOINT)"), region, function, service)
    trouble = report.get("trouble") or []
    if as_json:
        document(report)
    else:
        drift = ", ".join(f"{kind}: {count}" for kind, count in (report.get("drift") or {}).items()) or "none"
        found = {name: report.get(name, "?") for name in ("grants", "calls", "seconds", "gone", "due", "woken", "head")}
        say(f"compared {found['grants']} grants with the cloud in {found['calls']} calls, {found['seconds']} s")
        say(f"  new drift: {drift}; earlier drift gone: {found['gone']}")
        say(f"  leases changed by time: {found['due']}; woken: {found['woken']}; last event: {found['head']}")
        say(f"  not as wanted: {_aged(report, 'unsettled')}; dead: {report.get('dead', '?')}")
        say(f"  completions that are not out: {_aged(report, 'outbox')}")
        for line in trouble:
            say(f"  not read: {line}")
    if trouble:
        raise typer.Exit(1)


def _aged(report: dict[str, Any], name: str) -> str:
    """How many there are, and how old the oldest is."""
    age = report.get(f"{name}_seconds")
    return f"{report.get(name, '?')}" + ("" if age is None else f", the oldest for {age:.0f} s")


def answer_of(
    address: str, region: str, function: str, service: str | None = None, payload: bytes = b"{}"
) -> dict[str, Any]:
    """What a function answers. Raises GrantError, and NotSo where that is no report.

    The vendor's SDK takes a second to import, and few commands need it.
    """
    from shared.cloud.functions import Functions  # noqa: PLC0415
    from shared.cloud.keys import home_keys  # noqa: PLC0415

    try:
        report = Functions(address, region, home_keys(None)).run(function, payload, service).result
    except PermissionMissing as error:  # of the caller: a function's own troubles come back as its answer
        raise NeedsSomebody(f"the operator (whose access key this is) may not invoke {function}: {error}") from None
    except CloudUnreachable as error:
        raise CloudUnreachable(f"{error}, asking {address}") from None
    except ValueError as error:
        raise NotSo(f"{function} answered with something that is no report ({error})") from None
    if not isinstance(report, dict):
        raise NotSo(f"{function} answered with something that is no report: {report!r}")
    return report
