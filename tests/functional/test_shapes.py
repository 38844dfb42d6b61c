"""What the platform may make of a message on its way to a function: shapes, encodings, batches, over the wire."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.functional.approvals import approval
from tests.functional.deployment import Deployment
from tests.functional.launch import TEMPLATE, environment
from tests.functional.mailbox import FUNCTIONS, as_sent
from tests.functional.world import GRANT_FUNCTION, HUB_ECR, Spoke


@pytest.fixture
def shape(request: pytest.FixtureRequest, deployed: Deployment) -> Iterator[str]:
    """One of the event shapes that official material shows; afterwards the usual one again."""
    deployed.admin.switch(event_shape=request.param)
    deployed.nudge()
    yield str(request.param)
    deployed.admin.switch(event_shape="objects")
    deployed.nudge()


@pytest.mark.parametrize("shape", ["objects", "strings", "single"], indirect=True)
def test_every_event_shape_does_the_main_job(deployed: Deployment, spoke: Spoke, shape: str) -> None:
    """Plain and Base64 bodies, good and bad messages together: the good ones are done, the bad one is rejected."""
    good = [approval(spoke.uid, next(spoke.vpcs)) for _ in range(4)]
    after = deployed.journal()[-1]["number"]
    plain = deployed.send(good[0], "{rotten", good[1], plain=True)
    encoded = deployed.send(good[2], approval(spoke.uid, "vpc_1"), good[3])
    for document in good:
        assert deployed.answer(document)["event"] == "done"
        assert [status for status, _ in deployed.associated(document)] == ["ACTIVE"]
    assert "{rotten" in deployed.answer_to_message(plain[1])["reason"]["text"]
    assert "vpc_1" in deployed.answer_to_message(encoded[1])["reason"]["text"]
    deployed.quiet()
    invoked = [
        entry["params"]["messages"]
        for entry in deployed.journal(service="fc", operation="InvokeFunction")
        if entry["number"] > after and entry["params"]["function"] in FUNCTIONS
    ]
    assert {message for messages in invoked for message in messages} >= {*plain, *encoded}
    if shape == "single":
        assert {len(messages) for messages in invoked} == {1}


MARK = "\ufeff"


@pytest.mark.parametrize(
    "written",
    [
        pytest.param(lambda text: base64.encodebytes(text.encode()).decode(), id="Base64 in lines"),
        pytest.param(lambda text: base64.urlsafe_b64encode(text.encode()).decode(), id="Base64 for URLs"),
        pytest.param(lambda text: base64.b64encode(text.encode()).decode().rstrip("="), id="Base64 without padding"),
        pytest.param(lambda text: base64.b64encode((MARK + text).encode()).decode(), id="a byte order mark in Base64"),
        pytest.param(lambda text: MARK + text, id="a byte order mark"),
        pytest.param(lambda text: text.replace(", ", ",\r\n"), id="lines of Windows"),
    ],
)
def test_bodies_as_people_send_them_do_the_main_job(
    deployed: Deployment, spoke: Spoke, written: Callable[[str], str]
) -> None:
    """Whatever a client makes of the text that means the same."""
    document = approval(spoke.uid, next(spoke.vpcs), reason="why?? ~~~ >>> 中文")
    deployed.send(written(as_sent(document)), plain=True)
    assert deployed.answer(document)["event"] == "done"


def raw_template(folder: Path) -> Path:
    """The project's grant function once more, on a queue of its own, with raw data and bodies decoded by the trigger."""
    template: dict[str, Any] = yaml.safe_load(TEMPLATE.read_text("utf-8"))
    resource = json.loads(json.dumps(template["resources"]["grant"]))
    props = resource["props"]
    props["functionName"] = "raw-grant"
    props["triggers"] = props["triggers"][:1]
    config = props["triggers"][0]["triggerConfig"]
    config["eventSinkConfig"]["deliveryOption"]["eventSchema"] = "RawData"
    config["eventSourceConfig"]["eventSourceParameters"]["sourceMNSParameters"] |= {
        "QueueName": "ecr-answers-dead",
        "IsBase64Decode": True,
    }
    path = folder / "s.yaml"
    path.write_text(yaml.safe_dump({**template, "resources": {"grant": resource}}), "utf-8")
    return path


def test_raw_data_with_decoded_bodies_does_the_main_job(deployed: Deployment, spoke: Spoke, tmp_path: Path) -> None:
    """A trigger that delivers only the data, and decodes bodies itself, is as good as ours, where subjects are optional."""
    env = environment(deployed.ledger_url, deployed.accounts_file, deployed.address) | {"EVENT_SUBJECT": "optional"}
    deployed.admin.call("POST", "deploy", {"template": str(raw_template(tmp_path)), "env": env})
    documents = [approval(spoke.uid, next(spoke.vpcs)) for _ in range(2)]

    deployed.send(documents[0], queue="ecr-answers-dead")
    deployed.send(documents[1], queue="ecr-answers-dead", plain=True)

    for document in documents:
        assert deployed.answer(document)["event"] == "done"
        assert deployed.granted(document, spoke)[0][0] == HUB_ECR
    assert any("approval.admitted" in line["text"] for line in deployed.logs("raw-grant"))
    assert GRANT_FUNCTION != "raw-grant"
