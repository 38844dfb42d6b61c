"""Fixtures of what runs a whole house of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.chaos.wire import without_proxies


@pytest.fixture
def no_proxies() -> Iterator[None]:
    """Loopback is not reached through a proxy; what the environment said is restored."""
    kept = dict(os.environ)
    without_proxies()
    yield
    os.environ.update(kept)
