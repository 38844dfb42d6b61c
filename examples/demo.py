"""Run the main job on the local cloud and tell what happens, step by step.

    python -m examples.demo --approval examples/approval-vpc.json     one approval, in a fresh world
    python -m examples.demo --stay                                    keep everything running, for playing by hand

Starts the local cloud, lets it deploy the functions that s.yaml describes, sends the approval with the real SDK and then
only watches: what it prints comes from the functions' own logs and from the completions they publish.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from mns.mns_exception import MNSExceptionBase
from rich.console import Console

from examples.send import HUB, WORLD, Mailbox, answers, user_keys

ROOT = Path(__file__).parent.parent
FUNCTIONS = ("ecr-grants-grant", "ecr-grants-associate")
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
}

console = Console(highlight=False, soft_wrap=True, emoji=False)


class Failed(Exception):
    """The demo cannot go on; the text says why."""


def get(address: str, path: str) -> Any:
    """A document from the local cloud's own admin interface, which only watches."""
    with urllib.request.urlopen(f"{address}/_localcloud/{path}", timeout=30) as answer:  # noqa: S310  # loopback http
        return json.load(answer)


@contextmanager
def running(directory: Path) -> Iterator[str]:
    """A fresh local cloud with the functions deployed. Yields its address; everything ends with the block."""
    ledger = f"sqlite:///{directory / 'ledger.db'}"
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    upgrade = [sys.executable, "-m", "cli", "ledger", "upgrade", "--ledger-url", ledger]
    subprocess.run(upgrade, cwd=ROOT, check=True, capture_output=True, env=environment)
    ready, errors = directory / "address", directory / "localcloud.log"
    settings = {
        "LEDGER_URL": ledger,
        "ACCOUNTS_FILE": "examples/accounts.yaml",
        "SETTLE_SECONDS": "10",
        "MODE": "full",
        **{f"{name}_ENDPOINT": "http://{address}" for name in ("MNS", "STS", "VPC", "ECR")},
    }
    command = [sys.executable, "-m", "localcloud", "up", "--world", str(WORLD), "--deploy", "s.yaml"]
    command += ["--ready-file", str(ready), "--state-dir", str(directory / "cloud"), "--with-parent"]
    command += [part for name, value in settings.items() for part in ("--env", f"{name}={value}")]
    with errors.open("w") as sink:
        cloud = subprocess.Popen(command, cwd=ROOT, stdout=sink, stderr=sink, env=environment)
        try:
            with console.status("starting the local cloud and deploying the functions of s.yaml"):
                deadline = time.monotonic() + 60
                while not ready.exists():
                    if cloud.poll() is not None:
                        raise Failed("the local cloud did not start:\n" + errors.read_text())
                    if time.monotonic() > deadline:
                        raise Failed("the local cloud was not ready within 60 s:\n" + errors.read_text())
                    time.sleep(0.05)
            yield ready.read_text().strip()
        finally:
            if cloud.poll() is None:
                cloud.send_signal(signal.SIGINT)
                try:
                    cloud.wait(20)
                except subprocess.TimeoutExpired:
                    cloud.kill()
                    cloud.wait()


