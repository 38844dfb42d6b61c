"""Runs local clouds for tests, in a thread of the test process, and makes the official SDKs' clients for them."""

import asyncio
import hashlib
import http.client
import itertools
import json
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlencode

import pytest
from alibabacloud_expressconnectrouter20230901.client import Client as EcrClient
from alibabacloud_sts20150401.client import Client as StsClient
from alibabacloud_sts20150401.models import AssumeRoleRequest
from alibabacloud_tea_openapi.models import Config
from alibabacloud_tea_openapi.utils import Utils
from alibabacloud_vpc20160428.client import Client as VpcClient
from darabonba.request import DaraRequest
from Tea.exceptions import TeaException

from localcloud.client import AdminClient
from localcloud.fc.service import FcService
from localcloud.kernel import Cloud
from localcloud.mns.service import MnsService
from localcloud.server import Server
from localcloud.worldfile import check_world
from tests.functional.waiting import PATIENCE

T = TypeVar("T")

_numbers = itertools.count(1)

HANGZHOU = "cn-hangzhou"


@dataclass(frozen=True)
class Key:
    """An access key, with a token when it is a role session's."""

    id: str
    secret: str
    token: str | None = None

    @property
    def config(self) -> Config:
        """Credentials as the SDKs take them; the address is added by whoever makes a client."""
        return Config(access_key_id=self.id, access_key_secret=self.secret, security_token=self.token)


class LocalCloud:
    """One local cloud in a thread of its own."""

    def __init__(self, world: Mapping[str, Any]) -> None:
        self._file = check_world(world)
        self._ready = threading.Event()
        self._failed: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self.before_stop: list[Callable[[], object]] = []
        """Closes connections that clients hold open and never close themselves: the end would wait for them."""
        self._thread = threading.Thread(target=self._main, name="localcloud", daemon=True)
        self.cloud: Cloud
        self.mns: MnsService
        self.fc: FcService

    def start(self) -> "LocalCloud":
        """Return when it listens."""
        self._thread.start()
        assert self._ready.wait(30), "the local cloud did not come up"
        if self._failed is not None:
            raise self._failed
        return self

    def stop(self) -> None:
        """Return when everything it started has ended."""
        while self.before_stop:
            self.before_stop.pop()()
        if self._loop is not None and self._stop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)
        assert not self._thread.is_alive(), "the local cloud did not stop"
        if self._failed is not None:
            raise self._failed

    def _main(self) -> None:
        try:
            asyncio.run(self._run())
        except BaseException as error:  # noqa: BLE001 - handed to the test's thread
            self._failed = error
        finally:
            self._ready.set()

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        server = Server(self._file)
        self.cloud, self.mns, self.fc = server.cloud, server.mns, server.fc
        try:
            await server.start()
            self._ready.set()
            await self._stop.wait()
        finally:
            await server.stop()

    # What tests do with it

    @property
    def address(self) -> str:
        """host:port."""
        return self.cloud.address

    @property
    def url(self) -> str:
        """http://host:port."""
        return f"http://{self.cloud.address}"

    @property
    def admin(self) -> AdminClient:
        """The admin API, over HTTP."""
        return AdminClient(self.cloud.address)

    def inside(self, action: Callable[[Cloud], T]) -> T:
        """Do something with the cloud in its own thread, and return what came of it."""

        async def run() -> T:
            return action(self.cloud)

        return self.inside_async(run)

    def inside_async(self, action: Callable[[], Awaitable[T]]) -> T:
        """Await something in the cloud's own thread."""

        async def run() -> T:
            return await action()

        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(60)

    def advance(self, seconds: float) -> None:
        """Turn the clock."""
        self.inside(lambda cloud: cloud.clock.advance(seconds))

    def journal(self, **filters: Any) -> list[dict[str, Any]]:
        """All matching entries."""
        return self.inside(lambda cloud: cloud.journal.read(**filters))

    def operations(self, **filters: Any) -> list[tuple[str, str]]:
        """(operation, code) of all matching entries; the code is empty when the call went well."""
        return [(entry["operation"], entry["code"]) for entry in self.journal(**filters)]

    # Clients of the official SDKs

    def sts(self, key: Key, **more: Any) -> StsClient:
        """STS."""
        return StsClient(self._config(key, **more))

    def vpc(self, key: Key, **more: Any) -> VpcClient:
        """VPC."""
        return VpcClient(self._config(key, **more))

    def ecr(self, key: Key, **more: Any) -> EcrClient:
        """Express Connect Router."""
        return EcrClient(self._config(key, **more))

    def _config(self, key: Key, **more: Any) -> Config:
        return Config(
            access_key_id=key.id,
            access_key_secret=key.secret,
            security_token=key.token,
            endpoint=self.address,
            protocol="http",
            region_id=HANGZHOU,
            **more,
        )

    def assume(self, key: Key, role_arn: str, session: str = "a-session", **more: Any) -> Key:
        """Assume a role with the STS SDK."""
        request = AssumeRoleRequest(role_arn=role_arn, role_session_name=session, **more)
        found = self.sts(key).assume_role(request).body.credentials
        return Key(found.access_key_id, found.access_key_secret, found.security_token)


def new_account() -> str:
    """A uid no other test uses."""
    return f"{10**15 + next(_numbers):016d}"


