"""The desk as it is deployed: a web function with a role of its own, and preflight behind the topic; nobody helps."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import pytest

from shared.ledger.transactions import Ledger
from tests.functional.deployment import Deployment, deployment
from tests.functional.desked import Browser, Json, decided, free_port, wish, with_people
from tests.functional.waiting import until
from tests.functional.world import DESK_FUNCTION, EXAMPLE, SPOKE, Stage

VPC = EXAMPLE["accounts"][SPOKE]["vpcs"][0]["id"]
VBR = EXAMPLE["accounts"][SPOKE]["vbrs"][0]["id"]
LONGER_THAN_KEYS_LAST = 40 * 3600


@dataclass
class Town:
    """Everything that s.yaml has, at work, and people."""

    cloud: Deployment
    address: str

    def browser(self, person: str) -> Browser:
        """Of somebody who has signed in."""
        found = Browser(self.address)
        answer = found.sign_in(person)
        assert answer.status_code == 303, answer.text
        return found

    def instances(self) -> list[str]:
        """Of the desk."""
        functions = self.cloud.admin.world()["fc"]["functions"]
        return [each["id"] for one in functions if one["name"] == DESK_FUNCTION for each in one["instances"]]

    def ask(self, instance: str, asking: Browser) -> str:
        """Somebody asks. Returns the request."""
        kind = instance.partition("-")[0].upper()
        about = wish()["instance"] | {"type": kind, "id": instance}
        prefixes = ["10.20.0.0/16"] if kind == "VPC" else []
        body = {"wishes": [wish(instance=about, allowed_prefixes=prefixes)]}
        answer = asking.post("/api/v1/requests", body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["requests"][0]["request_id"])

    def looked_at(self, request_id: str, deciding: Browser) -> Json:
        """The request as whoever decides sees it, as soon as preflight has said what it saw."""

        def looked() -> Json | None:
            shown: Json = deciding.get(f"/api/v1/requests/{request_id}").json()
            return shown if shown["snapshot"] else None

        return until(looked, f"{request_id} is looked at", meanwhile=partial(time.sleep, 0.5))  # calls are counted

    def agree(self, deciding: Browser, shown: Json) -> None:
        """Somebody says yes to what was shown."""
        body = {"side": "grant", "agrees": True, "snapshot": shown["snapshot"], "reason": "As it should be"}
        answer = deciding.post(f"/api/v1/requests/{shown['request_id']}/decisions", body)
        assert answer.status_code == 201, answer.text


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """One for all of them."""
    stage, port = Stage(), free_port()
    address = f"http://127.0.0.1:{port}"
    with_people(stage, address)
    stage.file["deploy"]["http_ports"] = {DESK_FUNCTION: port}
    with deployment(stage, tmp_path_factory.mktemp("town"), settings={"DESK_ADDRESS": address}, desk=True) as cloud:
        with contextlib.closing(Ledger(cloud.ledger_url)) as ledger:
            decided(ledger, stage)
        yield Town(cloud, address)


def test_from_asking_to_active_with_nobodys_help(town: Town) -> None:
    """People ask and decide; preflight, grant and associate do the rest, each with its own role."""
    deciding = town.browser("owner")
    request_id = town.ask(VPC, town.browser("requester"))
    town.agree(deciding, town.looked_at(request_id, deciding))
    document = {"request_id": request_id, "instance": {"type": "VPC", "id": VPC}, "ecr": wish()["ecr"]}
    assert town.cloud.answer(document)["event"] == "done"
    assert [status for status, _ in town.cloud.associated(document)] == ["ACTIVE"]
    lines = "\n".join(line["text"] for line in town.cloud.logs(DESK_FUNCTION))
    assert "start.ready" in lines
    assert "wake.lost" not in lines


def test_the_desk_uses_its_role_for_wakes_alone(town: Town) -> None:
    """Whatever it was asked until now."""
    used = {
        (entry["decision"]["action"], entry["decision"]["resource"].rpartition("/queues/")[2])
        for entry in town.cloud.journal()
        if entry["caller"].get("name") == DESK_FUNCTION and entry["decision"]
    }
    assert used == {("mns:SendMessage", "ecr-grants-wakes/messages")}


def test_a_warm_instance_outlives_the_keys_that_it_started_with(town: Town) -> None:
    """Its role's keys last a day and a half; it is kept for as long as nobody deploys."""
    asking, deciding, before = town.browser("requester"), town.browser("owner"), town.instances()
    town.cloud.admin.advance(LONGER_THAN_KEYS_LAST)
    town.looked_at(town.ask(VBR, asking), deciding)
    assert town.instances() == before
    assert "wake.lost" not in "\n".join(line["text"] for line in town.cloud.logs(DESK_FUNCTION))
