"""What waits until it is used is the SDK itself: unmodified packages, in interpreters of their own, with and without waiting."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SDKS = [
    "alibabacloud_expressconnectrouter20230901",
    "alibabacloud_fc_open20210406",
    "alibabacloud_sts20150401",
    "alibabacloud_vpc20160428",
    "alibabacloud_tea_openapi",
    "alibabacloud_credentials",
]
PRODUCTS = SDKS[:4]


def told(script: str, *, waiting: bool = True) -> Any:
    """What a script prints as JSON, in a fresh interpreter. A warning is an error there."""
    # The clients' documentation has backslashes that newer interpreters warn of when they compile it.
    strict = ["-W", "error", "-W", "ignore::SyntaxWarning", "-W", "ignore::DeprecationWarning"]
    before = "import json, sys\n" + ("import shared.cloud\n" if waiting else "")
    done = subprocess.run(
        [sys.executable, *strict, "-c", before + script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("sdk", SDKS)
def test_every_model_is_there_and_is_itself(sdk: str) -> None:
    """The same names as without waiting, each the class of the module that it says, and the same one when asked again."""
    script = f"""
import {sdk}.models as models
classes = {{name: each for name in dir(models) if isinstance(each := getattr(models, name), type)}}
assert all(getattr(models, name) is each for name, each in classes.items())
print(json.dumps(sorted((name, each.__module__, each.__name__) for name, each in classes.items())))
"""
    assert told(script) == told(script, waiting=False) != []


@pytest.mark.parametrize("sdk", [sdk for sdk in PRODUCTS if "fc_open" not in sdk])  # all of its models are one module
def test_a_model_loads_when_it_is_asked_for(sdk: str) -> None:
    """Importing client and models loads no model; taking one loads its module, and those that it is made of."""
    loaded = f"[name for name in sys.modules if name.startswith('{sdk}.models.')]"
    script = f"""
from {sdk}.client import Client
import {sdk}.models as models
before = {loaded}
first = next(name for name in dir(models) if name.endswith("Request"))
getattr(models, first)
print(json.dumps([before, len({loaded})]))
"""
    before, after = told(script)
    assert before == []
    assert 1 <= after < 20


def test_what_is_not_there_is_said_as_usual() -> None:
    """An attribute that no model has, and one of a module that waits by its import."""
    script = """
import alibabacloud_vpc20160428.models as models
said = []
import aiohttp
for take in (lambda: models.NoSuchRequest, lambda: aiohttp.__nothing__, lambda: aiohttp.NoSuchThing()):
    try:
        take()
    except AttributeError as error:
        said.append(str(error))
try:
    from alibabacloud_vpc20160428.models import NoSuchRequest
except ImportError as error:
    said.append(str(error).partition(" (")[0])
print(json.dumps(said))
"""
    assert told(script) == [
        "module 'alibabacloud_vpc20160428.models' has no attribute 'NoSuchRequest'",
        "module 'aiohttp' has no attribute '__nothing__'",
        "module aiohttp has no attribute NoSuchThing",
        "cannot import name 'NoSuchRequest' from 'alibabacloud_vpc20160428.models'",
    ]


@pytest.mark.parametrize("sdk", PRODUCTS)
def test_a_client_is_itself_when_it_is_called(sdk: str) -> None:
    """Two who took it have the same one; what it makes is of the SDK's class, and knows that."""
    script = f"""
from {sdk}.client import Client
from {sdk}.client import Client as again
from alibabacloud_tea_openapi.client import Client as Base
from alibabacloud_tea_openapi.utils_models import Config
assert Client is again
made = Client(Config(access_key_id="nobody", access_key_secret="nobody", endpoint="127.0.0.1:1"))
import {sdk}.client
print(json.dumps([isinstance(made, Base), isinstance(made, Client), type(made) is {sdk}.client.Client]))
"""
    assert told(script) == [True, True, True]


def test_asynchronous_calls_work_when_somebody_makes_one() -> None:
    """aiohttp is empty until then; the SDK's call then fails at the address, as it would have without waiting."""
    script = """
import asyncio
from alibabacloud_sts20150401.client import Client
from alibabacloud_tea_openapi.utils_models import Config
client = Client(Config(access_key_id="nobody", access_key_secret="nobody", endpoint="127.0.0.1:1", protocol="http"))
before = "aiohttp.client" in sys.modules
try:
    asyncio.run(client.get_caller_identity_async())
except Exception as error:
    print(json.dumps([before, "aiohttp.client" in sys.modules, "127.0.0.1" in str(error)]))
"""
    assert told(script) == [False, True, True]


def test_keys_are_renewed_in_the_background_when_somebody_wants_it() -> None:
    """The credentials package finds the scheduler that it imports."""
    script = """
from alibabacloud_credentials.provider import ecs_ram_role
before = "apscheduler.schedulers.base" in sys.modules
scheduler = ecs_ram_role.BackgroundScheduler()
scheduler.add_job(print, "interval", seconds=60)
scheduler.start()
scheduler.shutdown()
print(json.dumps([before, type(scheduler).__module__]))
"""
    assert told(script) == [False, "apscheduler.schedulers.background"]


def test_encodings_are_guessed_when_somebody_asks() -> None:
    """requests sees the version without loading it, and guesses as before."""
    script = """
import requests
before = "charset_normalizer.api" in sys.modules
response = requests.Response()
response._content = "grüß Gott".encode()
print(json.dumps([before, response.text, "charset_normalizer.api" in sys.modules]))
"""
    assert told(script) == [False, "grüß Gott", True]


def test_a_package_of_models_that_does_more_is_run_as_it_is(tmp_path: Path) -> None:
    """Whatever is not understood keeps its meaning."""
    models = tmp_path / "alibabacloud_made_up" / "models"
    models.mkdir(parents=True)
    (models.parent / "__init__.py").touch()
    (models / "_one.py").write_text("class One: ...\n")
    (models / "__init__.py").write_text("from ._one import One\nOne.marked = True\n")
    script = f"""
sys.path.insert(0, {str(tmp_path)!r})
from alibabacloud_made_up.models import One
print(json.dumps([One.marked, "alibabacloud_made_up.models._one" in sys.modules]))
"""
    assert told(script) == [True, True]
