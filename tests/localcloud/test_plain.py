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
        socket.create_connection((host, int(port)), timeout=10) as raw,
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
    with socket.create_connection((host, int(port)), timeout=10) as slow:
        slow.sendall(b"\x16")
        slow.sendall(b"\x03\x01")
        assert slow.recv(100) == b"\x15\x03\x01\x00\x02\x02\x28"
        assert slow.recv(100) == b""
    with socket.create_connection((host, int(port)), timeout=10) as slow:
        for byte in b"GET /_localcloud/health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n":
            slow.sendall(bytes([byte]))
        assert slow.recv(1000).startswith(b"HTTP/1.1 200")
    with socket.create_connection((host, int(port)), timeout=10):
        pass
    silent = socket.create_connection((host, int(port)), timeout=10)
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
