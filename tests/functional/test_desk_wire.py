"""What is sent to the door by hand: slow, endless and ambiguous bodies; addresses and headers that mean more than they say."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from urllib.parse import urlencode, urlsplit

import pytest
import requests

from shared.desk.manners import LARGEST
from tests.functional.desked import Browser, Desked, desked, wish
from tests.functional.waiting import PATIENCE


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desked]:
    """One for all of them."""
    with desked(tmp_path_factory.mktemp("desk")) as made:
        yield made


# -- bodies ----------------------------------------------------------------------------------------------------------

HEAD = "POST /api/v1/requests HTTP/1.1\r\nHost: desk\r\nContent-Type: application/json\r\n"


@contextlib.contextmanager
def connected(desk: Desked) -> Iterator[socket.socket]:
    """A connection to the desk, by hand."""
    where = urlsplit(desk.address)
    with socket.create_connection((where.hostname or "", where.port or 0), timeout=PATIENCE) as made:
        yield made


def told_by_hand(connection: socket.socket) -> tuple[int, str]:
    """What is answered, to the end of the connection."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65_536):
            found += part
    head, _, body = found.decode().partition("\r\n\r\n")
    assert "connection: close" in head.lower()
    return int(head.split()[1]), body


@pytest.mark.parametrize(
    "head",
    [
        pytest.param("Content-Length: 500\r\n", id="of a length"),
        pytest.param("Transfer-Encoding: chunked\r\n", id="in chunks"),
    ],
)
def test_a_slow_body_ends(desk: Desked, head: str) -> None:
    """Whoever sends a byte now and then is told that it takes too long, and the connection ends; others are served meanwhile."""
    with connected(desk) as slow:
        slow.sendall(f"{HEAD}{head}\r\n".encode())
        slow.settimeout(0.5)
        byte, until = b"1\r\n \r\n" if "chunked" in head else b" ", time.monotonic() + 2 * PATIENCE
        found = b""
        while not found and time.monotonic() < until:
            slow.sendall(byte)
            assert Browser(desk.address).get("/api/v1/health").ok
            with contextlib.suppress(TimeoutError):
                found = slow.recv(65_536)
        slow.settimeout(PATIENCE)
        with contextlib.suppress(ConnectionResetError):
            while part := slow.recv(65_536):
                found += part
    status, code = found.split()[1], json.loads(found.partition(b"\r\n\r\n")[2])["code"]
    assert (status, code) == (b"408", "CallRefused")


def test_a_body_in_chunks_is_read(desk: Desked) -> None:
    """As one of a length is: it is refused for what it says, not for how it came."""
    headers = {"Authorization": f"Bearer {desk.bearer('requester')}", "Content-Type": "application/json"}
    raw = json.dumps({"wishes": [wish(30)]}).encode()
    pieces = (raw[at : at + 7] for at in range(0, len(raw), 7))
    answer = requests.post(f"{desk.address}/api/v1/requests", data=pieces, headers=headers, timeout=PATIENCE)
    assert answer.status_code == 201, answer.text


