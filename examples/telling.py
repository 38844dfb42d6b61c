"""How the demo tells what happens: a line for each step, from the functions' own logs.

Every line is written whole, at once, as long as it is: no spinner, no cursor that moves. A terminal of any width wraps it, and
what is copied from it is complete. What came from the cloud is made safe for a terminal.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from datetime import UTC, datetime
from typing import Any

from deploy.surroundings import FUNCTIONS
from shared.messages.cells import safe

# What a step's log line says to a person. Operations that are missing here are calls of no interest of their own.
CALLS = {
    "DescribeVpcAttribute": "looked the VPC up in account B",
    "DescribeVirtualBorderRouters": "looked the VBR up in account B",
    "DescribeVpcGrantRulesToEcr": "read the grants on the VPC",
    "DescribeGrantRulesToEcr": "read the grants on the VBR",
    "GrantInstanceToExpressConnectRouter": "granted the instance to the ECR",
    "RevokeInstanceFromExpressConnectRouter": "revoked the grant",
    "CreateExpressConnectRouterAssociation": "asked for the association with the ECR",
    "DescribeExpressConnectRouterAssociation": "read the association",
    "DeleteExpressConnectRouterAssociation": "asked to dissociate",
    "AttachExpressConnectRouterChildInstance": "asked to attach the VBR to the ECR",
    "DescribeExpressConnectRouterChildInstance": "read the attachment",
    "DetachExpressConnectRouterChildInstance": "asked to detach the VBR",
    "ModifyExpressConnectRouterAssociationAllowedPrefix": "asked to change the allowed prefixes",
    "DescribeExpressConnectRouter": "read the router",
    "ListExpressConnectRouterSupportedRegion": "read where a router reaches",
    "DescribeInstanceGrantedToExpressConnectRouter": "read what is granted to the router",
    "DescribeVpcs": "read the ranges of what is on the router",
    "DescribeBgpGroups": "read the VBR's BGP groups",
}

_DIM, _CYAN, _PLAIN = "\x1b[2m", "\x1b[36m", "\x1b[0m"
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Loopback is never reached through a proxy, whatever the environment says."""


def get(address: str, path: str) -> Any:
    """A document from the local cloud's own admin interface, which only watches."""
    with _DIRECT.open(f"{address}/_localcloud/{path}", timeout=30) as answer:
        return json.load(answer)


def tell(line: str) -> None:
    """One line, whole."""
    _write(safe(line))


def say(moment: str, who: str, sentence: str) -> None:
    """One line of the story."""
    dim, cyan, plain = (_DIM, _CYAN, _PLAIN) if _coloured() else ("", "", "")
    name = f"{who.removeprefix('ecr-grants-'):<10}"
    _write(f"{dim}{safe(moment[11:23])}{plain} {cyan}{safe(name)}{plain} {safe(sentence)}")


def clock() -> str:
    """The present, as the functions' logs write it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _coloured() -> bool:
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def _write(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()  # a file or a pipe is read while this goes on


class Narrator:
    """Turns the functions' log lines into sentences, in the order of their times."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._after = dict.fromkeys(FUNCTIONS, 0)
        self.last = "nothing yet"

    def tell(self) -> bool:
        """Print what happened since the last telling. Whether there was anything."""
        told = False
        lines = []
        for function in FUNCTIONS:
            for line in get(self._address, f"functions/{function}/logs?after={self._after[function]}"):
                self._after[function] = line["number"]
                lines.append((line["time"], function, line["text"]))
        for moment, function, text in sorted(lines):
            sentence = self._sentence(text)
            if sentence is not None:
                self.last, told = sentence, True
                say(moment, function, sentence)
        return told

    def skip(self) -> None:
        """Leave out what happened since the last telling."""
        for function in FUNCTIONS:
            lines = get(self._address, f"functions/{function}/logs?after={self._after[function]}")
            self._after[function] = lines[-1]["number"] if lines else self._after[function]

    def _sentence(self, text: str) -> str | None:
        try:
            fact = json.loads(text)
        except ValueError:
            return text if "Error" in text or "error" in text else None
        match fact.get("event"):
            case "approval.admitted":
                return f"approval {fact['request_id']} received and admitted to the ledger"
            case "approval.repeated":
                return f"approval {fact['request_id']} received again: already granted or under way, nothing to do"
            case "message.rejected" | "request.rejected" | "grant.dead":
                return f"{'rejected' if fact['event'] != 'grant.dead' else 'dead'}: {fact['reason']}"
            case "role.assumed":
                return with_call(f"role {fact['role']} assumed", fact)
            case "cloud.called":
                return with_call(CALLS.get(fact["operation"], fact["operation"]), fact)
            case "completion.published":
                return f"completion published: {fact['kind']}"
            case "grant.later":
                return f"under way ({fact['code']}), looking again in {fact['wait_seconds']:.0f} s"
            case "grant.waiting" | "grant.held" as event:
                return f"{event.removeprefix('grant.')}: {fact['why']}"
            case "drift.found" | "drift.reported":
                return f"drift found: {fact['text']}"
            case "reconcile.done":
                return f"reconciled: {fact['grants']} grants compared, {fact['woken']} woken, {fact['due']} changed by time"
            case "grant.failed" | "message.failed" | "reconcile.failed":
                return f"unexpected: {fact.get('exception', text)}"
        return None


def with_call(sentence: str, fact: dict[str, Any]) -> str:
    """A sentence with where and under which API request id it happened."""
    return f"{sentence} (account {fact['account']}, API request {fact['api_request_id']})"
