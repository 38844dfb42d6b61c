"""Fixtures for tests of the local cloud: each test brings its own accounts, and its own cloud when it changes one."""

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from tests.localcloud.harness import LocalCloud

RunCloud = Callable[[Mapping[str, Any]], LocalCloud]


@pytest.fixture(scope="session", autouse=True)
def no_proxy() -> Iterator[None]:
    """The SDKs send loopback calls to a proxy when the environment names one, so it must not."""
    names = [name for name in os.environ if name.lower() in {"http_proxy", "https_proxy", "all_proxy"}]
    kept = {name: os.environ.pop(name) for name in names}
    yield
    os.environ.update(kept)


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
