"""Seal an approval, send it to a queue with the official SDK, and wait for its answer.

    python -m examples.send examples/approval-vpc.json --address http://127.0.0.1:PORT

It seals with the example's key and for the example's deployment; a file that is sealed already is sent as it is. Uses nothing of
the product but what makes a text safe for a terminal: what it reads is the public contract of completions.
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from mns.account import Account
from mns.mns_exception import MNSExceptionBase, MNSServerException
from mns.queue import Message

from cli.output import prepare
from examples.keys import DEPLOYMENT, ISSUER, key
from examples.seal import sealed
from shared.messages.cells import safe

WORLD = Path(__file__).parent / "world.yaml"
HUB = "1000000000000001"


@dataclass(frozen=True)
class Answer:
    """A completion that answers one request: done, rejected or dead."""

    event: str
    code: str
    text: str
    at: str
    first_message_id: str


def user_keys(user: str, world: Path = WORLD) -> tuple[str, str]:
    """The (fake) access key of a RAM user of the hub account, from the world file."""
    found = yaml.safe_load(world.read_text("utf-8"))["accounts"][HUB]["users"][user]["access_key"]
    return found["id"], found["secret"]


class Mailbox:
    """The queues and the answers of the local cloud, as two RAM users see them."""

    def __init__(self, address: str, world: Path = WORLD) -> None:
        requester, operator = user_keys("requester", world), user_keys("operator", world)
        self._approvals = Account(address, *requester).get_queue("ecr-approvals")
        self._answers = Account(address, *operator).get_queue("ecr-answers")
        self._answers.set_encoding(False)

    def send(self, text: str) -> str:
        """Put an approval on the queue. Returns its message id."""
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


def answers(completion: dict[str, Any], message_id: str, sent: str) -> Answer | None:
    """The answer in a completion, when it is the one to what was sent."""
    if completion["event"] not in ("done", "rejected", "dead"):
        return None
    about = completion.get("request", {}).get("request_id")
    ours = completion.get("message_id") == message_id or (about is not None and about == _request_id(sent))
    if not ours:
        return None
    reason = completion["reason"]
    return Answer(
        completion["event"], reason["code"], reason["text"], completion["at"], completion.get("message_id", "")
    )


def as_sent(text: str, deployment: str = DEPLOYMENT) -> str:
    """An approval sealed with the example's key for a deployment; whatever is no bare approval as it is."""
    document = _read(text)
    if not str(document.get("schema", "")).startswith("ecr-grants/approval/"):
        return text
    return json.dumps(sealed(text.encode(), key(ISSUER), ISSUER, deployment, int(time.time())))


def _request_id(sent: str) -> str | None:
    """The request in what was sent, which is sealed."""
    payload = _read(sent).get("payload")
    try:
        raw = base64.urlsafe_b64decode(f"{payload}{'=' * (-len(str(payload)) % 4)}")
        found = _read(raw.decode()).get("request_id")
    except ValueError:
        return None
    return found if isinstance(found, str) else None


def _read(text: str) -> dict[str, Any]:
    """The JSON object in a text; an empty one where there is none."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def main() -> int:
    """Send the file, print the answer. Exit code 0: granted and associated."""
    parser = argparse.ArgumentParser(
        description="Seal an approval, send it to the local cloud, and wait for its answer."
    )
    parser.add_argument("approval", type=Path, help="the approval, as a JSON file; sealed first unless it is")
    parser.add_argument("--address", required=True, help="the address that `make up` prints")
    parser.add_argument("--seconds", type=int, default=60, help="how long to wait for the answer (default: 60)")
    parser.add_argument(
        "--deployment", default=DEPLOYMENT, help="the deployment that it is sealed for (default: the example's)"
    )
    options = parser.parse_args()
    prepare()
    try:
        return _send(options.approval, options.address, options.seconds, options.deployment)
    except KeyboardInterrupt:
        print("stopped; what was sent stays sent", file=sys.stderr)
        return 130


def _send(approval: Path, address: str, seconds: int, deployment: str) -> int:
    try:
        text = as_sent(approval.read_text("utf-8"), deployment)
    except (OSError, UnicodeDecodeError) as error:
        print(f"cannot read {safe(approval)}: {getattr(error, 'strerror', None) or error}", file=sys.stderr)
        return 2
    try:
        mailbox = Mailbox(address)
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
