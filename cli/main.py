"""The commands of `ecr-grants`, put together. Each group of them has a module of its own."""

from __future__ import annotations

import logging
from importlib.metadata import version
from typing import Annotated

import typer

from cli import (
    asking,
    config,
    config_ledger,
    dead,
    doctor,
    documents,
    finding,
    grants,
    holding,
    keys,
    ledger,
    looking,
    offboarding,
    onboarding,
    operating,
    policy,
    run,
    seal,
)
from cli.common import EXITS, command, command_line
from cli.output import prepare, say
from shared.ledger.revision import REVISION
from shared.log import configure

app = command_line("ecr-grants", "Operate ECR Grants: approved, audited, time-bound, reversible grants.")
command(app, "grants")(grants.list_grants)
command(app, "adopt")(grants.take_as_ours)
command(app, "show")(grants.show)
command(app, "mode")(holding.mode)
command(app, "hold")(holding.hold)
command(app, "lift")(holding.lift)
command(app, "doctor")(doctor.doctor)
command(app, "onboard")(onboarding.onboard)
command(app, "offboard")(offboarding.offboard)
command(app, "login")(asking.login)
command(app, "logout")(asking.logout)
command(app, "ask")(asking.ask)
command(app, "requests")(asking.requests)
command(app, "request")(asking.request)
command(app, "operations")(operating.operations)
command(app, "leases")(looking.leases)
command(app, "exposed")(looking.exposed)
command(app, "history")(looking.history)
command(app, "search")(finding.search)
command(app, "ends")(finding.ends)
command(app, "routers")(finding.routers)
command(app, "decisions")(finding.decisions)
command(app, "rights")(finding.rights)
command(app, "decide")(asking.decide)
command(app, "withdraw")(asking.withdraw)
command(app, "revoke")(asking.revoke)
command(app, "extend")(asking.extend)
command(app, "review")(asking.review)
command(app, "look-again")(asking.look_again)
command(app, "seal")(seal.seal_file)
command(app, "errors")(documents.errors)
command(app, "schemas")(documents.schemas)
command(app, "openapi")(documents.openapi)
command(app, "settings")(documents.settings)
command(config.app, "diff")(config_ledger.diff)
command(config.app, "apply")(config_ledger.apply)
command(config.app, "show")(config_ledger.show)
command(config.app, "history")(config_ledger.show_history)
command(config.app, "replay")(config_ledger.replay)
app.add_typer(config.app)
app.add_typer(keys.app)
app.add_typer(dead.app)
app.add_typer(ledger.app)
app.add_typer(operating.app)
app.add_typer(policy.app)
app.add_typer(run.app)


def _version(wanted: bool) -> None:
    if wanted:
        say(f"ecr-grants {version('ecr-grants')} (ledger revision {REVISION})")
        raise typer.Exit


@app.callback(epilog=EXITS)
def main(
    _: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Say which version this is, and the ledger's."
        ),
    ] = False,
) -> None:
    """Operate ECR Grants: approved, audited, time-bound, reversible grants.

    Commands speak to the ledger, the queues and the deployed functions; none of them changes anything on the cloud itself.
    """
    prepare()
    configure("stderr", logging.WARNING)  # standard output is the command's own
