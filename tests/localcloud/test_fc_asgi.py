"""A FastAPI application on uvicorn as a custom runtime: several requests in one instance, one instance kept, the platform's
headers, limits and credentials, all as an s.yaml describes it."""

import http.client
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from localcloud.fc.custom_instances import free_port
from localcloud.fc.errors import DeployError
from localcloud.worldfile import WorldError, check_world
from tests.localcloud.conftest import RunCloud
from tests.localcloud.fc_harness import Functions, http_trigger, until
from tests.localcloud.harness import Key, new_account
from tests.localcloud.processes import alive, frozen

PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"

APPLICATION = """
import asyncio, os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse

if Path("broken").exists():
    raise SystemExit("broken on purpose")

inside = 0
together = asyncio.Event()
gate = asyncio.Event()
ticks = 0


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async def tick() -> None:
        global ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.005)

    ticking = asyncio.create_task(tick())
    print("started", flush=True)
    yield
    ticking.cancel()
    print("ended in order", flush=True)


app = FastAPI(lifespan=lifespan)


@app.get("/meet/{many}")
async def meet(many: int) -> dict[str, int]:
    global inside
    inside += 1
    if inside == many:
        together.set()
    await together.wait()
    return {"pid": os.getpid(), "inside": inside}


@app.get("/wait")
async def wait() -> dict[str, int]:
    await gate.wait()
    return {"pid": os.getpid()}


@app.get("/open")
async def open_gate() -> dict[str, int]:
    gate.set()
    return {"pid": os.getpid(), "ticks": ticks}


@app.get("/forever")
async def forever() -> None:
    await asyncio.Event().wait()


@app.api_route("/seen", methods=["GET", "POST"])
async def seen(request: Request, response: Response) -> dict[str, object]:
    for name, value in (("x-own", "1"), ("x-fc-own", "1"), ("set-cookie", "a=1"), ("set-cookie", "b=2")):
        response.headers.append(name, value)
    body = await request.body()
    return {"headers": request.headers.items(), "body": len(body), "environment": dict(os.environ), "pid": os.getpid()}


@app.get("/large/{size}")
async def large(size: int, response: Response) -> None:
    response.headers["x-large"] = "x" * size


@app.get("/stream")
async def stream() -> StreamingResponse:
    async def parts() -> AsyncIterator[bytes]:
        yield b"first"
        await gate.wait()
        yield b"second"

    return StreamingResponse(parts(), media_type="text/plain")


@app.get("/health")
async def health(response: Response) -> None:
    response.status_code = int(os.environ.get("HEALTH", "204"))
"""


class Asgi(Functions):
    """Functions that are servers of their own, written into a folder of the test's."""

    def __init__(self, run_cloud: RunCloud, folder: Path, **world: Any) -> None:
        super().__init__(run_cloud, folder, **world)
        self.code = folder / "code"
        (self.code / "web").mkdir(parents=True)
        (self.code / "web" / "app.py").write_text(APPLICATION)

    def web(self, name: str = "desk", host: str = "0.0.0.0", **props: Any) -> str:  # noqa: S104 - where the platform asks
        """Deploy the application as one would deploy it; the address of its HTTP trigger."""
        arguments = ["-m", "uvicorn", "web.app:app", "--host", host, "--port", "9000", "--timeout-keep-alive", "900"]
        runtime = {
            "command": [PYTHON],
            "args": arguments,
            "port": 9000,
            "healthCheckConfig": {"httpGetUrl": "/health", "periodSeconds": 3},
        }
        self.deploy(
            {
                "region": "cn-hangzhou",
                "functionName": name,
                "runtime": "custom.debian12",
                "handler": "index.handler",
                "code": str(self.code),
                "timeout": 60,
                "instanceConcurrency": 4,
                "role": "worker",
                "environmentVariables": {"PYTHONPATH": "/code/python:/code"},
                "customRuntimeConfig": runtime,
                "scalingConfig": {"minInstances": 1},
                "concurrencyConfig": {"reservedConcurrency": 1},
                "triggers": [http_trigger()],
                **props,
            }
        )
        return str(self.named(name)["url"])

    def instances(self, name: str = "desk") -> list[dict[str, Any]]:
        """Those that are at work or could be."""
        return [one for one in self.named(name)["instances"] if one["state"] != "ending"]

    def requests(self, name: str = "desk") -> int:
        """How many requests are under way."""
        return sum(len(one["requests"]) for one in self.named(name)["instances"])


