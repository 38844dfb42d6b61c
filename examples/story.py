"""What the demo runs: a local cloud with the functions, approvals sent to it, and what comes of them."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shlex import quote
from typing import Any

import yaml

from deploy.layout import linked
from deploy.surroundings import FUNCTIONS
from examples.asking import CLIENT, CLIENT_SECRET, DESK_KEY, ORDERS, PEOPLE, batch_vpcs, extra_vpcs
from examples.desk_story import desk_story, requests_in_every_state
from examples.keys import CONFIGURATION, DEPLOYMENT, config_keys, pem
from examples.look import left_over
from examples.send import HUB, WORLD, Answer, Mailbox, answers, as_sent, user_keys
from examples.telling import Narrator, clock, say, tell

ROOT = Path(__file__).parent.parent

_START_SECONDS = 60
_EACH_SECONDS = 5.0
"""So long each of many may take."""
_SILENCE_SECONDS = 5.0
"""After so long without a line somebody wants to know that it goes on."""


class Failed(Exception):
    """The demo cannot go on; the text says why."""


@contextmanager
def running(directory: Path, package: Path | None = None) -> Iterator[str]:
    """A fresh local cloud with the functions deployed, from a package as it was built or from the checkout. Yields its address;
    everything ends with the block.
    """
    told = "" if package is None else f" from the package in {package}"
    tell(f"starting the local cloud and deploying the functions of s.yaml{told} ...")
    ledger, desk = ledger_in(directory), desk_at(directory)
    _configure(directory, ledger)
    ready, errors = directory / "address", directory / "localcloud.log"
    settings = {
        "LEDGER_URL": ledger,
        "CONFIG_KEYS": config_keys(),
        "CODE": str(linked(directory / "code") if package is None else package.resolve()),
        "SETTLE_SECONDS": "2",
        "MODE": "full",
        "DESK_LEDGER_URL": ledger,
        "DESK_ADDRESS": desk,
        "DESK_CLIENT_ID": CLIENT,
        "DESK_CLIENT_SECRET": CLIENT_SECRET,
        "DESK_KEYS": DESK_KEY,
        **{f"{name}_ENDPOINT": "http://{address}" for name in ("MNS", "STS", "VPC", "ECR")},
        "DESK_ISSUER": "http://{address}",
    }
    command = [sys.executable, "-m", "localcloud", "up", "--world", str(directory / "world.yaml"), "--deploy", "s.yaml"]
    command += ["--ready-file", str(ready), "--state-dir", str(directory / "cloud"), "--with-parent"]
    command += ["--as-built"] if package is not None else []
    command += [part for name, value in settings.items() for part in ("--env", f"{name}={value}")]
    with errors.open("w") as sink:
        # In a session of its own: Ctrl-C is for the demo, which then ends the cloud in good order.
        cloud = subprocess.Popen(command, cwd=ROOT, stdout=sink, stderr=sink, start_new_session=True)
        try:
            _wait_until_ready(cloud, ready, errors)
            yield ready.read_text("utf-8").strip()
        finally:
            if cloud.poll() is None:
                cloud.terminate()
                try:
                    cloud.wait(20)
                except subprocess.TimeoutExpired:
                    cloud.kill()
                    cloud.wait()


def desk_at(directory: Path) -> str:
    """Write the demo's world: the example's, with people who can sign in, a desk at a port that is free, and VPCs to ask for.
    Returns the desk's address.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    world = yaml.safe_load(WORLD.read_text("utf-8"))
    hub = world["accounts"][HUB]
    for name in PEOPLE:
        hub["users"].setdefault(name, {"display_name": name})
    hub["people"] = {name: {"user": name, "sub": f"sub-{name}"} for name in PEOPLE}
    application = {"name": "desk", "secret": CLIENT_SECRET, "redirect_uris": [f"{address}/sign-in/back"]}
    hub["oauth_applications"] = {CLIENT: application}
    world["accounts"][ORDERS]["vpcs"] += [*batch_vpcs(), *extra_vpcs()]
    world["deploy"]["http_ports"] = {"ecr-grants-desk": port}
    world["deploy"]["custom_domains"] = {"ecr-grants-desk": "grants.example.com"}  # else browsers save its pages
    (directory / "world.yaml").write_text(yaml.safe_dump(world, sort_keys=False), "utf-8")
    return address


