"""The desk's door: the app of ``shared.desk`` over HTTP, as the custom runtime starts it: ``python -m desk``."""

from __future__ import annotations

import os

import uvicorn

from shared import words
from shared.desk.app import make
from shared.desk.home import Home
from shared.desk.opening import opened
from shared.errors import LedgerError, SettingsError
from shared.log import configure, seconds_since_start
from shared.page.face import PAGE

_PORT = 9000  # where the custom runtime listens, unless told otherwise (function-compute.md)


def main() -> None:
    """Serve until the platform ends the instance."""
    configure()
    try:
        home = Home()
        app = home.noting(make(opened(home.keys), PAGE))
    except (SettingsError, LedgerError) as fault:
        words.start_failed(reason=str(fault))
        raise SystemExit(1) from None
    words.start_ready(seconds=seconds_since_start())
    uvicorn.run(
        app,
        host="0.0.0.0",  # noqa: S104  # the platform calls it from outside of its container
        port=int(os.environ.get("FC_CUSTOM_LISTEN_PORT", _PORT)),
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        timeout_keep_alive=900,  # the platform keeps its connection for as long (function-compute.md)
        h11_max_incomplete_event_size=64_000,
    )


if __name__ == "__main__":
    main()
