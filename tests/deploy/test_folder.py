"""What `s deploy` is given: a package that was proved, and a template with nothing empty in it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from deploy.folder import Choices, decided, first_of, main, rendered
from deploy.package import report_of
from deploy.packagecheck import Proof, check
from localcloud.fc.variables import Resolver
from tests.functional.launch import DESK, clean_environment
from tests.functional.test_template import DOCUMENT, GIVEN, KEYS, SCHEMA, misspelt
from tests.functional.world import HUB, ROOT

Json = dict[str, Any]

DECIDED = {
    "VPC_ID": "vpc-1",
    "VSWITCH_ID": "vsw-1,vsw-2",
    "SECURITY_GROUP_ID": "sg-1",
    "LOG_PROJECT": "p",
    "DESK_ADDRESS": DESK["DESK_ADDRESS"],
    "TRIGGERS": "on",
}
NOTHING = {"VPC_ID": "", "LOG_PROJECT": "", "DESK_ADDRESS": "", "TRIGGERS": "off"}
TRIGGERS = {"eventbridge": "IEventBridge", "timer": "ITimerTriggerConfig", "http": "IHttpTriggerConfig"}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A small package that somebody has proved."""
    place = tmp_path / "package"
    place.mkdir()
    (place / "grant.py").write_text("def handler(event, context): ...\n")
    sound = check(place, None).model_copy(update={"imports": Proof.RUN})
    report_of(place).write_text(sound.model_dump_json())
    return place


def laid_out(package: Path, monkeypatch: pytest.MonkeyPatch, **environment: str) -> int:
    """The exit code of the command, with these variables."""
    for name in DECIDED:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    place = package.with_name("deploy")
    return main(["--package", str(package), "--into", str(place)])


def tree(environment: dict[str, str]) -> Json:
    """The rendered template with every variable replaced, as the deployment tool would."""
    document = rendered(DOCUMENT, decided(environment), "./deploy")
    resolver = Resolver(document, GIVEN, HUB)
    resources = {
        name: {**resource, "props": resolver.resolve(resource["props"], name, name)}
        for name, resource in document["resources"].items()
    }
    return {**document, "resources": resources}


