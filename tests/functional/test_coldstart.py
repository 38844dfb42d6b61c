"""What a first event loads: counted, because every module is processor time and memory of every cold start."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from tests.configured import sealed
from tests.functional.approvals import approval
from tests.functional.deployment import Json
from tests.functional.inprocess import events, in_process
from tests.functional.world import HUB, ROOT, Stage

MOST_MODULES = 985
MOST_MODELS = 15
NEVER = {
    "aiohttp.client",
    "alembic",
    "apscheduler.schedulers.base",
    "yaml",
    "charset_normalizer.api",
    "psycopg",
    "typer",
}
"""What no first event on a file needs; psycopg is for a ledger on a server."""


def test_a_first_event_loads_what_it_uses(tmp_path: Path) -> None:
    """An approval is granted by a fresh interpreter; of the SDKs it loads the models of the calls that it makes."""
    stage = Stage()
    spoke = stage.new_spoke()
    document = approval(spoke.uid, next(spoke.vpcs))
    with in_process(stage, tmp_path) as here:
        code = here.cloud.accounts_file.parent / "code"
        done = subprocess.run(
            [sys.executable, "-B", str(ROOT / "bench" / "firstevent.py"), str(code), "grant", HUB],
            input=events([(document["request_id"], sealed(document))]),
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        assert here.cloud.granted(document, spoke) != []
    told: Json = json.loads(done.stdout.splitlines()[-1])
    loaded = {name for name in told["modules"] if name.strip("$").partition(".")[0] != "coverage"}  # it measures, here
    models = {name for name in loaded if re.match(r"alibabacloud_\w+\d{8}\.models\.", name)}
    assert told["answer"] == {"settled": 1}
    assert len(loaded) <= MOST_MODULES, f"{len(loaded)} modules"
    assert 3 <= len(models) <= MOST_MODELS, sorted(models)
    assert loaded & NEVER == set()
