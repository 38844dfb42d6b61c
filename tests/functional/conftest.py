"""Fixtures of the functional tests: one local cloud with the project's own s.yaml deployed, shared by all of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.functional.deployment import Deployment, deployment
from tests.functional.world import EXAMPLE, HUB, HUB_ROLE, SPOKE, SPOKE_ROLE, Hub, Spoke, Stage, example_actions

_SPOKES = 120


class Cast:
    """The accounts of the shared world. Each test takes spokes that nobody had before it."""

    def __init__(self) -> None:
        self.stage = Stage()
        self.spokes = [self.stage.new_spoke() for _ in range(_SPOKES)]
        self._fresh = iter(self.spokes)
        self.without: dict[str, Spoke] = {}
        """Spokes whose role lacks one action of the example's."""
        self.hubs_without: dict[str, Hub] = {}
        """Hubs whose role lacks one action of the example's."""
        for action in dict.fromkeys(example_actions(SPOKE, SPOKE_ROLE)):
            self.without[action] = self.stage.new_spoke()
            self.stage.take_away(self.without[action].uid, SPOKE_ROLE, action)
        for action in dict.fromkeys(example_actions(HUB, HUB_ROLE)):
            self.hubs_without[action] = self.stage.new_hub()
            self.stage.take_away(self.hubs_without[action].uid, HUB_ROLE, action)
        self.distrusting = self.stage.new_spoke()
        trusted = self.stage.role(self.distrusting.uid, SPOKE_ROLE)["trust"]["Statement"][0]
        trusted["Principal"] = {"RAM": [f"acs:ram::{HUB}:role/somebody-else"]}
        self.misnamed = self.stage.new_spoke()
        trusted = self.stage.role(self.misnamed.uid, SPOKE_ROLE)["trust"]["Statement"][0]
        trusted["Condition"] = {"StringEquals": {"sts:ExternalId": "of-another-deployment"}}
        self.theirs = self.stage.new_hub(association="theirs")
        self.drifting = self.stage.new_hub()

    def spoke(self) -> Spoke:
        """A spoke that no test had before."""
        return next(self._fresh)


@pytest.fixture(scope="session")
def cast() -> Cast:
    """Who is in the shared world."""
    assert EXAMPLE["deploy"]["account"] == HUB
    return Cast()


@pytest.fixture(scope="session")
def deployed(cast: Cast, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """The project's s.yaml at work in a local cloud of its own, with a fresh ledger. Its workers start as on the platform."""
    with deployment(cast.stage, tmp_path_factory.mktemp("deployed"), preloaded=False) as made:
        yield made


@pytest.fixture
def spoke(cast: Cast) -> Spoke:
    """A spoke for this test alone."""
    return cast.spoke()
