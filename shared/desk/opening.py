"""What the desk needs, out of its environment."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime

from shared.cloud.keys import Keys
from shared.cloud.messaging import Messaging
from shared.cloud.secrets import Secrets
from shared.desk.parts import Parts
from shared.desk.signin import SignIn
from shared.ledger.schema import check_schema
from shared.ledger.transactions import Ledger, now_ms
from shared.loop.gate import Gate
from shared.loop.outgoing import wake_body
from shared.settings import read_desk, read_settings


def opened(keys: Callable[[], Keys]) -> Parts:
    """The desk's parts. ``keys``: of its role, whenever it calls. Raises SettingsError that names every variable at fault,
    LedgerError for a ledger that does not accept this code.
    """
    settings, desk = read_settings(), read_desk()
    uid = os.environ.get("FC_ACCOUNT_ID", "")
    secrets = Secrets(settings.kms_endpoint, settings.region, uid, keys)
    ledger_secret, own_name = settings.ledger_secret, desk.desk_client_secret_name
    password = None if ledger_secret is None else lambda anew: secrets.read(ledger_secret, anew=anew)
    ledger = Ledger(settings.ledger_url, settings.timing, password=password)
    check_schema(ledger)
    endpoint = settings.mns_endpoint.format(region=settings.region, uid=uid)
    messaging = Messaging(endpoint, keys, caller="the desk's role")

    def own_secret() -> str:
        return (desk.desk_client_secret or "") if own_name is None else secrets.read(own_name)

    return Parts(
        desk,
        ledger,
        Gate(ledger, settings.config_keys, settings.config_quorum, now_ms),
        SignIn(desk, own_secret, lambda: datetime.now(UTC)),
        lambda: _sent(messaging, settings.wakes_queue),
        now_ms,
    )


def _sent(messaging: Messaging, queue: str) -> None:
    messaging.send(queue, wake_body(None))
