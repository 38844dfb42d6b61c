"""Operating over the desk: operators say words with the commands, the grant function carries them out, and lists show it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.ledger.admission import Judged, admit
from shared.ledger.configuration import newest_number
from shared.ledger.operating_seen import say_found
from shared.ledger.tables import sides
from shared.messages.completion import Reason
from shared.messages.forms import GrantKey, InstanceType
from shared.messages.seal import approval_from
from tests.functional.approvals import approval
from tests.functional.desked import Desked, decided, desked
from tests.functional.test_desk_commands import told_here
from tests.functional.world import HUB, HUB_ECR, REGION, SPOKE

VPC = "vpc-operated"
GRANT = GrantKey(HUB_ECR, HUB, InstanceType.VPC, VPC, REGION, SPOKE).grant_id


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desked]:
    """One for all of them, at which the router's owner is an operator; one grant, a side of which is dead, the other drifted."""
    with desked(tmp_path_factory.mktemp("desk")) as made:
        decided(made.ledger, made.stage, groups={"operators": ["router-owner"]})
        ecr = {"id": HUB_ECR, "owner_uid": HUB}
        document = approval_from(approval(SPOKE, VPC, ecr=ecr, request_id="REQ-1", approved_at="2026-01-01T00:00:00Z"))
        judged = Judged(configuration=made.ledger.read(newest_number))
        made.ledger.write(admit, document, "message-1", int(time.time() * 1000), made.ledger.timing, judged)
        why = Reason(code="PermissionMissing", text="the role lacks a right").model_dump_json()
        drift = json.dumps({"class": "foreign-association", "text": "nobody asked us for it", "at": 1})
        with made.ledger.engine.begin() as connection:
            one, other = sides.c.side == "grant", sides.c.side == "associate"
            connection.execute(sides.update().where(one).values(dead_at=1_000, trouble=why, attempts=3))
            connection.execute(sides.update().where(other).values(drift=drift, state="ACTIVE", ours=False))
        yield made


def home_of(desk: Desked, folder: Path, person: str) -> Path:
    """Where a token of theirs is kept, as ``login`` does."""
    kept = folder / person / "ecr-grants" / "token.json"
    kept.parent.mkdir(parents=True)
    kept.write_text(json.dumps({desk.address: desk.bearer(person)}), "utf-8")
    return folder / person


def test_an_operator_looks_says_and_sees_what_became_of_it(desk: Desked, tmp_path: Path) -> None:
    """From what is wrong to what was done about it, with the commands alone; each line names the word that helps."""
    home = home_of(desk, tmp_path, "router-owner")

    def run(*command: str) -> list[dict[str, object]]:
        done = told_here(desk, home, *command, "-o", "json")
        assert done.returncode == 0, done.stderr
        found: list[dict[str, object]] = json.loads(done.stdout)
        return found

    (dead,) = run("operate", "work")
    assert (dead["grant_id"], dead["side"], dead["code"], dead["waiting"]) == (GRANT, "grant", "PermissionMissing", 1)
    assert dead["words"] == [{"word": "redrive", "kind": None, "name": GRANT, "side": "grant"}]
    (drifted,) = run("operate", "drift")
    assert drifted["words"] == [{"word": "adopt", "kind": None, "name": GRANT, "side": "associate"}]

    why = ("--reason", "A test needs it", "--wait", "0")
    for command in (
        ("hold", "ecr", HUB_ECR, "--all"),
        ("redrive", GRANT, "grant"),
        ("adopt", GRANT, "--side", "associate", "--yes"),
        ("repair", GRANT),
        ("mode", "pause-all"),
    ):
        done = told_here(desk, home, "operate", *command, *why)
        assert (done.returncode, "not carried out yet" in done.stderr) == (0, True), done.stderr
    assert len(run("operations", "--waiting")) == 5
    assert desk.hear() == [GRANT]
    assert run("operations", "--waiting") == []
    became = {str(one["word"]): (one["who"], one["outcome"]) for one in run("operations")}
    assert became == {
        "hold": ("router-owner", "done"),
        "redrive": ("router-owner", "done"),
        "adopt": ("router-owner", "done"),
        "repair": ("router-owner", "nothing"),
        "mode": ("router-owner", "done"),
    }
    assert run("operate", "work") == run("operate", "drift") == []
    assert {one["side"] for one in run("operate", "work", "--state", "open")} == {"grant", "associate"}
    (held,) = run("operate", "holds")
    assert (held["who"], held["everything"], held["reason"]) == ("router-owner", True, "A test needs it")
    for form in ("table", "csv"):
        for listing in (("operate", "holds"), ("operate", "work"), ("operate", "drift"), ("operations",)):
            assert told_here(desk, home, *listing, "-o", form).returncode == 0

    done = told_here(desk, home, "logout")
    assert (done.returncode, done.stdout) == (0, f"signed out at {desk.address}\n")
    assert told_here(desk, home, "operations").returncode == 2


def test_whoever_is_no_operator_is_refused_at_once(desk: Desked, tmp_path: Path) -> None:
    """With the rule and what to do; bad words are named before anything is said."""
    home = home_of(desk, tmp_path, "owner")
    for command, code, text in (
        (("mode", "full", "--reason", "why not"), 1, "You must be in the group operators"),
        (("hold", "ecr", "no-router", "--reason", "why not"), 2, "must be the id of a router"),
        (("repair", "g-1", "--reason", "why not"), 2, "must be the id of a grant"),
        (("repair", GRANT, "--reason", " "), 2, "--reason must say why"),
    ):
        done = told_here(desk, home, "operate", *command)
        assert (done.returncode, text in done.stderr) == (code, True), done.stderr


def test_words_over_the_api(desk: Desked) -> None:
    """Said twice under a key it is one; what one may not see is not there; findings are whole for whoever sees everything."""
    operator, owner, stranger = (desk.browser(name) for name in ("router-owner", "owner", "stranger"))
    word = {"word": "lift", "kind": "account", "name": SPOKE, "reason": "A test needs it"}
    first, again = (operator.post("/api/v1/operations", word, headers={"Idempotency-Key": "mine"}) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 200), first.text
    other = operator.post("/api/v1/operations", {**word, "word": "hold"}, headers={"Idempotency-Key": "mine"})
    assert (other.status_code, other.json()["code"]) == (409, "NameUsedAgain")
    path = f"/api/v1/operations/{first.json()['operation_id']}"
    assert owner.get(path).json()["who"] == "router-owner"
    hidden, nothing = stranger.get(path), stranger.get("/api/v1/operations/o-" + "0" * 20)
    assert (hidden.status_code, nothing.status_code) == (404, 404)
    assert hidden.text.replace(first.json()["operation_id"], "o-" + "0" * 20) == nothing.text
    assert stranger.get("/api/v1/operations").json()["operations"] == []
    refused = operator.post("/api/v1/operations", {"word": "hold", "name": SPOKE, "reason": "A test"})
    assert (refused.status_code, "kind" in refused.json()["detail"]) == (422, True)

    desk.ledger.write(say_found, "reconcile", {"unsettled": 1}, 1_000)
    (found,) = operator.get("/api/v1/health/findings").json()["findings"]
    assert (found["name"], found["value"]) == ("reconcile", {"unsettled": 1})
    (less,) = owner.get("/api/v1/health/findings").json()["findings"]
    assert less["value"] is None