def allow(action: str | list[str], resource: str | list[str] = "*", **condition: Any) -> dict[str, Any]:
    """A policy document with one Allow statement."""
    return policy({"Effect": "Allow", "Action": action, "Resource": resource, **condition})


def policy(*statements: Mapping[str, Any]) -> dict[str, Any]:
    """A policy document."""
    return {"Version": "1", "Statement": [dict(statement) for statement in statements]}


def trust(*principals: str, service: str | None = None, **condition: Any) -> dict[str, Any]:
    """A trust policy for some principals, or a cloud service."""
    principal = {"Service": [service]} if service else {"RAM": list(principals)}
    statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": principal}
    return policy({**statement, **({"Condition": condition} if condition else {})})


def user(name: str, *documents: Mapping[str, Any]) -> tuple[dict[str, Any], Key]:
    """A user of the world file with an obviously fake key, and that key."""
    key = Key(f"LTAI-example-{name}-{next(_numbers)}", f"not-a-secret-of-{name}")
    policies = {f"policy-{number}": dict(document) for number, document in enumerate(documents)}
    return {"access_key": {"id": key.id, "secret": key.secret}, "policies": policies}, key


@dataclass(frozen=True)
class Stage:
    """Account A with an ECR, account B with a VPC and a VBR, an administrator in each."""

    hub: str
    spoke: str
    ecr_id: str
    vpc_id: str
    vbr_id: str
    a: Key
    b: Key
    world: dict[str, Any]

    @property
    def vpc_grant(self) -> dict[str, Any]:
        """What names the grant of the VPC to the ECR, as SDK request models take it."""
        return {
            "ecr_id": self.ecr_id,
            "ecr_owner_ali_uid": int(self.hub),
            "instance_id": self.vpc_id,
            "instance_type": "VPC",
            "instance_region_id": HANGZHOU,
        }

    @property
    def vbr_grant(self) -> dict[str, Any]:
        """The same for the VBR."""
        return {**self.vpc_grant, "instance_id": self.vbr_id, "instance_type": "VBR"}


def stage(**more: Any) -> Stage:
    """A world with accounts of its own; further top-level keys of the world file can be given."""
    hub, spoke, number = new_account(), new_account(), next(_numbers)
    ecr_id, vpc_id, vbr_id = f"ecr-stage{number:06d}", f"vpc-stage{number}", f"vbr-stage{number}"
    hub_admin, a = user("hub-admin", allow("*"))
    spoke_admin, b = user("spoke-admin", allow("*"))
    accounts = {
        hub: {"ecrs": [{"id": ecr_id, "name": "hub"}], "users": {"hub-admin": hub_admin}},
        spoke: {
            "vpcs": [{"id": vpc_id, "region": HANGZHOU, "cidr": "10.20.0.0/16", "name": "orders"}],
            "vbrs": [{"id": vbr_id, "region": HANGZHOU, "name": "line"}],
            "users": {"spoke-admin": spoke_admin},
        },
    }
    return Stage(hub, spoke, ecr_id, vpc_id, vbr_id, a, b, {"accounts": accounts, **more})


@dataclass(frozen=True)
class Answer:
    """A raw HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The decoded body."""
        return json.loads(self.body)


def send(
    cloud: LocalCloud, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes = b""
) -> Answer:
    """One raw HTTP request, target and headers exactly as given."""
    connection = http.client.HTTPConnection(cloud.address, timeout=PATIENCE)
    try:
        connection.putrequest(method, target, skip_host="host" in {name.lower() for name in headers or {}})
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            connection.putheader(name, value)
        connection.endheaders(body or None)
        response = connection.getresponse()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
    finally:
        connection.close()


def signed_rpc(
    cloud: LocalCloud,
    key: Key,
    action: str,
    version: str,
    *,
    query: Mapping[str, str] | None = None,
    form: Mapping[str, str] | None = None,
    method: str = "POST",
    change: Mapping[str, str] | None = None,
) -> tuple[str, str, dict[str, str], bytes]:
    """A request signed by the SDK's own code, as (method, target, headers, body); headers can be changed before signing."""
    body = urlencode(form).encode() if form else b""
    headers = {
        "host": cloud.address,
        "x-acs-action": action,
        "x-acs-version": version,
        "x-acs-date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "x-acs-signature-nonce": uuid.uuid4().hex,
        "x-acs-content-sha256": hashlib.sha256(body).hexdigest(),
        "accept": "application/json",
        **({"content-type": "application/x-www-form-urlencoded"} if form else {}),
        **({"x-acs-security-token": key.token, "x-acs-accesskey-id": key.id} if key.token else {}),
        **(change or {}),
    }
    request = DaraRequest()
    request.method, request.pathname, request.headers, request.query = method, "/", headers, dict(query or {})
    headers["Authorization"] = Utils.get_authorization(
        request, "ACS3-HMAC-SHA256", headers["x-acs-content-sha256"], key.id, key.secret
    )
    return method, "/" + (f"?{urlencode(query)}" if query else ""), headers, body


def refused(call: Callable[[], object]) -> tuple[int, str]:
    """Status and code of the refusal that a call of an SDK must end in."""
    with pytest.raises(TeaException) as caught:
        call()
    error: Any = caught.value
    return error.statusCode, error.code