def test_the_package_lies_there_and_nothing_beside_it(
    package: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing of the time before, and no configuration; the template is beside the folder and points to it."""
    place = package.with_name("deploy")
    (place / "left_over").mkdir(parents=True)
    assert laid_out(package, monkeypatch, **DECIDED) == 0
    assert sorted(path.name for path in place.iterdir()) == ["grant.py"]
    document = yaml.safe_load(place.with_name("s.yaml").read_text())
    assert document == rendered(DOCUMENT, decided(DECIDED), "./deploy")
    assert "triggers on" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        ("report", "was not checked: `make package` builds and checks it"),
        ("content", "has changed since it was checked"),
        ("faults", "has 1 faults"),
        ("proof", "were not run, which takes x86_64 Linux and the runtime's Python"),
    ],
)
def test_what_was_not_proved_is_not_laid_out(
    package: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    spoil: str,
    told: str,
) -> None:
    """A package nobody checked, or another one, or one with faults or unproved imports."""
    if spoil == "report":
        report_of(package).unlink()
    elif spoil == "content":
        (package / "grant.py").write_text("def handler(event, context): pass\n")
    else:
        changed: Json = {"faults": ("a fault",)} if spoil == "faults" else {"imports": Proof.NOT_RUN}
        report_of(package).write_text(
            check(package, None).model_copy(update={"imports": Proof.RUN} | changed).model_dump_json()
        )
    assert laid_out(package, monkeypatch, **DECIDED) == 1
    assert told in capsys.readouterr().err
    assert not package.with_name("deploy").exists()


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        (
            {},
            (
                "VPC_ID must be set",
                "LOG_PROJECT must be set",
                "DESK_ADDRESS must be set",
                "TRIGGERS must be on or off: off at the first deployment",
            ),
        ),
        ({**NOTHING, "TRIGGERS": "yes"}, ("TRIGGERS must be on or off", "(found: 'yes')")),
        ({**NOTHING, "VPC_ID": "vpc-1"}, ("VPC_ID needs VSWITCH_ID", "SECURITY_GROUP_ID")),
    ],
)
def test_what_a_default_would_undo_has_to_be_said(
    package: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    environment: dict[str, str],
    told: tuple[str, ...],
) -> None:
    """Everything that is missing, at once."""
    assert laid_out(package, monkeypatch, **environment) == 1
    error = capsys.readouterr().err
    assert [words for words in told if words not in error] == []


def test_empty_blocks_are_left_out_and_triggers_are_off() -> None:
    """At a first deployment, with a public database and no desk; a value alone could not do it."""
    assert set(DOCUMENT["resources"]) - set(tree(NOTHING)["resources"]) == {"desk"}
    for resource in tree(NOTHING)["resources"].values():
        props = resource["props"]
        assert props.keys().isdisjoint({"vpcConfig", "logConfig"})
        for trigger in props["triggers"]:
            config = trigger["triggerConfig"]
            assert {config.get("triggerEnable"), config.get("enable")} == {False, None}


def test_what_was_decided_stands_in_it() -> None:
    """Several zones, the log's project, triggers on; and the rest is what s.yaml says."""
    source = Resolver(DOCUMENT, GIVEN, HUB)
    for name, resource in tree(DECIDED)["resources"].items():
        props = resource["props"]
        network = {"vpcId": "vpc-1", "vSwitchIds": ["vsw-1", "vsw-2"], "securityGroupId": "sg-1"}
        assert (props["code"], props["vpcConfig"], props["logConfig"]["project"]) == ("./deploy", network, "p")
        expected = source.resolve(DOCUMENT["resources"][name]["props"], name, name)
        same = expected.keys() - {"code", "vpcConfig", "logConfig"}
        assert {key: props[key] for key in same} == {key: expected[key] for key in same}


@pytest.mark.parametrize("environment", [DECIDED, NOTHING], ids=["everything", "nothing"])
def test_the_component_accepts_it(environment: dict[str, str]) -> None:
    """Spelling, the component's schema for each function, and for each trigger its own part of it."""
    document = tree(environment)
    assert misspelt(document, KEYS, "") == []
    if not SCHEMA.exists():
        pytest.skip("the component's schema is not on this machine")
    schema = json.loads(SCHEMA.read_text("utf-8"))
    for resource in document["resources"].values():
        assert [error.message for error in Draft7Validator(schema).iter_errors(resource["props"])] == []
        for trigger in resource["props"]["triggers"]:
            part = {"$ref": f"#/definitions/{TRIGGERS[trigger['triggerType']]}", "definitions": schema["definitions"]}
            assert [error.message for error in Draft7Validator(part).iter_errors(trigger["triggerConfig"])] == []


@pytest.mark.skipif(
    shutil.which("s") is None, reason="Serverless Devs (npm: @serverless-devs/s) is not on this machine"
)
def test_the_tool_resolves_it_as_we_do(package: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`s preview` needs no network; the account's id stays open, because nobody is logged in."""
    assert laid_out(package, monkeypatch, **DECIDED) == 0
    done = subprocess.run(
        ["s", "preview", "--template", str(tmp_path / "s.yaml"), "--output-format", "json", "--silent"],
        env=clean_environment(**GIVEN, HOME=str(tmp_path)),
        capture_output=True,
        text=True,
        check=True,
    )
    shown = json.loads(done.stdout.replace("${config('AccountID')}", HUB))
    assert shown["resources"] == tree(DECIDED)["resources"]


def test_the_checkout_stays_clean() -> None:
    """Whatever is made lies where git and the linters do not look; a configuration in the root is nobody's to commit."""
    made = [".local/package", ".local/deploy/grant.py", ".local/s.yaml", "config/accounts.yaml", "key.pem", "1.bundle"]
    done = subprocess.run(["git", "check-ignore", *made], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode == 128:
        pytest.skip("this is no git checkout")
    assert done.stdout.split() == made


def test_surroundings_are_read_from_names_only() -> None:
    """No other variable of the environment is looked at, and the values cannot be changed afterwards."""
    around = Choices.model_validate({**os.environ, **DECIDED})
    assert set(type(around).model_fields) == {"vpc", "switches", "security_group", "log_project", "desk", "triggers"}


def test_the_first_deployment_differs_by_its_triggers_alone(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Off in the one, as decided in the other."""
    assert laid_out(package, monkeypatch, **DECIDED) == 0
    template = package.with_name("s.yaml")
    text, first = template.read_text("utf-8"), first_of(template).read_text("utf-8")
    assert "enable: true" in text.replace("triggerEnable: true", "enable: true")
    assert "nable: true" not in first
    assert first.replace("nable: false", "nable: true") == text
