"""The configuration that holds, as whoever types can tell, and whether its policy lets them give a command."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Annotated

import typer

from cli.common import NotSo
from cli.output import remark
from shared.errors import SettingsError
from shared.ledger.configuration import newest_number
from shared.ledger.transactions import Ledger, now_ms
from shared.loop.gate import Gate, Standing
from shared.messages.configuration import parse_keys
from shared.rules.facts import HoldKind
from shared.rules.questions import Command, TargetKind, ensure
from shared.rules.vouching import operate

_WHERE = "as the functions have it: ecr-grants keys new prints one in this form"

Keys = Annotated[
    str,
    typer.Option(
        envvar="CONFIG_KEYS", help="The keys that may sign a configuration, name:x,name:x.", show_default=False
    ),
]
Quorum = Annotated[int, typer.Option(envvar="CONFIG_QUORUM", min=1, help="How many of them must have signed it.")]

Believed = Future[Standing | None]
"""What is believed, for whoever waits until it was read; None where it could not be."""

OF_HOLD = {
    HoldKind.ECR: TargetKind.ECR,
    HoldKind.ACCOUNT: TargetKind.ACCOUNT,
    HoldKind.GRANT: TargetKind.GRANT,
}
"""What policy calls what can be put on hold."""


@dataclass(frozen=True)
class Trust:
    """Who may sign a configuration: public keys by name, and how many of them must."""

    keys: Mapping[str, str]
    quorum: int


def trust(keys: str, quorum: int) -> Trust:
    """As the command line or the environment says it. Raises SettingsError."""
    if not keys.strip():
        raise SettingsError(
            f"CONFIG_KEYS is not set: the public keys that may sign a configuration, name:key,name:key, {_WHERE}"
        )
    try:
        return Trust(parse_keys(keys), quorum)
    except ValueError as error:
        raise SettingsError(f"CONFIG_KEYS {error}") from None


def _trust_here() -> Trust:
    """Of the environment. Raises SettingsError."""
    quorum = os.environ.get("CONFIG_QUORUM") or "1"
    if not (quorum.isascii() and quorum.isdigit() and 0 < int(quorum) < 1000):
        raise SettingsError(f"CONFIG_QUORUM must be a whole number from 1 on (found {quorum[:80]!r})")
    return trust(os.environ.get("CONFIG_KEYS", ""), int(quorum))


def standing(ledger: Ledger, whom: Trust) -> Standing:
    """What is believed of the ledger's configuration; its ``fault`` says why the newest version is not. Raises LedgerError."""
    return Gate(ledger, whom.keys, whom.quorum, now_ms, tell=lambda _number, _fault: None).refresh()


@dataclass(frozen=True)
class Operator:
    """Somebody who gives commands, by the name that the record will have. ``by``: None where nobody can be asked."""

    name: str
    by: Standing | None

    @property
    def deployment(self) -> str:
        """What the deployment is called, as far as it has a name."""
        return "" if self.by is None else self.by.deployment or ""

    def ensure(self, command: Command, kind: TargetKind, name: str) -> None:
        """Raise NotAllowed with the policy's advice unless it lets them do that to what has this name."""
        if self.by is None:
            return
        assert self.by.version is not None  # noqa: S101  # nobody is made who is asked about nothing
        people = self.by.version.configuration.people
        ensure(self.by.policy.decide(operate(self.name, command, kind, name, people)))


def operator_by(name: str, found: Standing) -> Operator:
    """Somebody, as what is believed knows them."""
    return Operator(name, None if found.version is None else found)


def operator(ledger: Ledger, name: str) -> Operator:
    """Whoever types, as the newest configuration that can be verified knows them.

    While no configuration was ever applied there is nobody to ask, which is said. Raises SettingsError without CONFIG_KEYS, and
    NotSo where no version can be verified with them.
    """
    if not ledger.read(newest_number):
        remark(f"no configuration was applied yet, so no policy was asked whether {name} may do this")
        return Operator(name, None)
    found = standing(ledger, _trust_here())
    if found.version is None:
        raise NotSo(f"nobody can tell whether {name} may do this: {found.fault}")
    if found.fault is not None:
        remark(f"{found.fault}; asked was the policy of version {found.version.number}, the last that can be verified")
    return operator_by(name, found)