@pytest.fixture
def asgi(run_cloud: RunCloud, tmp_path: Path) -> Asgi:
    """A cloud with an account, roles, and the application's folder."""
    return Asgi(run_cloud, tmp_path)


@contextmanager
def asking(*addresses: str) -> Iterator[list[requests.Response]]:
    """Requests under way, one thread each; their answers are there afterwards."""
    answers: list[requests.Response] = []
    threads = [
        threading.Thread(target=lambda address=address: answers.append(requests.get(address, timeout=60)))
        for address in addresses
    ]
    for thread in threads:
        thread.start()
    yield answers
    for thread in threads:
        thread.join(60)
    assert len(answers) == len(addresses)


def refusal(answer: requests.Response) -> tuple[int, str]:
    """What the platform says in place of the function."""
    return answer.status_code, answer.json()["Code"]


# One instance, several requests


def test_requests_run_side_by_side_in_one_instance(asgi: Asgi) -> None:
    """As many as instanceConcurrency says meet in one process; one more is refused while there is one instance."""
    url = asgi.web()
    with asking(*[f"{url}/meet/4"] * 4) as met:
        pass
    assert [answer.status_code for answer in met] == [200] * 4
    assert {answer.json()["pid"] for answer in met} == {asgi.instances()[0]["pid"]}
    with asking(*[f"{url}/wait"] * 4):
        until(lambda: asgi.requests() == 4, "four requests under way")
        assert refusal(requests.get(f"{url}/open", timeout=60)) == (429, "ResourceExhausted")
        asgi.cloud.inside_async(lambda: asgi.cloud.fc.kill("desk"))


@pytest.mark.parametrize(
    ("ends", "alone"),
    [
        pytest.param("instance", False, id="the instance ends, and the other requests with it"),
        pytest.param("request", True, id="only the request ends"),
    ],
)
def test_who_takes_too_long(asgi: Asgi, ends: str, alone: bool) -> None:
    """What else ends with a request that runs out of time is not documented, so both ways can be had."""
    asgi.cloud.admin.switch(time_out_ends=ends)
    url = asgi.web(timeout=4)
    before = asgi.instances()[0]["pid"]
    with asking(f"{url}/forever") as late:
        until(lambda: asgi.requests() == 1, "the request that will be late")
        threading.Event().wait(2.0)  # so that the other one's own time is not up first
        with asking(f"{url}/wait") as waiting:
            until(lambda: late, "the time-out")
            if ends == "request":
                assert requests.get(f"{url}/open", timeout=60).status_code == 200
    assert (late[0].status_code, late[0].json()["errorMessage"]) == (504, "Function timed out after 4 seconds")
    assert (waiting[0].status_code == 200) is alone
    assert (requests.get(f"{url}/open", timeout=60).json()["pid"] == before) is alone
    asgi.cloud.inside_async(lambda: asgi.cloud.fc.kill("desk"))  # who waits for ever would hold up the end


# One instance that is kept


def test_an_instance_is_there_before_anybody_asks(asgi: Asgi) -> None:
    """minInstances: started with the deployment, frozen, and the one that takes the first request."""
    url = asgi.web()
    (kept,) = asgi.instances()
    assert (kept["invocations"], asgi.log("desk").count("started")) == (0, 1)
    until(lambda: frozen(kept["pid"]), "the freeze")
    assert requests.get(f"{url}/open", timeout=60).json()["pid"] == kept["pid"]
    until(lambda: frozen(kept["pid"]), "the freeze after the request")


