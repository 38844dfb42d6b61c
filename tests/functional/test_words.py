"""What needs a person is an error in the log: each such word, as the deployed functions say it, with the figures beside it.

Not here, since nothing from outside can bring it about: ``message.failed``, ``grant.failed``, ``batch.failed`` and
``reconcile.failed`` are faults of ours, which would be mended if one were known; tests/ledger and tests/chaos meet the first two
by breaking something.
``reconcile.unreadable`` needs rows that the local cloud never shows: tests/ledger/test_unreadable.py has them. ``head.unsigned``
needs a secret in KMS: test_secrets_by_name.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from alibabacloud_expressconnectrouter20230901 import models as ecr_models

from deploy.queries import ERRORS
from shared.errors import LedgerError, SettingsError
from shared.ledger.tables import requests
from shared.ledger.transactions import Ledger
from shared.loop.frame import Function
from tests.configured import PERMITS
from tests.functional.approvals import approval
from tests.functional.deployment import Deployment, Json, configure, deployment
from tests.functional.inprocess import Context
from tests.functional.launch import environment, ledger_without
from tests.functional.waiting import until
from tests.functional.world import GRANT_FUNCTION, HUB, HUB_ECR, RECONCILE_FUNCTION, REGION, ROOT, Spoke, Stage
from tests.said import lines_of, strange

FAULTS_OF_OURS = {
    *("message.failed", "grant.failed", "batch.failed", "reconcile.failed", "preflight.failed", "desk.failed"),
    "consent.failed",
}
NOT_SHOWN = {"reconcile.unreadable", "head.unsigned"}
OF_A_START = {"start.failed"}
DENIED = {"kind": "error", "status": 403, "code": "NoPermission", "message": "You are not authorized."}


@dataclass
class Said:
    """A deployment in which everything went wrong that needs a person, and what its functions said."""

    cloud: Deployment
    granted: Json

    def lines(self, word: str) -> list[dict[str, Any]]:
        """The lines of one word."""
        return [line for line in lines_of(self.cloud.said()) if line["event"] == word]


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Said]:
    """One fault after another, each waited for by its line."""
    stage = Stage()
    spokes = [stage.new_spoke() for _ in range(6)]
    with deployment(stage, tmp_path_factory.mktemp("said"), settings={"STUCK_SECONDS": "1"}) as cloud:
        found = Said(cloud, approval(spokes[0].uid, next(spokes[0].vpcs)))

        def waited(word: str, meanwhile: Callable[[], object] = lambda: cloud.receive(1)) -> None:
            until(lambda: found.lines(word), f"a line {word}", meanwhile=meanwhile)

        assert cloud.settled(found.granted)["event"] == "done"
        # Somebody grants past us; the next pass cannot read that account at first.
        foreign = approval(spokes[0].uid, next(spokes[0].vpcs))
        cloud.ecr(spokes[0].admin).grant_instance_to_express_connect_router(
            ecr_models.GrantInstanceToExpressConnectRouterRequest(
                ecr_id=HUB_ECR,
                ecr_owner_ali_uid=int(HUB),
                instance_id=foreign["instance"]["id"],
                instance_type="VPC",
                instance_region_id=REGION,
            )
        )
        cloud.reconcile()
        waited("drift.reported")
        cloud.admin.plan(
            service="vpc", operation="DescribeVpcGrantRulesToEcr", account=spokes[0].uid, times=9, **DENIED
        )
        cloud.reconcile()
        waited("reconcile.unread")
        cloud.admin.clear()
        # Nobody may enter one account, and another stays busy for longer than a second.
        cloud.admin.plan(service="sts", operation="AssumeRole", account=spokes[1].uid, times=9, **DENIED)
        cloud.settled(approval(spokes[1].uid, next(spokes[1].vpcs)))
        cloud.admin.plan(
            kind="server_error", service="vpc", operation="DescribeVpcAttribute", account=spokes[2].uid, times=60
        )
        cloud.send(approval(spokes[2].uid, next(spokes[2].vpcs)))
        waited("grant.stuck", lambda: cloud.admin.advance(5))
        cloud.admin.clear()
        # The topic refuses one completion for what it is, then all of them for who sends it.
        for word, code in (("completion.refused", "MalformedXML"), ("queue.refused", "AccessDenied")):
            refused = {"kind": "error", "status": 400, "code": code, "message": "No.", "times": 1}
            cloud.admin.plan(service="mns", operation="PublishMessage", **refused)
            cloud.send(approval(spokes[3].uid, next(spokes[3].vpcs)))
            waited(word)
        # The ledger is away, for the functions and for the timer.
        with ledger_without(cloud.ledger_url, "grants"):
            cloud.send(approval(spokes[4].uid, next(spokes[4].vpcs)))
            waited("ledger.away", lambda: None)
        the_gate_is_in_trouble(cloud, spokes[5], waited)
        an_emergency_is_not_reviewed(cloud)
        cloud.reconcile()
        waited("review.overdue")
        yield found


def an_emergency_is_not_reviewed(cloud: Deployment) -> None:
    """One that was approved long ago."""
    told: dict[str, Any] = {
        "request_id": "r-urgent",
        "grant_id": "g-urgent",
        "ecr_owner_uid": HUB,
        "instance_owner_uid": "2",
        "kind": "grant",
        "requester": "requester",
        "asked_at": 0,
        "stage": "approved",
        "round": 1,
        "reminded": 0,
        "heard": 0,
        "ended_at": 0,
        "emergency": True,
        "review_at": 1,
    }
    with closing(Ledger(cloud.ledger_url)) as ledger:
        ledger.write(lambda connection: connection.execute(requests.insert().values(told)))


def the_gate_is_in_trouble(cloud: Deployment, spoke: Spoke, waited: Callable[..., None]) -> None:
    """A lease is edited before anything was made for it; a rule errs; the newest configuration is not what was signed."""
    edited = approval(spoke.uid, next(spoke.vpcs))
    cloud.admin.plan(kind="server_error", service="vpc", operation="DescribeVpcAttribute", account=spoke.uid, times=60)
    cloud.send(edited)
    named = {"named": edited["request_id"]}
    until(lambda: cloud.rows("SELECT 1 FROM approvals WHERE request_id = :named", **named), "it is admitted")
    cloud.write("UPDATE approvals SET ends_at = 9999999999999 WHERE request_id = :named", **named)
    cloud.admin.clear()
    waited("proof.broken", lambda: cloud.admin.advance(5))
    errs = '@id("errs") @advice("You must not.") forbid (principal, action == Action::"vouch", resource)'
    policy = f"{PERMITS}\n{errs} when {{ context.hours * 9223372036854775807 == 1 }};"
    configure(cloud.ledger_url, cloud.stage.configuration.model_copy(update={"policy": policy}))
    cloud.send(approval(spoke.uid, next(spoke.vpcs)))
    waited("policy.failed")
    configure(cloud.ledger_url, cloud.stage.configuration)
    ((signed,),) = cloud.rows("SELECT bundle FROM configurations WHERE number = 3")
    cloud.write("UPDATE configurations SET bundle = 'not what was signed' WHERE number = 3")
    kept = approval(spoke.uid, next(spoke.vpcs))
    cloud.send(kept)
    waited("configuration.refused")
    cloud.write("UPDATE configurations SET bundle = :signed WHERE number = 3", signed=signed)
    cloud.admin.advance(15)
    assert cloud.answer(kept)["event"] == "done"


@pytest.mark.parametrize(
    "word", sorted({word.name for word in ERRORS} - FAULTS_OF_OURS - NOT_SHOWN - OF_A_START), ids=str
)
def test_what_needs_a_person_is_an_error(said: Said, word: str) -> None:
    """Each with the facts that its alarm and its runbook entry speak of."""
    assert said.lines(word)
    assert {line["level"] for line in said.lines(word)} == {"error"}


def test_every_line_is_as_its_word_is_declared(said: Said) -> None:
    """Whatever went wrong."""
    assert strange(said.cloud.said()) == []


def test_every_line_names_its_invocation(said: Said) -> None:
    """Also where accounts are read side by side; only a cold start may have none yet."""
    nameless = {line["event"] for line in lines_of(said.cloud.said()) if not line.get("invocation")}
    assert nameless <= {"start.ready"}


def test_a_function_says_how_long_it_took_to_start(said: Said) -> None:
    """From when the process began to load our code; each of its instances once, before it handles anything."""
    started = said.lines("start.ready")
    assert started
    assert all(0 < line["seconds"] < 120 for line in started)
    first = lines_of(line["text"] for line in said.cloud.logs(GRANT_FUNCTION))[0]
    assert first["event"] == "start.ready"


def test_a_grant_says_how_long_it_took(said: Said) -> None:
    """Account B's side before account A's, both from the admission of the approval."""
    name = said.cloud.event(said.granted, "granted")["grant"]["grant_id"]
    took = {
        line["event_kind"]: line["admitted_seconds"] for line in said.lines("side.settled") if line["grant"] == name
    }
    assert 0 < took["granted"] < took["associated"]


def test_an_event_says_how_long_it_took_and_how_full_the_quota_was(said: Said) -> None:
    """Where calls were made; where none were, no quota is named."""
    handled = said.lines("event.handled")
    assert all(line["seconds"] > 0 for line in handled)
    called = [line for line in handled if line["quota_used"]]
    assert called
    for line in called:
        assert 1 <= line["quota_used"] <= line["quota"] in (100, 120, 300)
        assert " in " in line["quota_of"]
    assert all((line["quota"], line["quota_of"]) == (0, "") for line in handled if not line["quota_used"])


def test_a_pass_that_the_ledger_ends_says_so(said: Said) -> None:
    """Once each; the platform would only count an error. The timer may come meanwhile, too."""
    before = len(ledger_away(said.cloud))
    with ledger_without(said.cloud.ledger_url, "grants"), pytest.raises(Exception, match="ledger"):
        said.cloud.reconcile()
    passes = [line["invocation"] for line in ledger_away(said.cloud)[before:]]
    assert 1 <= len(passes) == len(set(passes))


def ledger_away(cloud: Deployment) -> list[dict[str, Any]]:
    """What the timer's function said about the ledger."""
    lines = lines_of(line["text"] for line in cloud.logs(RECONCILE_FUNCTION))
    return [line for line in lines if line["event"] == "ledger.away"]


