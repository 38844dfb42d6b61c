"""The plain port and TLS: whoever speaks https to it is named and sent away in order."""

import socket
import ssl
from pathlib import Path

import pytest
from alibabacloud_sts20150401.client import Client as StsClient
from alibabacloud_tea_openapi.models import Config
from mns.account import Account
from mns.mns_exception import MNSExceptionBase
from Tea.exceptions import TeaException

from tests.functional.waiting import PATIENCE
from tests.localcloud.conftest import RunCloud
from tests.localcloud.fc_harness import function, http_trigger, template_text
from tests.localcloud.harness import LocalCloud, stage, trust


@pytest.fixture
def cloud(run_cloud: RunCloud) -> LocalCloud:
    """Any local cloud."""
    return run_cloud(stage().world)


def hello(address: str) -> ssl.SSLError:
    """What a TLS client is told."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    host, _, port = address.rpartition(":")
    with (
        socket.create_connection((host, int(port)), timeout=PATIENCE) as raw,
        pytest.raises(ssl.SSLError) as refused,
        context.wrap_socket(raw),
    ):
        pass
    return refused.value


def test_a_tls_client_is_named(cloud: LocalCloud, capsys: pytest.CaptureFixture[str]) -> None:
    """The journal and standard error say who, where, and what to do; the client gets an alert, not a reset."""
    assert "HANDSHAKE_FAILURE" in str(hello(cloud.address)).upper()

    (line,) = cloud.journal(service="tls")

    assert (line["operation"], line["code"], line["effect"]) == ("ClientHello", "PlainPort", False)
    assert f"to {cloud.address}, which speaks plain HTTP: use http://{cloud.address}" in line["message"]
    assert line["message"].startswith("127.0.0.1:")
    assert line["message"] in capsys.readouterr().err
    assert cloud.admin.health()["status"] == "ok"


@pytest.mark.parametrize(
    "target",
    [
        pytest.param("/?Action=DescribeVpcs&Version=2016-04-28", id="RPC"),
        pytest.param("/2023-03-30/functions/nobody/invocations", id="Function Compute"),
        pytest.param("/_localcloud/faults", id="the side door"),
        pytest.param("/queues/work/messages", id="queues"),
    ],
)
@pytest.mark.parametrize(
    ("more", "body"),
    [
        pytest.param("Content-Length: 500", b"abc", id="shorter than it says"),
        pytest.param("Transfer-Encoding: chunked", b"5\r\nabc", id="a chunk that breaks off"),
        pytest.param("Transfer-Encoding: chunked", b"3\r\nabc\r\nzz\r\n", id="a length that is none"),
        pytest.param("Content-Encoding: gzip\r\nContent-Length: 9", b"not gzip!", id="not packed as it says"),
    ],
)
def test_a_body_that_never_comes_whole_is_no_defect(
    cloud: LocalCloud, capfd: pytest.CaptureFixture[str], target: str, more: str, body: bytes
) -> None:
    """Whichever service it is for, a client that hangs up in the middle, or lies, is refused or dropped, and no more."""
    host, _, port = cloud.address.rpartition(":")
    head = f"POST {target} HTTP/1.1\r\nHost: {cloud.address}\r\n{more}\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        connection.sendall(head.encode() + body)
        connection.shutdown(socket.SHUT_WR)
        answer = connection.makefile("rb").readline()

    assert answer == b"" or answer.split()[1].startswith(b"4"), answer
    assert "Traceback" not in capfd.readouterr().err
    assert cloud.admin.health()["status"] == "ok"


def test_official_clients_that_speak_https(cloud: LocalCloud) -> None:
    """The SDKs' default is https: each attempt leaves a trace."""
    config = Config(access_key_id="a", access_key_secret="b", endpoint=cloud.address, protocol="https")
    with pytest.raises((TeaException, OSError, Exception), match=r"(?i)ssl|handshake"):
        StsClient(config).get_caller_identity()
    account = Account(f"https://{cloud.address}", "a", "b")
    with pytest.raises(MNSExceptionBase):
        account.get_queue("work").receive_message(0)
    account.get_client().close_connection()

    assert len(cloud.journal(service="tls")) >= 2


def test_bytes_in_small_pieces(cloud: LocalCloud) -> None:
    """One byte of a greeting is not enough to tell; HTTP that comes slowly is still HTTP."""
    host, _, port = cloud.address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as slow:
        slow.sendall(b"\x16")
        slow.sendall(b"\x03\x01")
        assert slow.recv(100) == b"\x15\x03\x01\x00\x02\x02\x28"
        assert slow.recv(100) == b""
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as slow:
        for byte in b"GET /_localcloud/health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n":
            slow.sendall(bytes([byte]))
        assert slow.recv(1000).startswith(b"HTTP/1.1 200")
    with socket.create_connection((host, int(port)), timeout=PATIENCE):
        pass
    silent = socket.create_connection((host, int(port)), timeout=PATIENCE)
    assert cloud.admin.health()["status"] == "ok"  # by now the silent one is accepted
    cloud.stop()  # nobody waits for a connection that never said anything
    silent.close()


def test_the_port_of_an_http_trigger(run_cloud: RunCloud, tmp_path: Path) -> None:
    """Functions' own ports notice it as well, and name themselves."""
    at = stage()
    at.world["deploy"] = {"account": at.hub}
    at.world["accounts"][at.hub]["roles"] = {"worker": {"trust": trust(service="fc.aliyuncs.com")}}
    (tmp_path / "index.py").write_text("def handler(event, context):\n    return 'x'\n")
    (tmp_path / "s.yaml").write_text(template_text(function("page", code=str(tmp_path), triggers=[http_trigger()])))
    cloud = run_cloud(at.world)
    (deployed,) = cloud.inside_async(lambda: cloud.fc.deploy(tmp_path / "s.yaml", {}))

    hello(deployed["url"].removeprefix("http://"))

    assert f"use {deployed['url']} there" in cloud.journal(service="tls")[0]["message"]
