"""What the checks of `ecr-grants doctor` are told, and how many of them are run side by side without waiting for any for long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from cli.doctor_template import Wanted
from cli.standing import Believed
from shared.cloud.dead_letters import Control
from shared.cloud.deployed import Deployed
from shared.cloud.functions import Functions
from shared.cloud.identity import Identity
from shared.cloud.keys import Keys
from shared.cloud.messaging import Messaging
from shared.cloud.secrets import Secrets
from shared.errors import CloudUnreachable, GrantError, LedgerError, PermissionMissing, SettingsError
from shared.loop.gate import Standing
from shared.rules.health import Check, Finding, unknown
from shared.settings import Settings

CALL_SECONDS = 4.0
"""How long one answer is waited for."""
SECONDS = 8.0
"""How long all of them together are, so that everything is told within ten."""

CALLER = "this key"


@dataclass(frozen=True)
class Patient:
    """One deployment, as far as it is known before anything but the keys is asked for.

    ``believed``: of its ledger's configuration, once that was read. ``wanted``: its functions as s.yaml has them, or why they
    cannot be told. ``service`` names an FC 2.0 service.
    """

    settings: Settings
    believed: Believed
    wanted: list[Wanted] | str
    keys: Keys
    identity: Identity
    functions_at: str
    control_at: str
    service: str | None = None

    @property
    def uid(self) -> str:
        """The account that the keys belong to: the hub's."""
        return self.identity.account

    def standing(self) -> Standing | None:
        """What is believed of its configuration. Waits for it, as long as for any answer; None where it cannot be read."""
        try:
            return self.believed.result(CALL_SECONDS)
        except TimeoutError:
            return None

    def messaging(self) -> Messaging:
        """Its queues and topic."""
        endpoint = self.settings.mns_endpoint.format(region=self.settings.region, uid=self.uid)
        return Messaging(endpoint, lambda: self.keys, CALLER, CALL_SECONDS)

    def secrets(self) -> Secrets:
        """Its secrets by name, where it has any."""
        return Secrets(self.settings.kms_endpoint, self.settings.region, self.uid, lambda: self.keys)

    def control(self) -> Control:
        """What of its queues and topic only the control API shows."""
        return Control(self.control_at, self.settings.region, self.uid, self.keys, int(CALL_SECONDS * 1000))

    def functions(self) -> Functions:
        """Its functions, to be run or read."""
        return Functions(self.functions_at, self.settings.region, self.keys, int(CALL_SECONDS * 1000))

    def deployed(self) -> Deployed:
        """Its functions, to be read."""
        return Deployed(self.functions(), self.service)


@dataclass(frozen=True)
class Probe:
    """Something to look at, and what it can say something about."""

    about: str
    checks: tuple[Check, ...]
    run: Callable[[], Iterable[Finding]]

    def failed(self, why: str) -> list[Finding]:
        """What is said where nothing could be found out."""
        return [unknown(check, self.about, why) for check in self.checks]


def examine(probes: Sequence[Probe], seconds: float) -> list[Finding]:
    """What all of them found, side by side. One that fails, or has not ended after so many seconds, is unknown."""
    found: dict[int, list[Finding]] = {}

    def run(number: int, probe: Probe) -> None:
        found[number] = _contained(probe)

    threads = [threading.Thread(target=run, args=one, daemon=True) for one in enumerate(probes)]
    for thread in threads:
        thread.start()
    until = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    late = f"no answer within {SECONDS:g} s"
    ended = dict(found)
    return [
        one for number, probe in enumerate(probes) for one in (ended[number] if number in ended else probe.failed(late))
    ]


def _contained(probe: Probe) -> list[Finding]:
    try:
        return list(probe.run())
    except (GrantError, LedgerError, SettingsError) as error:
        return probe.failed(str(error))
    except Exception as error:  # noqa: BLE001  # a defect of one check is no reason to say nothing about the others
        return probe.failed(f"this check failed ({type(error).__name__}): a defect of ours, please report it")


@contextmanager
def seen(found: list[Finding], check: Check, about: str) -> Iterator[None]:
    """Look at one thing of several. Where it cannot be looked at, that is said of it alone.

    Where nobody answers, the others are not asked either: CloudUnreachable is passed on, and ends the whole probe.
    """
    try:
        yield
    except CloudUnreachable:
        raise
    except GrantError as error:
        found.append(unknown(check, about, str(error), _right(error)))


def _right(error: GrantError) -> str:
    """What to do where a key lacks a right, as far as it is not in the words."""
    if isinstance(error, PermissionMissing):
        return "run it with a key that has the policies ecr-grants-operator and ecr-grants-deployer"
    return ""
