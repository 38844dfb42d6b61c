"""The README says what is there: operations, switches, kinds of trouble, paths, commands."""

import re
from pathlib import Path
from typing import get_args

import pytest

from localcloud.faults import Kind
from localcloud.mns.operations.table import OPERATIONS
from localcloud.operations import Product
from localcloud.ros.functions import EMULATED
from localcloud.ros.kinds import KINDS
from localcloud.server import PRODUCTS
from localcloud.switches import Switches
from localcloud.worldfile import parse_world

README = (Path(__file__).parents[2] / "localcloud" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("product", PRODUCTS.values(), ids=lambda product: product.name)
def test_the_table_of_operations_is_complete(product: Product) -> None:
    """Every emulated RPC operation is in the row of its product, and nothing else is."""
    row = next(line for line in README.splitlines() if product.version in line)

    assert set(re.findall(r"\b(?:[A-Z][a-z]+){2,}[A-Za-z]*\b", row)) - {product.name} == set(product.operations)


def test_the_row_of_queues_and_topics_is_complete() -> None:
    """Every emulated operation of the message service is in its row, and nothing else is."""
    row = next(line for line in README.splitlines() if line.startswith("| MNS"))

    assert set(re.findall(r"\b[A-Z][a-z]+[A-Z]?[A-Za-z]+\b", row)) == set(OPERATIONS)


def test_the_table_of_switches_is_current() -> None:
    """Every switch has a row with its settings and its reason, the default in bold."""
    rows = [line for line in README.splitlines() if re.match(r"\| `[a-z_]+` \| .*\*\*", line)]

    assert rows == [
        f"| `{switch['name']}` | "
        + " · ".join(f"**{value}**" if value == switch["default"] else value for value in switch["values"])
        + f" | {switch['reason']} |"
        for switch in Switches().explained()
    ]


def test_every_kind_of_trouble_is_explained() -> None:
    """The table of planned trouble has all kinds."""
    table = README.partition("| kind | what happens |")[2].partition("**The admin API**")[0]

    assert set(re.findall(r"`([a-z]+(?:_[a-z]+)?)`", table)) - {"retry_after"} == set(get_args(Kind))


def test_the_row_of_templates_is_complete() -> None:
    """Every resource type and function of ROS templates that is emulated is in its row, and nothing else is."""
    row = next(line for line in README.splitlines() if line.startswith("| ROS"))

    assert set(re.findall(r"ALIYUN::\w+::\w+", row)) == set(KINDS)
    assert set(re.findall(r"Fn::\w+|\bRef\b", row)) == set(EMULATED)


def test_the_world_with_people_is_one() -> None:
    """What the README shows of signing in is a world file."""
    (shown,) = re.findall(r"```yaml\n(version: 1\n.*?)```", README, re.DOTALL)

    world = parse_world(shown)
    assert sorted(world.accounts["1000000000000001"].people) == ["hub-root", "on-call", "requester"]
