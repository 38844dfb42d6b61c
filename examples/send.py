"""Send an approval to a queue with the official SDK and wait for its answer.

    python -m examples.send examples/approval-vpc.json --address http://127.0.0.1:PORT

Uses nothing of the product but what makes a text safe for a terminal: what it sends is the file, sealed as its issuer would with
the key of the examples (``examples/keys.py``); what it reads is the public contract of completions.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from mns.account import Account
from mns.mns_exception import MNSExceptionBase, MNSServerException
from mns.queue import Message

from cli.output import prepare, safe
from examples.keys import key
from examples.seal import sealed

WORLD = Path(__file__).parent / "world.yaml"
HUB = "1000000000000001"
DEPLOYMENT = "ecr-grants-demo"
"""What seals are addressed to, where nothing else is said."""


@dataclass(frozen=True)
class Answer:
    """A completion that answers one request: done, rejected or dead."""

    event: str
    text: str
    at: str
    first_message_id: str


def user_keys(user: str, world: Path = WORLD) -> tuple[str, str]:
    """The (fake) access key of a RAM user of the hub account, from the world file."""
    found = yaml.safe_load(world.read_text("utf-8"))["accounts"][HUB]["users"][user]["access_key"]
    return found["id"], found["secret"]


class Mailbox:
    """The queues and the answers of the local cloud, as two RAM users see them."""

    def __init__(self, address: str, world: Path = WORLD, *, deployment: str = DEPLOYMENT) -> None:
        requester, operator = user_keys("requester", world), user_keys("operator", world)
        self._approvals = Account(address, *requester).get_queue("ecr-approvals")
        self._answers = Account(address, *operator).get_queue("ecr-answers")
        self._answers.set_encoding(False)
        self._deployment = deployment

    def send(self, text: str) -> str:
        """Seal an approval and put it on the queue. Returns its message id."""
        return self.send_as_it_is(seal_of(text, self._deployment))

    def send_as_it_is(self, text: str) -> str:
        """Put a text on the queue. Returns its message id."""
        return str(self._approvals.send_message(Message(text)).message_id)

    def next_completion(self, wait_seconds: int) -> dict[str, Any] | None:
        """The next completion that the topic delivered, taken off the queue."""
        try:
            message = self._answers.receive_message(wait_seconds)
        except MNSServerException as error:
            if error.type == "MessageNotExist":
                return None
            raise
        self._answers.delete_message(message.receipt_handle)
        completion: dict[str, Any] = json.loads(message.message_body)
        return completion


def seal_of(text: str, deployment: str) -> str:
    """An approval as its issuer seals it, now; what names no issuer stays as it is."""
    issuer = _field(text, "issuer")
    if issuer is None:
        return text
    kid = f"{issuer}-1"
    return json.dumps(sealed(text.encode(), key(kid), kid, deployment, int(time.time())))


def answers(completion: dict[str, Any], message_id: str, sent: str) -> Answer | None:
    """The answer in a completion, when it is the one to what was sent."""
    if completion["event"] not in ("done", "rejected", "dead"):
        return None
    about = completion.get("request", {}).get("request_id")
    ours = completion.get("message_id") == message_id or (about is not None and about == _field(sent, "request_id"))
    if not ours:
        return None
    return Answer(completion["event"], completion["reason"]["text"], completion["at"], completion.get("message_id", ""))


def _field(sent: str, name: str) -> str | None:
    """A field of what is sent, as far as it can be read."""
    try:
        found = json.loads(sent).get(name)
    except (ValueError, AttributeError):
        return None
    return found if isinstance(found, str) else None


def main() -> int:
    """Send the file, print the answer. Exit code 0: granted and associated."""
    parser = argparse.ArgumentParser(description="Send an approval to the local cloud and wait for its answer.")
    parser.add_argument("approval", type=Path, help="the approval to send, as a JSON file")
    parser.add_argument("--address", required=True, help="the address that `make up` prints")
    parser.add_argument(
        "--deployment",
        default=os.environ.get("DEPLOYMENT", DEPLOYMENT),
        help=f"what the seal is addressed to (DEPLOYMENT; default: {DEPLOYMENT})",
    )
    parser.add_argument("--seconds", type=int, default=60, help="how long to wait for the answer (default: 60)")
    options = parser.parse_args()
    prepare()
    try:
        return _send(options.approval, options.address, options.deployment, options.seconds)
    except KeyboardInterrupt:
        print("stopped; what was sent stays sent", file=sys.stderr)
        return 130


def _send(approval: Path, address: str, deployment: str, seconds: int) -> int:
    try:
        text = approval.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        print(f"cannot read {safe(approval)}: {getattr(error, 'strerror', None) or error}", file=sys.stderr)
        return 2
    try:
        mailbox = Mailbox(address, deployment=deployment)
        while mailbox.next_completion(0) is not None:
            pass  # answers to earlier requests
        message_id = mailbox.send(text)
        print(f"sent {safe(approval)} as message {safe(message_id)}")
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            completion = mailbox.next_completion(1)
            answer = None if completion is None else answers(completion, message_id, text)
            if answer is None:
                continue
            if answer.event == "done" and answer.first_message_id != message_id:
                print(f"done: already granted; this very request was answered at {safe(answer.at)}")
            else:
                print(f"{safe(answer.event)}: {safe(answer.text)}")
            return 0 if answer.event == "done" else 1
    except MNSExceptionBase as error:
        print(f"the queue at {address} is not usable: {safe(error)}", file=sys.stderr)
        return 2
    print(f"no answer within {seconds} s", file=sys.stderr)
    return 3


if __name__ == "__main__":
    sys.exit(main())