def test_a_kept_instance_stands_still_too(asgi: Asgi) -> None:
    """What runs in the background does not go on between requests, and does again when the switch lets it."""
    url = asgi.web()

    def ticks() -> int:
        return int(requests.get(f"{url}/open", timeout=60).json()["ticks"])

    ticks()
    pid = asgi.instances()[0]["pid"]
    until(lambda: frozen(pid), "the freeze")
    stopped = ticks()
    until(lambda: frozen(pid), "the freeze")
    threading.Event().wait(1.0)  # two hundred ticks' time
    assert ticks() - stopped < 100
    asgi.cloud.admin.switch(freeze="off")
    running = ticks()
    until(lambda: ticks() - running > 100, "the background")


def test_a_kept_instance_is_replaced(asgi: Asgi) -> None:
    """Nobody has to ask: whoever ends is followed by another, and what does not start is tried again."""
    url = asgi.web()
    first = asgi.instances()[0]["pid"]
    (asgi.code / "broken").touch()
    asgi.cloud.inside_async(lambda: asgi.cloud.fc.kill("desk"))
    until(
        lambda: any("an instance that is to be kept did not start" in line for line in asgi.log("desk")),
        "the instance that cannot start",
    )
    assert any("broken on purpose" in line for line in asgi.log("desk"))
    (asgi.code / "broken").unlink()
    until(lambda: [one for one in asgi.instances() if one["state"] == "frozen"], "the next instance")
    (kept,) = asgi.instances()
    assert (kept["invocations"], kept["pid"] == first, alive(first)) == (0, False, False)
    assert requests.get(f"{url}/open", timeout=60).json()["pid"] == kept["pid"]


def test_more_than_one_can_be_kept_and_the_end_is_in_order(asgi: Asgi) -> None:
    """Two before anybody asks; a deployment replaces both, and the application's own end runs."""
    two: dict[str, Any] = {"scalingConfig": {"minInstances": 2}, "concurrencyConfig": {"reservedConcurrency": 2}}
    asgi.web(**two)
    until(lambda: [one["state"] for one in asgi.instances()] == ["frozen"] * 2, "both, at rest")
    before = {one["pid"] for one in asgi.instances()}
    asgi.web(**two)
    until(lambda: len(asgi.instances()) == 2, "both again")
    assert not before & {one["pid"] for one in asgi.instances()}
    assert asgi.log("desk").count("ended in order") == 2


# Headers, credentials, limits


def test_the_platforms_headers(asgi: Asgi) -> None:
    """All that are documented, the empty ones too; nobody else's; a proxy's values are added to, not replaced."""
    url = asgi.web(logConfig={"project": "logs", "logstore": "functions"})
    forged = {"X-Fc-Account-Id": "1", "X-Fc-New": "1", "X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"}
    answer = requests.get(f"{url}/seen?a=%20b", headers=forged | {"X-Mine": "kept"}, timeout=60)
    seen = answer.json()["headers"]
    headers = {name: value for name, value in seen if name.startswith("x-f")}
    assert len(headers) == len([name for name, _ in seen if name.startswith("x-f")])
    assert headers.pop("x-fc-access-key-id").startswith("STS.")
    assert headers.pop("x-fc-access-key-secret")
    assert headers.pop("x-fc-security-token").startswith("CAIS")
    assert headers == {
        "x-fc-request-id": answer.headers["X-Fc-Request-Id"],
        "x-fc-function-name": "desk",
        "x-fc-function-handler": "index.handler",
        "x-fc-function-memory": "512",
        "x-fc-function-timeout": "60",
        "x-fc-qualifier": "LATEST",
        "x-fc-version-id": "",
        "x-fc-region": "cn-hangzhou",
        "x-fc-account-id": asgi.account,
        "x-fc-retry-count": "0",
        "x-fc-service-name": "",
        "x-fc-service-logproject": "logs",
        "x-fc-service-logstore": "functions",
        "x-fc-control-path": "/http-invoke",
        "x-forwarded-for": "203.0.113.7,127.0.0.1",
        "x-forwarded-proto": "https,http",
    }
    assert ["x-mine", "kept"] in seen
    assert ["host", urlsplit(url).netloc] in seen
    asgi.cloud.admin.switch(forwarded_headers="none")
    untouched = dict(requests.get(f"{url}/seen", headers=forged, timeout=60).json()["headers"])
    assert (untouched["x-forwarded-for"], untouched["x-forwarded-proto"]) == ("203.0.113.7", "https")


