"""The desk in a process of its own, a local cloud that people sign in with, and browsers, for tests."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import requests
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from examples.keys import key as example_key
from shared.ledger.transactions import Ledger, now_ms
from shared.loop.asking import looked
from shared.loop.consent import Consent
from shared.loop.gate import Gate
from shared.messages.configuration import base64url
from shared.messages.consent import Looked, snapshot_of
from shared.rules.configuration import Configuration
from shared.rules.shipped import POLICY
from tests.configured import CONFIG_KEYS, CONFIG_KEYS_TEXT, DEPLOYMENT, apply, configuration
from tests.functional.launch import DESK, clean_environment, launched, new_ledger, up
from tests.functional.waiting import PATIENCE, until
from tests.functional.world import HUB, HUB_ECR, REGION, ROOT, SPOKE, TESTER, Stage

Json = dict[str, Any]

PEOPLE = ("requester", "owner", "second-owner", "router-owner", "auditor", "stranger")
GROUPS = {"orders": ["owner", "second-owner"], "network": ["router-owner"], "auditors": ["auditor"]}


@dataclass
class Browser:
    """What a browser behind TLS does: it keeps cookies, sends them back, and says where a call comes from."""

    address: str
    cookies: dict[str, str] = field(default_factory=dict)

    def call(self, method: str, path: str, **how: Any) -> requests.Response:
        """One call, no redirect followed."""
        headers = {"Origin": self.address} if method != "GET" else {}
        headers |= how.pop("headers", {})
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        url = path if path.startswith("http") else self.address + path
        answer = requests.request(method, url, headers=headers, allow_redirects=False, timeout=PATIENCE, **how)
        for one in answer.raw.headers.getlist("Set-Cookie"):
            name, _, rest = one.partition("=")
            value = rest.partition(";")[0].strip('"')
            assert "HttpOnly" in one
            assert "Secure" in one
            assert "SameSite=lax" in one
            self.cookies = (
                {**self.cookies, name: value} if value else {k: v for k, v in self.cookies.items() if k != name}
            )
        return answer

    def get(self, path: str, **how: Any) -> requests.Response:
        """Look."""
        return self.call("GET", path, **how)

    def post(self, path: str, body: object, **how: Any) -> requests.Response:
        """Say something."""
        return self.call("POST", path, json=body, **how)

    def ask(self, asked: Json) -> Json:
        """Ask for this one. Returns the request."""
        answer = self.post("/api/v1/requests", {"wishes": [asked]})
        assert answer.status_code == 201, answer.text
        request: Json = answer.json()["requests"][0]
        return request

    def sign_in(self, person: str, to: str = "/") -> requests.Response:
        """As this person, at the provider's page. Returns the desk's last answer."""
        page = self.get(f"/sign-in?to={to}").headers["Location"]
        back = requests.post(page, data={"person": person}, allow_redirects=False, timeout=PATIENCE)
        return self.get(back.headers["Location"])


@dataclass
class Desked:
    """One desk at work."""

    address: str
    ledger: Ledger
    cloud: str
    stage: Stage

    def browser(self, person: str | None = None) -> Browser:
        """A browser of somebody who has signed in; of a stranger without a name."""
        found = Browser(self.address)
        if person is not None:
            answer = found.sign_in(person)
            assert answer.status_code == 303, answer.text
        return found

    def bearer(self, person: str) -> str:
        """A token as the command line gets it."""
        browser, verifier = Browser(self.address), "v" * 43
        began = {"port": "50000", "challenge": create_s256_code_challenge(verifier), "mark": "mine"}
        page = browser.get(f"/sign-in?{urlencode(began)}").headers["Location"]
        back = requests.post(page, data={"person": person}, allow_redirects=False, timeout=PATIENCE).headers["Location"]
        (code,) = parse_qs(urlsplit(browser.get(back).headers["Location"]).query)["code"]
        answer = browser.post("/api/v1/tokens", {"code": code, "verifier": verifier})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["token"])

    def token(self, **changes: Any) -> str:
        """What a system shows that asks for the requester; keyword arguments change header or claims, ``key`` who signs."""
        now = int(time.time())
        header: Json = {"alg": "Ed25519", "typ": "ecr-grants-request+jwt", "kid": "tickets-1"}
        claims: Json = {
            "iss": "tickets",
            "aud": DEPLOYMENT,
            "sub": "requester",
            "iat": 0,
            "exp": 240,
            "jti": uuid.uuid4().hex,
        }
        signer = example_key(changes.pop("key", "tickets-1"))
        for name, value in changes.items():
            (header if name in ("alg", "typ", "kid", "crit") else claims)[name] = value
        claims = {name: value for name, value in claims.items() if value is not None}
        claims |= {name: now + claims[name] for name in ("iat", "exp")}
        return signed_by_hand(header, claims, signer)

    def standing(self) -> Configuration:
        """What is configured now."""
        version = Gate(self.ledger, CONFIG_KEYS, 1, now_ms).standing.version
        assert version is not None
        return version.configuration

    def look(self, request_id: str, **seen: Any) -> str:
        """Preflight has looked. Returns the snapshot."""
        shown: Json = {"request": request_id, "world": seen.pop("world", {})}
        at = datetime.now(UTC)
        fact = Looked(request_id=request_id, at=at, snapshot=snapshot_of(shown), content=shown, **seen)
        looked(self.ledger, fact)
        return fact.snapshot

    def hear(self) -> list[str]:
        """What the grant function does when it is woken."""
        return Consent(self.ledger, Gate(self.ledger, CONFIG_KEYS, 1, now_ms), now_ms).hear()


def signed_by_hand(header: Json, claims: Json, key: Ed25519PrivateKey) -> str:
    """A JWT as somebody makes it who is bound by no library's rules."""
    first = ".".join(base64url(json.dumps(part).encode()) for part in (header, claims))
    if header["alg"] == "HS256":
        raw = key.public_key().public_bytes_raw()
        return f"{first}.{base64url(hmac.new(raw, first.encode(), hashlib.sha256).digest())}"
    signature = b"" if header["alg"] == "none" else key.sign(first.encode())
    return f"{first}.{base64url(signature)}"


