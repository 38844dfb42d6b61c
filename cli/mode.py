"""What may act, by the operator's word."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.common import As, AsJson, LedgerUrl, opened, operator_name
from cli.output import either
from shared.ledger.operating import said_mode, set_mode
from shared.ledger.transactions import now_ms
from shared.rules.facts import Mode


def mode(
    ledger_url: LedgerUrl,
    to: Annotated[
        Mode | None,
        typer.Argument(help="The mode to set; without it, the present one is shown."),
    ] = None,
    claimed: As = None,
    as_json: AsJson = False,
) -> None:
    """Show or set what may act.

    observe looks and reports, pause-teardown takes nothing down, pause-all only admits, full acts. A change is an event of
    the record, with the name of whoever made it.
    """
    with opened(ledger_url) as ledger:
        if to is not None:
            ledger.write(set_mode, to, operator_name(claimed), now_ms())
        present = ledger.read(said_mode)
        either(
            f"the mode is {present}" if present else "nobody set a mode: the deployment's own (MODE) holds",
            as_json=as_json,
            mode=present,
        )