def test_what_the_platform_makes_of_an_answer(asgi: Asgi) -> None:
    """Its own request id, date and disposition; nothing of the server's that only the platform may say."""
    answer = requests.get(f"{asgi.web()}/seen", timeout=60)
    names = [name.lower() for name in answer.raw.headers]
    assert answer.headers["X-Own"] == "1"
    assert answer.raw.headers.getlist("set-cookie") == ["a=1", "b=2"]
    assert answer.headers["Content-Disposition"] == "attachment"
    assert "x-fc-own" not in names
    assert names.count("date") == 1
    assert "uvicorn" not in answer.headers.get("Server", "")


def test_the_environment_and_its_credentials(asgi: Asgi) -> None:
    """The documented variables; the same credentials in environment and headers, and they are the role's."""
    seen = requests.get(f"{asgi.web()}/seen", timeout=60).json()
    environment, headers = seen["environment"], dict(seen["headers"])
    key = Key(
        environment["ALIBABA_CLOUD_ACCESS_KEY_ID"],
        environment["ALIBABA_CLOUD_ACCESS_KEY_SECRET"],
        environment["ALIBABA_CLOUD_SECURITY_TOKEN"],
    )
    assert key == Key(headers["x-fc-access-key-id"], headers["x-fc-access-key-secret"], headers["x-fc-security-token"])
    assert asgi.cloud.sts(key).get_caller_identity().body.arn == f"acs:ram::{asgi.account}:assumed-role/worker/desk"
    expected = {
        "FC_ACCOUNT_ID": asgi.account,
        "FC_FUNCTION_NAME": "desk",
        "FC_FUNCTION_HANDLER": "index.handler",
        "FC_FUNCTION_MEMORY_SIZE": "512",
        "FC_FUNCTION_VERSION": "LATEST",
        "FC_REGION": "cn-hangzhou",
        "FC_INSTANCE_ID": asgi.instances()[0]["id"],
    }
    assert {name: environment[name] for name in expected} == expected
    assert "HOME" not in environment


def test_headers_are_renewed_before_the_environment_ends(asgi: Asgi) -> None:
    """Thirty-six hours after an instance started only the headers have credentials that are good."""
    url = asgi.web()
    asgi.cloud.advance(35.9 * 3600)
    seen = requests.get(f"{url}/seen", timeout=60).json()
    headers = dict(seen["headers"])
    assert headers["x-fc-access-key-id"] != seen["environment"]["ALIBABA_CLOUD_ACCESS_KEY_ID"]
    key = Key(headers["x-fc-access-key-id"], headers["x-fc-access-key-secret"], headers["x-fc-security-token"])
    assert asgi.cloud.sts(key).get_caller_identity().body.account_id == asgi.account


def test_without_a_role_there_are_no_credentials(asgi: Asgi) -> None:
    """The headers are there, and empty; the environment has none."""
    seen = requests.get(f"{asgi.web(role='')}/seen", timeout=60).json()
    headers = dict(seen["headers"])
    assert [headers[f"x-fc-{name}"] for name in ("access-key-id", "access-key-secret", "security-token")] == [""] * 3
    assert not [name for name in seen["environment"] if name.startswith("ALIBABA_CLOUD_")]


