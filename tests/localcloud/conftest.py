"""Fixtures for tests of the local cloud: each test brings its own accounts, and its own cloud when it changes one."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from tests.localcloud.harness import LocalCloud

RunCloud = Callable[[Mapping[str, Any]], LocalCloud]


@pytest.fixture
def run_cloud() -> Iterator[RunCloud]:
    """Start local clouds from worlds given as plain data; they end with the test."""
    running: list[LocalCloud] = []

    def run(world: Mapping[str, Any]) -> LocalCloud:
        cloud = LocalCloud({"version": 1, **world})
        running.append(cloud)
        return cloud.start()

    yield run
    for cloud in running:
        cloud.stop()
