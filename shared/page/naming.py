"""What the page calls the words of the product: one table, so that a state has one name on every page."""

from __future__ import annotations

from collections.abc import Mapping

LABELS: Mapping[str, Mapping[str, str]] = {
    "stage": {
        "open": "open",
        "approved": "approved",
        "refused": "refused",
        "withdrawn": "withdrawn",
        "lapsed": "lapsed",
    },
    "side": {"grant": "account B (grant)", "associate": "account A (association)"},
    "kind": {"grant": "new grant", "change": "change", "revoke": "revoke"},
    "result": {"pass": "pass", "fail": "fail", "unknown": "unknown"},
    "lease": {
        "waiting": "waiting",
        "live": "live",
        "early": "dated ahead",
        "overdue": "overdue",
        "closed": "closed",
        "ended": "ended",
        "rejected": "rejected",
    },
    "state": {"unknown": "not read yet", "absent": "absent", "present": "present"},
    "wanted": {"up": "up", "keep": "keep as it is", "down": "down"},
    "on_end": {"report": "keep and report", "teardown": "take down"},
    "hold": {"ecr": "router", "account": "account", "grant": "grant"},
    "mode": {
        "observe": "observe: nothing is changed",
        "pause-teardown": "pause teardown: nothing is taken down",
        "pause-all": "pause all: nothing is made or taken down",
        "full": "full: everything acts",
    },
    "drift": {
        "grant-missing": "the grant is missing",
        "association-missing": "the association is missing",
        "prefixes-differ": "prefixes differ",
        "foreign-grant": "a grant of another hand",
        "foreign-association": "an association of another hand",
        "instance-deleted": "the instance was deleted",
        "ecr-owner-changed": "the router changed its owner",
    },
    "strength": {
        "fresh": "just signed in",
        "signed-in": "signed in",
        "relayed": "told by a system",
    },
    "instance": {"VPC": "VPC", "VBR": "VBR"},
}
"""What kind of word, the word, its name. A word that is not listed, such as a state of the platform's, is shown as it is."""
