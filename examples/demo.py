"""Run the main job on the local cloud and tell what happens, step by step.

    python -m examples.demo                                           the whole circle, in a fresh world
    python -m examples.demo --only --approval FILE                    one approval
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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import Any

from mns.mns_exception import MNSExceptionBase
from rich.console import Console

from examples.look import left_over
from examples.send import HUB, WORLD, Mailbox, answers, user_keys

ROOT = Path(__file__).parent.parent
FUNCTIONS = ("ecr-grants-grant", "ecr-grants-associate", "ecr-grants-reconcile")
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
        "SETTLE_SECONDS": "2",
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
            case "message.rejected" | "request.rejected" | "grant.dead":
                return f"{'rejected' if fact['event'] != 'grant.dead' else 'dead'}: {fact['reason']}"
            case "role.assumed":
                return with_call(f"role {fact['role']} assumed", fact)
            case "cloud.called":
                return with_call(CALLS.get(fact["operation"], fact["operation"]), fact)
            case "completion.published":
                return f"completion published: {fact['kind']}"
            case "grant.later":
                return f"under way ({fact['code']}), looking again in {fact['seconds']:.0f} s"
            case "grant.waiting" | "grant.held" as event:
                return f"{event.removeprefix('grant.')}: {fact['why']}"
            case "drift.found":
                return f"drift found: {fact['text']}"
            case "reconcile.done":
                return f"reconciled: {fact['grants']} grants compared, {fact['woken']} woken, {fact['due']} changed by time"
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


class Story:
    """One run: sends approvals, follows the functions, and waits for what is to come of it."""

    def __init__(self, address: str, seconds: float) -> None:
        self._address = address
        self._seconds = seconds
        self._mailbox = Mailbox(address)
        self._narrator = Narrator(address)
        self.completions: list[dict[str, Any]] = []

    def request(self, text: str, what: str) -> None:
        """Send an approval and wait for its answer. Raises Failed unless it is done."""
        message_id = self._mailbox.send(text)
        say(clock(), "demo", f"{what}: sent to the queue ecr-approvals of account {HUB} (message {message_id})")
        completion = self.wait(lambda one: answers(one, message_id, text) is not None, "an answer")
        answer = answers(completion, message_id, text)
        if answer is None or answer.event != "done":
            raise Failed(f"{completion['event']}: {completion['reason']['text']}")
        say(clock(), "demo", f"answer: {answer.text}")

    def wait(
        self, wanted: Callable[[dict[str, Any]], bool], what: str, tick: Callable[[], None] | None = None
    ) -> dict[str, Any]:
        """Follow the functions until a completion like this one is published. ``tick`` is called now and then."""
        started = time.monotonic()
        with console.status("waiting") as status:
            while time.monotonic() - started < self._seconds:
                completion = self._mailbox.next_completion(1)
                self._narrator.tell()
                status.update(f"waiting for {what}, {time.monotonic() - started:.0f} s: {self._narrator.last}")
                if completion is not None:
                    self.completions.append(completion)
                    if wanted(completion):
                        status.stop()
                        self._narrator.tell()
                        return completion
                elif tick is not None:
                    tick()
        raise Failed(f"{what} did not come within {self._seconds:.0f} s; last seen: {self._narrator.last}")

    def reconcile(self) -> None:
        """What the timer does every five minutes, now: the operator's command against the deployed function."""
        operator, secret = user_keys("operator")
        environment = {**os.environ, "ALIBABA_CLOUD_ACCESS_KEY_ID": operator, "ALIBABA_CLOUD_ACCESS_KEY_SECRET": secret}
        command = [sys.executable, "-m", "cli", "run", "reconcile", "--endpoint", self._address]
        ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        self._narrator.tell()
        if ran.returncode != 0:
            unread = [line.strip() for line in ran.stdout.splitlines() if "not read" in line]
            raise Failed(f"ecr-grants run reconcile: {'; '.join(unread) or ran.stderr.strip()}")
        say(clock(), "demo", f"ecr-grants run reconcile: {ran.stdout.splitlines()[0]}")

    def left_over(self) -> list[str]:
        """What is still up, as both accounts' own users see it with the SDKs."""
        return left_over(self._address)


def demo(approval: Path, seconds: float, *, whole: bool) -> int:
    """Send one approval and follow it to its answer; ``whole``: then the rest of the circle, until nothing is left."""
    try:
        text = approval.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Failed(f"cannot read {approval}: {error}") from None
    with tempfile.TemporaryDirectory(prefix="ecr-grants-") as directory, running(Path(directory)) as address:
        say(clock(), "demo", f"local cloud at {address}, functions deployed: {', '.join(FUNCTIONS)}")
        story = Story(address, seconds)
        story.request(text, str(approval))
        active = [one["association_id"] for one in story.completions if one["event"] == "associated"]
        if not active:
            raise Failed("the request is done, and no association was reported")
        console.print(f"The association {active[0]} is ACTIVE.", markup=False)
        if whole:
            circle(story, json.loads(text))
            console.print("OK: granted, associated, ACTIVE; then everything was taken back and nothing is left over")
        else:
            console.print(f"OK: granted and associated; association {active[0]} is ACTIVE", markup=False)
        return 0


def circle(story: Story, first: dict[str, Any]) -> None:
    """The whole life: a VBR beside the VPC, a second lease, one lease closed, the other ended, everything gone."""
    story.request((ROOT / "examples/approval-vbr.json").read_text("utf-8"), "examples/approval-vbr.json")
    ends_at = datetime.now(UTC) + timedelta(seconds=15)
    second = first | {
        "request_id": "REQ-2026-0009",
        "allowed_prefixes": [*first["allowed_prefixes"], "10.21.0.0/16"],
        "ends_at": ends_at.isoformat(),
        "on_end": "teardown",
        "reason": "A second need for the same grant, with one more prefix, until a time",
    }
    story.request(json.dumps(second), f"a second lease on the same VPC, until {ends_at:%H:%M:%S}")
    story.reconcile()
    story.request((ROOT / "examples/revoke.json").read_text("utf-8"), "examples/revoke.json, closing the first lease")
    revoke_all = {name: first[name] for name in ("schema", "issuer", "ecr", "requested_by", "approved_by")} | {
        "request_id": "REQ-2026-0010",
        "action": "revoke",
        "instance": json.loads((ROOT / "examples/approval-vbr.json").read_text("utf-8"))["instance"],
        "closes": "all",
        "approved_at": datetime.now(UTC).isoformat(),
        "reason": "The leased line is given up",
    }
    story.request(json.dumps(revoke_all), "a revoke of every lease on the VBR")
    say(clock(), "demo", f"waiting for the second lease to end at {ends_at:%H:%M:%S}")

    def tick() -> None:
        if datetime.now(UTC) >= ends_at:
            story.reconcile()

    story.wait(lambda one: one["event"] == "revoked" and one["grant"]["instance_type"] == "VPC", "the revoke", tick)
    story.reconcile()
    rest = story.left_over()
    if rest:
        raise Failed("left over: " + "; ".join(rest))


def clock() -> str:
    """The present, as the functions' logs write it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


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
  .venv/bin/python -m examples.look --address {address}
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
    parser.add_argument("--only", action="store_true", help="stop after this one approval")
    parser.add_argument("--seconds", type=float, default=90, help="how long to wait for each answer (default: 90)")
    parser.add_argument("--stay", action="store_true", help="keep everything running until Ctrl-C")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _as_interrupt)
    try:
        return stay() if options.stay else demo(options.approval, options.seconds, whole=not options.only)
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
