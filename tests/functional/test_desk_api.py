"""The desk's API against its own description: whatever is sent, by whichever kind of caller, is answered as documented.

`DESK_EXAMPLES` says how many calls each kind of caller makes; `make proof` makes 5,000.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from schemathesis.checks import load_all_checks, not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi import checks

from tests.functional.desked import Browser, Desked, desked, wish

EXAMPLES = int(os.environ.get("DESK_EXAMPLES", "500"))
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
]
REACHED = {"person": {200, 403, 404, 409, 422}, "system": {200, 201, 403, 422}, "stranger": {401, 422}}
Headers = Callable[[], dict[str, str]]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desked]:
    """One for all of them."""
    with desked(tmp_path_factory.mktemp("desk")) as made:
        yield made


def headers_of(desk: Desked, who: str) -> Headers:
    """What this kind of caller shows with each call."""
    if who == "system":
        return lambda: {"Authorization": f"Bearer {desk.token()}"}
    browser = Browser(desk.address) if who == "stranger" else desk.browser("owner")
    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    return lambda: {"Cookie": cookie, "Origin": desk.address} if cookie else {}


def known(desk: Desked) -> dict[str, list[str]]:
    """Values of path parameters of which there is something, in several states, beside those that are made up."""
    asking = desk.browser("requester")
    answer = asking.post("/api/v1/requests", {"wishes": [wish(900 + number) for number in range(12)]})
    ids = [one["request_id"] for one in answer.json()["requests"]]
    for request_id in ids[:8]:
        desk.look(request_id)
    for request_id in ids[6:10]:
        asking.post(f"/api/v1/requests/{request_id}/withdrawal", {})
    return {"request_id": ids}


def cases(desk: Desked) -> SearchStrategy[Any]:
    """Calls of every operation that is described, with what fits the description and with what does not."""
    configuration = schemathesis.Config.from_dict({"generation": {"with-security-parameters": False}})
    schema = schemathesis.openapi.from_url(f"{desk.address}/api/v1/openapi.json", config=configuration)
    there = known(desk)
    found: list[SearchStrategy[Any]] = []
    for result in schema.get_all_operations():
        assert isinstance(result, Ok), result
        operation = result.ok()
        names = [one.name for one in operation.path_parameters]
        values: list[dict[str, str]] = [{}]
        if names and all(name in there for name in names):
            values += [
                dict(zip(names, value, strict=True)) for value in zip(*(there[name] for name in names), strict=True)
            ]
        for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):
            given_values = [operation.as_strategy(mode, path_parameters=one) for one in values]
            found.append(st.one_of(given_values))
    return st.one_of(found)


@pytest.mark.timeout(400 + EXAMPLES)
@pytest.mark.parametrize("who", ["person", "system", "stranger"])
def test_every_answer_is_documented(desk: Desked, who: str) -> None:
    """No failure of ours, and no status, type or form of an answer that the description does not have."""
    load_all_checks()
    headers = headers_of(desk, who)
    statuses: dict[int, int] = {}

    with requests.Session() as session:

        @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(case=cases(desk))
        def called(case: Any) -> None:
            answer = case.call(session=session, headers=headers())
            statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
            case.validate_response(answer, checks=CHECKS)

        called()
    assert sum(statuses.values()) >= EXAMPLES
    assert REACHED[who] <= set(statuses), "the calls went past the door, and behind it to more than one answer"