def test_limits_of_requests_and_answers(asgi: Asgi) -> None:
    """Headers 8 KB, path and query 4 KB, body 32 MB: refused by the platform. Headers of an answer: 8 KB."""
    url = asgi.web()
    bad = (400, "InvalidArgument")
    fits = requests.get(f"{url}/seen", headers={"X-Large": "x" * 7_500}, timeout=60)
    assert fits.status_code == 200
    assert refusal(requests.get(f"{url}/seen", headers={"X-Large": "x" * 8_200}, timeout=60)) == bad
    assert refusal(requests.get(f"{url}/seen", headers={"X-One": "x" * 4_100, "X-Two": "x" * 4_100}, timeout=60)) == bad
    assert requests.get(f"{url}/seen?{'x' * 4_000}", timeout=60).status_code == 200
    assert refusal(requests.get(f"{url}/seen?{'x' * 4_096}", timeout=60)) == bad
    whole = 32 * 1024 * 1024
    assert requests.post(f"{url}/seen", data=b"x" * whole, timeout=60).json()["body"] == whole
    assert refusal(requests.post(f"{url}/seen", data=b"x" * (whole + 1), timeout=60)) == bad
    assert requests.get(f"{url}/large/7500", timeout=60).status_code == 200
    assert refusal(requests.get(f"{url}/large/8200", timeout=60)) == (502, "BadResponse")
    assert requests.get(f"{url}/large/1", timeout=60).status_code == 200


# Slow ones


def test_a_slow_body_takes_nobodys_place(asgi: Asgi) -> None:
    """A request counts when it is whole: until then others have the instance to themselves."""
    url = asgi.web(instanceConcurrency=1)
    slow = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    slow.putrequest("POST", "/seen")
    slow.putheader("Content-Length", "10")
    slow.endheaders(b"12345")
    until(lambda: asgi.trigger("desk")["requests"] == 1, "the slow request")
    assert requests.get(f"{url}/open", timeout=60).status_code == 200
    slow.send(b"67890")
    answer = slow.getresponse()
    assert (answer.status, b'"body":10' in answer.read()) == (200, True)
    slow.close()


def test_an_answer_comes_as_it_is_made(asgi: Asgi) -> None:
    """The first part is there before the last is; the instance takes other requests meanwhile."""
    url = asgi.web()
    with requests.get(f"{url}/stream", stream=True, timeout=60) as answer:
        assert answer.raw.read(5) == b"first"
        assert requests.get(f"{url}/open", timeout=60).status_code == 200
        assert answer.raw.read() == b"second"


def test_a_client_that_leaves_ends_nobody(asgi: Asgi) -> None:
    """The journal says who left; the instance goes on."""
    url = asgi.web()
    answer = requests.get(f"{url}/stream", stream=True, timeout=60)
    assert answer.raw.read(5) == b"first"
    pid = asgi.instances()[0]["pid"]
    answer.close()
    assert requests.get(f"{url}/open", timeout=60).json()["pid"] == pid

    def left() -> list[str]:
        entries = asgi.cloud.journal(service="fc", operation="InvokeHTTPTrigger")
        return [entry["message"] for entry in entries if entry["params"]["path"] == "/stream"]

    assert until(left, "the end of the first request") == ["the client left before its answer was whole"]
    assert requests.get(f"{url}/open", timeout=60).json()["pid"] == pid


# The address


def test_an_address_can_be_known_beforehand(run_cloud: RunCloud, tmp_path: Path) -> None:
    """The world file gives the trigger its port, which it keeps; a port that is taken stops the deployment."""
    port = free_port()
    account = new_account()
    addresses = {"http_ports": {"desk": port}, "custom_domains": {"desk": "desk.example.com"}}
    world = {"deploy": {"account": account, **addresses}}
    asgi = Asgi(run_cloud, tmp_path, account=account, **world)
    with socket.create_server(("127.0.0.1", port)), pytest.raises(DeployError, match=f"port {port}, which the world"):
        asgi.web()
    assert asgi.cloud.inside(lambda _: asgi.cloud.fc.functions()) == []
    assert asgi.web() == f"http://127.0.0.1:{port}"
    assert asgi.web() == f"http://127.0.0.1:{port}"
    answer = requests.get(f"http://127.0.0.1:{port}/open", timeout=60)
    assert (answer.status_code, "Content-Disposition" in answer.headers) == (200, False)
    with pytest.raises(WorldError, match=r"deploy.http_ports: .*given to another function too"):
        check_world({"version": 1, "accounts": {account: {}}, **_same_port(account, port)})


