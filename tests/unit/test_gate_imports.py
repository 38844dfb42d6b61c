"""What opens seals and what decides by policy load where approvals enter, and with nothing before that."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from shared.ledger.schema import upgrade_schema
from shared.ledger.transactions import Ledger
from tests import configured
from tests.ledger.gated import apply, seal_of
from tests.ledger.kit import NOW, opening

ROOT = Path(__file__).parents[2]
GATE = ("joserfc", "cedarpy")

SCRIPT = f"""
import json, sys
url, seal, start = sys.argv[1:]
found = {{}}

def note(what):
    found[what] = [name for name in {GATE} if name in sys.modules]

import importlib
importlib.import_module("functions." + start)
from shared.ledger.transactions import Ledger
from shared.loop.gate import Gate
from shared.messages.configuration import parse_keys
from shared.messages.envelope import parse
gate = Gate(Ledger(url), parse_keys({configured.CONFIG_KEYS_TEXT!r}), 1, lambda: {NOW})
note("imported")
standing = gate.standing
assert standing.fault is None
note("a configuration is verified")
sealed = parse(seal)
note("a message is read")
approval = gate.open(standing, sealed)
note("a seal is opened")
judged = gate.judge(standing, sealed, approval, gate._ledger.timing)
assert judged.refused is None
note("a policy is asked")
print(json.dumps(found))
"""


def test_what_the_gate_needs_loads_with_the_first_approval(tmp_path: Path) -> None:
    """Whatever starts, a configuration is read and verified without either; a seal needs the one, a policy the other."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    ledger = Ledger(url)
    upgrade_schema(ledger)
    apply(ledger)
    ledger.close()
    for start in ("grant", "associate", "reconcile"):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, url, seal_of(opening()), start],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == {
            "imported": [],
            "a configuration is verified": [],
            "a message is read": [],
            "a seal is opened": ["joserfc"],
            "a policy is asked": ["joserfc", "cedarpy"],
        }