def desk_of(directory: Path) -> str:
    """The address of the demo's desk, as its world has it."""
    world = yaml.safe_load((directory / "world.yaml").read_text("utf-8"))
    return f"http://127.0.0.1:{world['deploy']['http_ports']['ecr-grants-desk']}"


def _configure(directory: Path, ledger: str) -> None:
    """Make the ledger's tables, then sign and apply the example's configuration, with the operator's commands."""
    key, bundle = directory / "configuration.pem", directory / "configuration.json"
    key.write_text(pem(CONFIGURATION), "utf-8")
    _command("ledger", "upgrade", "--ledger-url", ledger)
    signing = ["--key", str(key), "--kid", CONFIGURATION, "--output", str(bundle)]
    _command("config", "sign", str(ROOT / "examples" / "config"), *signing)
    told = _command("config", "apply", str(bundle), "--ledger-url", ledger, "--deployment", DEPLOYMENT)
    key.unlink()
    say(clock(), "demo", f"ecr-grants config apply: {_APPLIED.sub('', told.splitlines()[0])}")


_APPLIED = re.compile(r" \([0-9a-f]{64}\)")
"""What is too long for a line that is read once."""


def _command(*words: str) -> str:
    """What a command of the operator prints. Raises Failed."""
    environment = {**os.environ, "CONFIG_KEYS": config_keys()}
    command = [sys.executable, "-m", "cli", *words]
    done = subprocess.run(command, cwd=ROOT, env=environment, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise Failed(f"ecr-grants {' '.join(words[:2])}: {done.stderr.strip()}")
    return done.stdout


def _wait_until_ready(cloud: subprocess.Popen[bytes], ready: Path, errors: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not ready.exists() or not ready.read_text("utf-8").strip():
        if cloud.poll() is not None:
            raise Failed(f"the local cloud did not start: {errors.read_text('utf-8').strip()}")
        if time.monotonic() > deadline:
            raise Failed(f"the local cloud was not ready in {_START_SECONDS} s: {errors.read_text('utf-8').strip()}")
        time.sleep(0.05)


def ledger_in(directory: Path) -> str:
    """The address of the demo's ledger."""
    return f"sqlite:///{directory / 'ledger.db'}"


class Story:
    """One run: sends approvals, follows the functions, and waits for what is to come of it."""

    def __init__(self, address: str, seconds: float) -> None:
        self._address = address
        self._seconds = seconds
        self._mailbox = Mailbox(address)
        self._narrator = Narrator(address)
        self.completions: list[dict[str, Any]] = []

    def request(self, text: str, what: str) -> None:
        """Send an approval, sealed first unless it is, and wait for its answer. Raises Failed unless it is done."""
        answer = self._answer(text, what)
        if answer.event != "done":
            raise Failed(f"{answer.event}: {answer.text}")
        say(clock(), "demo", f"answer: {answer.text}")

    def refused(self, text: str, what: str, code: str) -> None:
        """The same with what must be rejected with this code. Raises Failed when it is not."""
        answer = self._answer(text, what)
        if (answer.event, answer.code) != ("rejected", code):
            raise Failed(f"{what} should be rejected with {code}, and is {answer.event}: {answer.text}")
        say(clock(), "demo", f"rejected, as it must be: {code}")

    def _answer(self, text: str, what: str) -> Answer:
        sealed = as_sent(text)
        message_id = self._mailbox.send(sealed)
        how = "sent" if sealed == text else "sealed and sent"
        say(clock(), "demo", f"{what}: {how} to the queue ecr-approvals of account {HUB} (message {message_id})")
        completion = self.wait(lambda one: answers(one, message_id, sealed) is not None, "an answer")
        answer = answers(completion, message_id, sealed)
        assert answer is not None  # noqa: S101  # that is what was waited for
        return answer

    def wait(
        self, wanted: Callable[[dict[str, Any]], bool], what: str, tick: Callable[[], None] | None = None
    ) -> dict[str, Any]:
        """Follow the functions until a completion like this one is published. ``tick`` is called now and then."""
        started = time.monotonic()
        told_at = started
        while time.monotonic() - started < self._seconds:
            completion = self._mailbox.next_completion(1)
            if self._narrator.tell():
                told_at = time.monotonic()
            elif time.monotonic() - told_at > _SILENCE_SECONDS:
                told_at = time.monotonic()
                say(clock(), "demo", f"still waiting for {what}, {told_at - started:.0f} s")
            if completion is not None:
                self.completions.append(completion)
                if wanted(completion):
                    self._narrator.tell()
                    return completion
            elif tick is not None:
                tick()
        raise Failed(f"{what} did not come within {self._seconds:.0f} s; last seen: {self._narrator.last}")

    def follow(self) -> None:
        """Tell what happened since."""
        self._narrator.tell()

    def skip(self) -> None:
        """Leave out what happened since."""
        self._narrator.skip()

    def count(self, event: str, instances: Sequence[str], what: str, every: int) -> None:
        """Until this was published of each of these instances, telling only how many there are. Raises Failed."""
        left, started = set(instances), time.monotonic()
        while left:
            completion = self._mailbox.next_completion(1)
            self._narrator.skip()
            if completion is not None and completion["event"] == event:
                left.discard((completion.get("grant") or {}).get("instance_id", ""))
                done = len(instances) - len(left)
                if done and (done % every == 0 or not left):
                    say(clock(), "demo", f"{done} of {len(instances)} {what}")
            if left and time.monotonic() - started > len(instances) * _EACH_SECONDS + self._seconds:
                raise Failed(f"{len(left)} of {len(instances)} are not {what}: {', '.join(sorted(left)[:5])}")

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


def demo(approval: Path, seconds: float, *, package: Path | None, batch: int | None) -> int:
    """Send one approval and follow it to its answer; with ``batch`` then the rest of the circle, and people who ask for so many
    at once, until nothing is left.
    """
    try:
        text = approval.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Failed(f"cannot read {approval}: {error}") from None
    with tempfile.TemporaryDirectory(prefix="ecr-grants-") as directory, running(Path(directory), package) as address:
        say(clock(), "demo", f"local cloud at {address}, functions deployed: {', '.join(FUNCTIONS)}")
        story = Story(address, seconds)
        if batch is not None:
            refusals(story, json.loads(text))
        story.request(text, str(approval))
        active = [one["association_id"] for one in story.completions if one["event"] == "associated"]
        if not active:
            raise Failed("the request is done, and no association was reported")
        tell(f"The association {active[0]} is ACTIVE.")
        if batch is not None:
            circle(story, json.loads(text))
            desk_story(story, desk_of(Path(directory)), batch)
            nothing_left(story)
            tell("OK: granted, associated, ACTIVE; then everything was taken back and nothing is left over")
        else:
            tell(f"OK: granted and associated; association {active[0]} is ACTIVE")
        return 0


def refusals(story: Story, first: dict[str, Any]) -> None:
    """What does not come in: what somebody altered on its way, and what the policy forbids."""
    seal = json.loads(as_sent(json.dumps(first)))
    other = json.loads(as_sent(json.dumps(first | {"allowed_prefixes": ["10.0.0.0/8"]})))
    altered = json.dumps(seal | {"payload": other["payload"]})
    story.refused(altered, "a copy that was altered after sealing, to 10.0.0.0/8", "SealForged")
    own = first | {"request_id": "REQ-2026-0008", "approved_by": [first["requested_by"]]}
    story.refused(json.dumps(own), "one that its requester approved", "PolicyForbids")


def circle(story: Story, first: dict[str, Any]) -> None:
    """The whole life: a VBR beside the VPC, a second lease, one lease closed, the other ended, everything gone."""
    story.request((ROOT / "examples/approval-vbr.json").read_text("utf-8"), "examples/approval-vbr.json")
    ends_at = datetime.now(UTC) + timedelta(seconds=15)
    second = first | {
        "request_id": "REQ-2026-0009",
        "approved_at": datetime.now(UTC).isoformat(),
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

    def ended(one: dict[str, Any]) -> bool:
        return one["event"] == "revoked" and bool(one["grant"]["instance_type"] == "VPC")

    if not any(map(ended, story.completions)):  # on a slow machine it ended before the first one was closed
        story.wait(ended, "the revoke", tick)
    story.reconcile()
    nothing_left(story)


def nothing_left(story: Story) -> None:
    """Raises Failed while anything is up."""
    rest = story.left_over()
    if rest:
        raise Failed("left over: " + "; ".join(rest))


def stay(up: Callable[[], None], package: Path | None) -> int:
    """Keep the local cloud and the functions running and narrate until Ctrl-C. ``up`` is called once everything is up."""
    with tempfile.TemporaryDirectory(prefix="ecr-grants-") as directory, running(Path(directory), package) as address:
        up()
        desk, ledger = desk_of(Path(directory)), ledger_in(Path(directory))
        for line in what_next(address, ledger, desk):
            tell(line)
        requests_in_every_state(desk, ledger)
        if not sys.stdout.isatty():
            tell(f"This is no terminal: `kill {os.getpid()}` ends everything as Ctrl-C would.")
        tell("Ctrl-C ends everything. What the functions do:")
        narrator = Narrator(address)
        while True:
            narrator.tell()
            time.sleep(0.3)


def what_next(address: str, ledger: str, desk: str) -> Iterator[str]:
    """Where everything is, and commands to copy: each works as it stands, in a terminal of its own."""
    user, secret = user_keys("operator")
    yield f"The local cloud is at {address}: STS, VPC, ECR, MNS and Function Compute, on this machine only."
    yield f"  hub account A   {HUB}, region cn-hangzhou"
    yield "  queues          ecr-approvals for approvals, ecr-answers with what the topic ecr-completions says"
    yield f"  access key      {user} / {secret}   (RAM user operator of account A; every user is in examples/world.yaml)"
    yield f"  ledger          {ledger}"
    yield f"  desk            {desk}: open it in a browser, with requests in every state; who can sign in there:"
    for name, who in PEOPLE.items():
        yield f"    {name:<14}{who}"
    yield "    to begin: as requester, Ask for vpc-yours; as orders-lead, then as network-lead, Decide (docs/quickstart.md)"
    yield ""
    yield "Type next, in another terminal:"
    yield f"  cd {quote(str(ROOT))}"
    python, local = _program("python"), f"--address {address.removeprefix('http://')}"
    yield f"  {python} -m examples.send examples/approval-vpc.json --address {address}"
    yield f"  {python} -m examples.send examples/approval-vpc.json --address {address}    # again: already granted"
    yield f"  {python} -m examples.look --address {address}"
    yield f"  {python} -m localcloud journal {local}"
    yield f"  {python} -m localcloud logs {local} ecr-grants-grant"
    yield "and as the operator:"
    yield f"  export LEDGER_URL={quote(ledger)} CONFIG_KEYS={config_keys()} MNS_ENDPOINT={address} FC_ENDPOINT={address}"
    yield f"  export ALIBABA_CLOUD_ACCESS_KEY_ID={user} ALIBABA_CLOUD_ACCESS_KEY_SECRET={secret}"
    yield f"  {python} -m cli config show"
    yield f"  {python} -m cli grants"
    yield f"  {python} -m cli dead list"
    yield f"  {python} -m cli run reconcile"
    yield f"and as one of the people (`{python} -m cli login` does the same in a browser):"
    yield f"  export DESK_ADDRESS={desk}"
    yield f"  {python} -m examples.sign_in orders-lead --desk {desk}"
    yield f"  {python} -m cli requests"
    yield ""


def _program(name: str) -> str:
    """A program beside our interpreter, as somebody in the project's folder types it."""
    path = Path(sys.executable).with_name(name)
    return quote(str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path))