def test_a_body_in_chunks_has_an_end(desk: Desked) -> None:
    """It is refused as soon as it is too large, though nobody said how long it would be."""
    piece = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    with connected(desk) as large:
        large.sendall(f"{HEAD}Transfer-Encoding: chunked\r\n\r\n".encode())
        with contextlib.suppress(ConnectionError):
            for _ in range(LARGEST // 65_536 + 2):
                large.sendall(piece)
        status, _ = told_by_hand(large)
    assert status == 413


@pytest.mark.parametrize("length", [str(LARGEST + 1), "9" * 19])
def test_a_body_that_says_it_is_too_large_is_not_read(desk: Desked, length: str) -> None:
    """It is refused by its head."""
    with connected(desk) as large:
        large.sendall(f"{HEAD}Content-Length: {length}\r\n\r\n".encode())
        status, body = told_by_hand(large)
    assert (status, json.loads(body)["field"]) == (413, None)


@pytest.mark.parametrize(
    "more",
    [
        pytest.param("Content-Length: 2\r\nContent-Length: 3\r\n", id="two lengths"),
        pytest.param("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", id="a length and chunks"),
        pytest.param("Content-Length: -1\r\n", id="a length below nothing"),
        pytest.param("Transfer-Encoding: gzip\r\n", id="an encoding of another kind"),
        pytest.param("Content-Length : 2\r\n", id="a blank before the colon"),
    ],
)
def test_a_call_that_can_be_read_in_two_ways_is_not_taken(desk: Desked, more: str) -> None:
    """Nothing is smuggled past whoever stands before the desk: there is one answer at most, and it is no success."""
    with connected(desk) as odd:
        odd.sendall(
            f"{HEAD}{more}\r\n{{}}0\r\n\r\nGET /api/v1/health HTTP/1.1\r\nHost: desk\r\nConnection: close\r\n\r\n".encode()
        )
        odd.settimeout(PATIENCE)
        found = b""
        with contextlib.suppress(ConnectionResetError):
            while part := odd.recv(65_536):
                found += part
    assert b" 200 OK" not in found, found


# -- addresses and headers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "to",
    [
        "https://evil.example.com/",
        "//evil.example.com",
        "/\\evil.example.com",
        "\\\\evil.example.com",
        "/\t/evil.example.com",
        " //evil.example.com",
        "http:evil.example.com",
        "/\r\nSet-Cookie: a=b",
        "/\u2028x",
        "",
        "evil",
    ],
)
def test_nobody_is_sent_elsewhere(desk: Desked, to: str) -> None:
    """However it is written: after signing in the browser goes on at the desk, with no header of anybody's."""
    browser = Browser(desk.address)
    page = browser.get(f"/sign-in?{urlencode({'to': to})}").headers["Location"]
    back = requests.post(page, data={"person": "owner"}, allow_redirects=False, timeout=PATIENCE).headers["Location"]
    answer = browser.get(back)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    assert set(browser.cookies) == {"__Host-desk"}


@pytest.mark.parametrize("path", ["/api/v1/me/", "/api/v1/requests/", "//evil.example.com/..", "/sign-in/"])
def test_the_host_header_sends_nobody_anywhere(desk: Desked, path: str) -> None:
    """No answer is made of where the caller says that it is."""
    for headers in ({"Host": "evil.example.com"}, {"X-Forwarded-Host": "evil.example.com"}):
        for where in (path, "/sign-in", "/api/v1/openapi.json"):
            answer = Browser(desk.address).get(where, headers=headers)
            assert "evil" not in answer.headers.get("Location", "").partition("?")[0]
            assert "evil.example.com" not in answer.text
        assert Browser(desk.address).get(path, headers=headers).status_code == 404


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mark", "x\r\nSet-Cookie: a=b"),
        ("mark", "x&code=y"),
        ("port", "80"),
        ("port", "50000@evil.example.com"),
        ("challenge", "short"),
        ("to", "x" * 501),
    ],
)
def test_a_command_line_is_sent_back_to_this_machine_alone(desk: Desked, name: str, value: str) -> None:
    """Nothing that it says gets into an address or a header but what is a port, a challenge and a mark."""
    asked = {"port": "50000", "challenge": "c" * 43, "mark": "m"} | {name: value}
    answer = Browser(desk.address).get(f"/sign-in?{urlencode(asked)}")
    assert (answer.status_code, answer.json()["field"]) == (422, name)
    assert "a" not in answer.cookies


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Idempotency-Key", "two words"),
        ("Idempotency-Key", "k" * 201),
        ("Idempotency-Key", "caf\u00e9"),
        ("If-Match", "x" * 1001),
    ],
)
def test_a_header_that_is_none_is_refused(desk: Desked, name: str, value: str) -> None:
    """By its name; and nothing is recorded."""
    browser = desk.browser("requester")
    asked = browser.ask(wish(31))
    where = f"/api/v1/requests/{asked['request_id']}/withdrawal" if name == "If-Match" else "/api/v1/requests"
    body = {} if name == "If-Match" else {"wishes": [wish(32)]}
    answer = browser.post(where, body, headers={name: value.encode("latin-1")})
    assert (answer.status_code, answer.json()["field"]) == (422, name.lower()), answer.text
    assert browser.get(f"/api/v1/requests/{asked['request_id']}").json()["stage"] == "open"
