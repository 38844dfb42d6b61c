"""The stacks of docs/deploy.md are made with parameters of their templates, in as many commands as the page says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from deploy.onboarding import Onboarding

ROOT = Path(__file__).parents[2]
DEPLOY = (ROOT / "docs" / "deploy.md").read_text("utf-8")
STACKS = re.findall(r"^(aliyun ros CreateStack .*?[^\\])$", DEPLOY, re.MULTILINE | re.DOTALL)

PRINTED = Onboarding("2000000000000002", "1000000000000001", "ecr-grants:x", "cn-hangzhou")


def parameters(command: str) -> dict[str, str]:
    """The parameters that a CreateStack command gives, by name."""
    words = shlex.split(re.sub(r'"\$\(cat [^)]*\)"', "TEMPLATE", command))
    given = dict(zip(words[3::2], words[4::2], strict=True))
    numbers = [name.split(".")[1] for name in given if name.endswith(".ParameterKey")]
    return {
        given[f"--Parameters.{number}.ParameterKey"]: given[f"--Parameters.{number}.ParameterValue"]
        for number in numbers
    }


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(STACKS[0].replace("\\\n", " "), id="of the hub"),
        pytest.param(STACKS[1].replace("\\\n", " "), id="of account B"),
        pytest.param(PRINTED.stack_command(), id="printed"),
    ],
)
def test_a_stack_is_created_with_parameters_that_its_template_has(command: str) -> None:
    """All that have no default, no other, each as the template allows it."""
    [name] = re.findall(r"cat (deploy/\S+)\)", command)
    known = yaml.safe_load((ROOT / name).read_text("utf-8"))["Parameters"]
    given = parameters(command)
    assert {key for key, one in known.items() if "Default" not in one} <= given.keys() <= known.keys()
    for key, value in given.items():
        assert re.fullmatch(known[key].get("AllowedPattern", ".*"), value)


def test_every_parameter_is_told() -> None:
    """In the table of the templates."""
    for name in ("hub.yaml", "spoke.yaml"):
        for parameter in yaml.safe_load((ROOT / "deploy" / name).read_text("utf-8"))["Parameters"]:
            assert f"`{parameter}`" in DEPLOY


def test_from_clone_to_grant_is_twelve_commands() -> None:
    """Those in the page's blocks, up to where deploying again begins."""
    first, _, _ = DEPLOY.partition("## Deploying again")
    blocks = "".join(re.findall(r"```sh\n(.*?)```", first, re.DOTALL)).replace("\\\n", " ")
    assert len(blocks.splitlines()) == 12