class Narrator:
    """Turns the functions' log lines into sentences, in the order of their times."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._after = dict.fromkeys(FUNCTIONS, 0)
        self.last = "nothing yet"

    def tell(self) -> None:
        """Print what happened since the last telling."""
        lines = []
        for function in FUNCTIONS:
            for line in get(self._address, f"functions/{function}/logs?after={self._after[function]}"):
                self._after[function] = line["number"]
                lines.append((line["time"], function, line["text"]))
        for moment, function, text in sorted(lines):
            sentence = self._sentence(text)
            if sentence is not None:
                self.last = sentence
                say(moment, function, sentence)

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
            case "message.rejected" | "request.rejected":
                return f"rejected: {fact['reason']}"
            case "role.assumed":
                return with_call(f"role {fact['role']} assumed", fact)
            case "cloud.called":
                return with_call(CALLS.get(fact["operation"], fact["operation"]), fact)
            case "completion.published":
                return f"completion published: {fact['kind']}"
            case "grant.later":
                return f"under way ({fact['code']}), looking again in {fact['seconds']:.0f} s"
            case "grant.dead":
                return f"given up until somebody acts: {fact['reason']}"
            case "grant.failed" | "event.failed":
                return f"unexpected: {fact.get('exception', text)}"
        return None


def with_call(sentence: str, fact: dict[str, Any]) -> str:
    """A sentence with where and under which API request id it happened."""
    return f"{sentence} (account {fact['account']}, API request {fact['api_request_id']})"


def say(moment: str, who: str, sentence: str) -> None:
    """One line of the story."""
    console.print(f"[dim]{moment[11:23]}[/dim] [cyan]{who.removeprefix('ecr-grants-'):<10}[/cyan] ", end="")
    console.print(sentence, markup=False)


def demo(approval: Path, seconds: float) -> int:
    """Send one approval and follow it to its answer. 0: the association is ACTIVE."""
    try:
        text = approval.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Failed(f"cannot read {approval}: {error}") from None
    with tempfile.TemporaryDirectory(prefix="ecr-grants-") as directory, running(Path(directory)) as address:
        say(clock(), "demo", f"local cloud at {address}, functions deployed: {', '.join(FUNCTIONS)}")
        mailbox = Mailbox(address)
        message_id = mailbox.send(text)
        say(clock(), "demo", f"{approval} sent to the queue ecr-approvals of account {HUB} (message {message_id})")
        narrator = Narrator(address)
        active = ""
        started = time.monotonic()
        with console.status("waiting") as status:
            while time.monotonic() - started < seconds:
                completion = mailbox.next_completion(1)
                narrator.tell()
                status.update(f"waiting, {time.monotonic() - started:.0f} s: {narrator.last}")
                if completion is None:
                    continue
                if completion["event"] == "associated":
                    active = completion["association_id"]
                answer = answers(completion, message_id, text)
                if answer is not None:
                    status.stop()
                    narrator.tell()
                    return verdict(answer.event, answer.text, active)
        console.print(f"FAILED: no answer within {seconds:.0f} s; last seen: {narrator.last}", markup=False)
        return 1


def verdict(event: str, text: str, association_id: str) -> int:
    """The last line, and the exit code that says the same."""
    if event != "done":
        console.print(f"FAILED: {event}: {text}", markup=False)
        return 1
    console.print(f"OK: {text}; association {association_id} is ACTIVE", markup=False)
    return 0


def clock() -> str:
    """The present, as the functions' logs write it."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())


def stay() -> int:
    """Keep the local cloud and the functions running and narrate until Ctrl-C."""
    with tempfile.TemporaryDirectory(prefix="ecr-grants-") as directory, running(Path(directory)) as address:
        operator, secret = user_keys("operator")
        console.print(
            f"""\
The local cloud is at {address}: STS, VPC, ECR, MNS and Function Compute, on this machine only.
  hub account A   {HUB}, region cn-hangzhou, queue ecr-approvals, topic ecr-completions, answers in queue ecr-answers
  access key      {operator} / {secret}   (RAM user operator of account A; every user is in examples/world.yaml)
  ledger          sqlite:///{directory}/ledger.db

Try, in another terminal:
  .venv/bin/python -m examples.send examples/approval-vpc.json --address {address}
  .venv/bin/python -m examples.send examples/approval-vpc.json --address {address}    # again: already granted
  .venv/bin/python -m localcloud journal --address {address}
  .venv/bin/python -m localcloud logs --address {address} ecr-grants-grant

Ctrl-C ends everything. What the functions do:""",
            markup=False,
        )
        narrator = Narrator(address)
        while True:
            narrator.tell()
            time.sleep(0.3)


def main() -> int:
    """Parse the command line, run, and say in one line what failed."""
    parser = argparse.ArgumentParser(description="Run the main job on the local cloud and explain it.")
    parser.add_argument(
        "--approval", type=Path, default=Path("examples/approval-vpc.json"), help="the approval to send (JSON file)"
    )
    parser.add_argument("--seconds", type=float, default=90, help="how long to wait for the answer (default: 90)")
    parser.add_argument("--stay", action="store_true", help="keep everything running until Ctrl-C")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _as_interrupt)
    try:
        return stay() if options.stay else demo(options.approval, options.seconds)
    except KeyboardInterrupt:
        console.print("stopped; nothing is left running")
        return 0 if options.stay else 130
    except (Failed, MNSExceptionBase, OSError) as error:
        console.print(f"FAILED: {error}", markup=False)
        return 1


def _as_interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