SIGNING_IN = """
import os

from authlib.integrations.base_client import BaseApp, FrameworkIntegration, OAuth2Mixin, OpenIDMixin
from authlib.integrations.requests_client import OAuth2Session
from fastapi import FastAPI
from fastapi.responses import RedirectResponse


class Client(OAuth2Mixin, OpenIDMixin, BaseApp):
    client_cls = OAuth2Session


issuer = os.environ["ISSUER"]
client = Client(
    FrameworkIntegration("desk"),
    client_id=os.environ["CLIENT_ID"],
    client_secret=os.environ["CLIENT_SECRET"],
    server_metadata_url=f"{issuer}/.well-known/openid-configuration",
    client_kwargs={
        "scope": "openid aliuid profile",
        "code_challenge_method": "S256",
        "token_endpoint_auth_method": "client_secret_post",
    },
)
begun = {}
app = FastAPI()


@app.get("/health")
def health() -> None: ...


@app.get("/login")
def login() -> RedirectResponse:
    found = client.create_authorization_url(os.environ["CALLBACK"])
    begun[found["state"]] = found["code_verifier"]
    return RedirectResponse(found["url"], status_code=302)


@app.get("/callback")
def callback(code: str, state: str) -> dict[str, object]:
    token = client.fetch_access_token(os.environ["CALLBACK"], code=code, code_verifier=begun.pop(state))
    return dict(client.parse_id_token(token, nonce=None))
"""


def test_people_sign_in_at_a_function(run_cloud: RunCloud, tmp_path: Path) -> None:
    """From the function's login to the provider's page and back, with addresses that the world file knows."""
    port, account, client = free_port(), new_account(), "4000000000000000001"
    callback = f"http://127.0.0.1:{port}/callback"
    application = {"name": "desk", "secret": "example-secret", "redirect_uris": [callback]}
    people = {"operator": {"user": "operator"}}
    asgi = Asgi(
        run_cloud,
        tmp_path,
        account=account,
        more={"people": people, "oauth_applications": {client: application}},
        deploy={"account": account, "http_ports": {"desk": port}},
    )
    (asgi.code / "web" / "app.py").write_text(SIGNING_IN)
    variables = {"ISSUER": asgi.cloud.url, "CLIENT_ID": client, "CLIENT_SECRET": "example-secret", "CALLBACK": callback}
    asgi.web(environmentVariables=variables)
    with requests.Session() as browser:
        page = browser.get(f"http://127.0.0.1:{port}/login", timeout=60)
        assert page.url.startswith(f"{asgi.cloud.url}/oauth2/v1/auth?")
        landed = browser.post(page.url, data={"person": "operator"}, timeout=60)
    assert landed.url.startswith(callback)
    claims = landed.json()
    assert (claims["aid"], claims["upn"]) == (account, f"operator@{account}.onaliyun.com")


def _same_port(account: str, port: int) -> dict[str, Any]:
    return {"deploy": {"account": account, "http_ports": {"desk": port, "other": port}}}


# What does not start


def test_the_first_health_check_decides(asgi: Asgi) -> None:
    """A server that listens but is not well has not started."""
    with pytest.raises(DeployError, match="the first health check of /health failed: status 503"):
        asgi.web(environmentVariables={"HEALTH": "503"})


def test_a_server_on_loopback_is_never_reached(asgi: Asgi) -> None:
    """The platform asks from outside; the switch makes it a remark, for networks where nothing may be open."""
    with pytest.raises(DeployError, match="only; on the platform it must be"):
        asgi.web(host="127.0.0.1")
    asgi.cloud.admin.switch(loopback_server="noted")
    assert requests.get(f"{asgi.web(host='127.0.0.1')}/open", timeout=60).status_code == 200
    assert any("must be 0.0.0.0" in line for line in asgi.log("desk"))


def test_a_package_as_built_has_nothing_beside(asgi: Asgi) -> None:
    """The Python that the command names, without this machine's packages."""
    asgi.cloud.fc.as_built = True
    with pytest.raises(DeployError, match="No module named uvicorn"):
        asgi.web()
