"""What `ecr-grants doctor` reads out of an s.yaml: the same as the deployment tool, and nothing where that cannot be told."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.doctor_template import Wanted, read_template
from shared.errors import SettingsError

TEXT = """
vars:
  region: ${env('REGION', 'cn-hangzhou')}
  uid: ${config('AccountID')}
  shared: &shared {LEDGER_URL: "${env('LEDGER_URL')}", MODE: "${env('MODE', '')}"}
resources:
  one:
    component: fc3
    props:
      functionName: one
      region: ${vars.region}
      role: acs:ram::${vars.uid}:role/one
      runtime: ${env('RUNTIME')}
      memorySize: 512
      vpcConfig: {vpcId: "${env('VPC_ID', '')}"}
      logConfig: auto
      environmentVariables: {<<: *shared, HEAD_KEY: "${env('HEAD_KEY', '')}"}
      triggers:
        - {triggerName: tick, triggerType: timer, triggerConfig: {enable: true, payload: '${resources.two.output.x}'}}
"""


def read(tmp_path: Path, text: str = TEXT, **environment: str) -> Wanted:
    """The only function of a template."""
    path = tmp_path / "s.yaml"
    path.write_text(text, "utf-8")
    [wanted] = read_template(path, "1000000000000001", environment)
    return wanted


def test_variables_are_filled_in(tmp_path: Path) -> None:
    """From the file's own, the environment with its defaults, and the account."""
    wanted = read(tmp_path, RUNTIME="python3.12")
    assert wanted.part("region", "role", "runtime", "memorySize") == {
        "region": "cn-hangzhou",
        "role": "acs:ram::1000000000000001:role/one",
        "runtime": "python3.12",
        "memorySize": 512,
    }
    assert read(tmp_path, REGION="cn-shanghai").props["region"] == "cn-shanghai"


def test_what_cannot_be_told_is_not_expected(tmp_path: Path) -> None:
    """A variable that nobody set, an empty one, a reference to what a deployment gave, what the tool chooses by itself."""
    wanted = read(tmp_path)
    assert wanted.part("runtime", "vpcConfig", "logConfig") == {}
    assert wanted.triggers == {"tick": {"enable": True}}


def test_of_the_environment_names_are_read_and_no_values(tmp_path: Path) -> None:
    """Also of those that are empty here."""
    wanted = read(tmp_path, LEDGER_URL="a-secret", HEAD_KEY="a-secret")
    assert wanted.environment == {"LEDGER_URL", "MODE", "HEAD_KEY"}
    assert "a-secret" not in str(wanted)
    whole = TEXT.replace("{<<: *shared, HEAD_KEY: \"${env('HEAD_KEY', '')}\"}", "${vars.shared}")
    assert read(tmp_path, whole).environment == {"LEDGER_URL", "MODE"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "resources: 1",
        "resources: {a: {}}",
        "a: [",
        "vars: {a: '${vars.a}'}\nresources: {b: {props: {functionName: '${vars.a}'}}}",
    ],
)
def test_what_is_no_template_is_one_error(tmp_path: Path, text: str) -> None:
    """That names the file."""
    with pytest.raises(SettingsError, match=r"s\.yaml: is not an s\.yaml"):
        read(tmp_path, text)
