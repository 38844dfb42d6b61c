"""The commands of docs/deploy.md and docs/onboard.md are commands: parameters are the template's, options are the program's."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from deploy.onboarding import Onboarding
from tests.functional.launch import run

ROOT = Path(__file__).parents[2]
DEPLOY, ONBOARD = ((ROOT / "docs" / name).read_text("utf-8") for name in ("deploy.md", "onboard.md"))

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
        pytest.param(
            re.findall(r"^ +(aliyun ros CreateStack .*?[^\\])$", DEPLOY, re.MULTILINE | re.DOTALL)[0].replace(
                "\\\n", " "
            ),
            id="of the document",
        ),
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


def test_from_clone_to_grant_is_ten_commands() -> None:
    """As the page begins."""
    assert re.findall(r"^(\d+)\. ", DEPLOY, re.MULTILINE)[-1] == "10"


@pytest.mark.parametrize(
    "line", sorted(set(re.findall(r"ecr-grants ((?:onboard|offboard)[^`\n#]*)", DEPLOY + ONBOARD)))
)
def test_a_command_of_ours_has_the_options_it_is_shown_with(line: str) -> None:
    """Onboard prints; what needs a deployment or a ledger says that it lacks them, and not that it knows no such option."""
    done = run("cli", *shlex.split(line), "--accounts-file", "none")
    if "--check" in line:
        assert (done.returncode, "FC_ENDPOINT" in done.stderr) == (2, True)
    elif line.startswith("offboard"):
        assert (done.returncode, "LEDGER_URL" in done.stderr or "ledger-url" in done.stderr) == (2, True)
    else:
        assert done.returncode == 0, done.stderr