# -- a function that cannot start --------------------------------------------------------------------------------------


@pytest.fixture
def variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The environment of a function that could start."""
    _, accounts = Stage().write(tmp_path)
    found = environment(f"sqlite:///{tmp_path / 'ledger.db'}", accounts, "127.0.0.1:1") | {"FC_REGION": REGION}
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    for name in ("ACCESS_KEY_ID", "ACCESS_KEY_SECRET"):
        monkeypatch.setenv(f"ALIBABA_CLOUD_{name}", "nobody's")
    return monkeypatch


def cold(name: str) -> ModuleType:
    """A function's module as a new instance loads it: nothing of it was opened before."""
    spec = spec_from_file_location(name, ROOT / "functions" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("name", "variable", "value"),
    [
        pytest.param("grant", "MODE", "sometimes", id="a setting"),
        pytest.param("associate", "CONFIG_KEYS", "nobody", id="the keys that sign configurations"),
        pytest.param("reconcile", "HEAD_KEY", "no-key-at-all", id="the signing key"),
    ],
)
def test_a_function_that_cannot_start_says_so(
    variables: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, variable: str, value: str
) -> None:
    """As an error that names what is wrong and shows no secret, before the platform is told."""
    variables.setenv(variable, value)
    with pytest.raises(SettingsError, match=variable):
        cold(name).initialize(Context("cold"))
    (line,) = [json.loads(text) for text in capsys.readouterr().out.splitlines()]
    assert strange([json.dumps(line)]) == []
    assert (line["event"], line["level"]) == ("start.failed", "error")
    assert variable in line["reason"]
    assert "no-key-at-all" not in line["reason"]


@pytest.mark.usefixtures("variables")
def test_a_start_that_fails_for_no_known_reason_says_so_too(capsys: pytest.CaptureFixture[str]) -> None:
    """By the kind of error alone: nobody knows what its text holds."""

    def broken() -> None:
        raise RuntimeError("a-secret")

    with pytest.raises(RuntimeError):
        Function(also=broken).open(Context("cold"))
    (line,) = [json.loads(text) for text in capsys.readouterr().out.splitlines()]
    assert (line["event"], line["reason"]) == ("start.failed", "unexpected RuntimeError")


def test_an_address_that_is_none_is_said_without_its_password(
    variables: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It cannot be connected to, whatever the database does."""
    variables.setenv("LEDGER_URL", "nothing://user:a-password-nobody-may-see@host/ledger")
    with pytest.raises(LedgerError):
        cold("grant").initialize(Context("cold"))
    told = capsys.readouterr().out
    assert '"start.failed"' in told
    assert "a-password-nobody-may-see" not in told