def wish(number: int = 1, **changes: Any) -> Json:
    """What is asked for, as the API takes it."""
    return {
        "kind": "grant",
        "ecr": {"id": HUB_ECR, "owner_uid": HUB},
        "instance": {"type": "VPC", "id": f"vpc-desk{number}", "region": REGION, "owner_uid": SPOKE},
        "allowed_prefixes": ["10.20.0.0/16"],
        "ends_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 86_400)),
        "on_end": "teardown",
        "reason": "A test needs it",
        **changes,
    }


def decided(
    ledger: Ledger, stage: Stage, *, policy: str = POLICY, groups: Mapping[str, list[str]] | None = None
) -> None:
    """A configuration in which these people decide by the shipped policy, or another. ``groups``: instead of the usual ones."""
    accounts = {uid: dict(one) for uid, one in stage.listed.items()}
    accounts[SPOKE] |= {"owner": "orders", "supernets": ["10.0.0.0/8"]}
    accounts[HUB] |= {"owner": "network"}
    people = {
        "persons": {name: {"subjects": [f"ram:{subject(name)}", f"tickets:{name}"]} for name in PEOPLE},
        "groups": {**GROUPS, **(groups or {})},
    }
    apply(ledger, configuration(accounts, people=people, policy=policy))


def free_port() -> int:
    """A port of this machine that nobody uses now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def with_people(stage: Stage, address: str) -> None:
    """Let people sign in with the local cloud, at a desk at this address."""
    for name in PEOPLE:
        stage.hub["users"][name] = {"display_name": name}
    stage.hub["people"] = {name: {"user": name, "sub": f"sub-{name}"} for name in PEOPLE}
    stage.hub["oauth_applications"] = {
        DESK["DESK_CLIENT_ID"]: {
            "name": "desk",
            "secret": DESK["DESK_CLIENT_SECRET"],
            "redirect_uris": [f"{address}/sign-in/back"],
        }
    }


def subject(name: str) -> str:
    """By what name the desk knows somebody who signed in."""
    return f"{HUB}:user:sub-{name}"


@contextlib.contextmanager
def desked(folder: Path, url: str | None = None, configured: bool = True, **settings: str) -> Iterator[Desked]:
    """A local cloud, a ledger, and the desk in a process of its own before both. ``url``: of a ledger with its tables; else a
    file. ``configured``: it has a configuration.
    """
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    stage = Stage()
    with_people(stage, address)
    world, _ = stage.write(folder)
    url = url or new_ledger(folder)
    with contextlib.closing(Ledger(url)) as ledger, launched(up(world, env={}, template=None), folder) as cloud:
        if configured:
            decided(ledger, stage)
        env = {
            "FC_REGION": REGION,
            "FC_ACCOUNT_ID": HUB,
            "FC_CUSTOM_LISTEN_PORT": str(port),
            "LEDGER_URL": url,
            "CONFIG_KEYS": CONFIG_KEYS_TEXT,
            "MNS_ENDPOINT": cloud,
            "ALIBABA_CLOUD_ACCESS_KEY_ID": TESTER.id,
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": TESTER.secret,
            **DESK,
            "DESK_ADDRESS": address,
            "DESK_ISSUER": cloud,
            "DESK_CALLS": "100000",
            **settings,
        }
        log = folder / "desk.log"
        with log.open("wb") as sink:
            command = [sys.executable, str(ROOT / "functions" / "desk.py")]
            path = {"PYTHONPATH": str(ROOT)} | {
                name: os.environ[name] for name in ("COVERAGE_PROCESS_CONFIG",) if name in os.environ
            }
            process = subprocess.Popen(command, env=clean_environment(**env, **path), stdout=sink, stderr=sink)
        try:

            def ready() -> bool:
                assert process.poll() is None, log.read_text("utf-8")
                with contextlib.suppress(requests.ConnectionError):
                    return requests.get(f"{address}/api/v1/health", timeout=PATIENCE).ok
                return False

            until(ready, "the desk answers", 2 * PATIENCE)
            yield Desked(address, ledger, cloud, stage)
        finally:
            process.terminate()
            process.wait(PATIENCE)
