"""The operator's way to deployed functions: run one now, or look at how it is deployed.

The SDK's own methods address functions inside a service (FC 2.0); functions of FC 3.0 have none, and its client object
carries their flat route through ``call_api`` (seen in alibabacloud_fc_open20210406 2.0.12).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, overload

from alibabacloud_fc_open20210406.client import Client
from alibabacloud_fc_open20210406.models import InvokeFunctionHeaders, InvokeFunctionRequest
from alibabacloud_tea_openapi.utils_models import OpenApiRequest, Params
from Tea.exceptions import TeaException

from shared.cloud.clients import config
from shared.cloud.errors import made
from shared.cloud.keys import Keys
from shared.errors import GrantError, NeedsSomebody

_RUN_MS = 600_000
_ABSENT = frozenset(
    {"FunctionNotFound", "ServiceNotFound", "TriggerNotFound", "OnDemandConfigNotFound", "AsyncConfigNotExists"}
)
"""Codes for what is not there (the vendor's Terraform provider and deployment tools)."""


@dataclass(frozen=True)
class Answer:
    """What a function returned, and under which request it ran."""

    request_id: str
    result: Any


class Functions:
    """Deployed functions at one address: ``{uid}.{region}.fc.aliyuncs.com``, or a stand-in's."""

    def __init__(self, endpoint: str, region: str, keys: Keys, milliseconds: int = _RUN_MS) -> None:
        """``milliseconds``: how long one answer is waited for."""
        ready = config(endpoint, region, keys)
        ready.read_timeout = milliseconds
        self._milliseconds = milliseconds
        self._client = Client(ready)

    def run(self, function: str, payload: bytes, service: str | None = None) -> Answer:
        """Invoke and wait. ``service`` names the FC 2.0 service; None means FC 3.0.

        Raises NeedsSomebody with the function's own error when it failed, GrantError otherwise.
        """
        try:
            status, headers, body = (
                self._flat(function, payload) if service is None else self._in_service(service, function, payload)
            )
        except TeaException as error:
            raise _told(function, error) from error
        text = body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body)
        request_id = headers.get("x-fc-request-id", "")
        if headers.get("x-fc-error-type"):
            raise NeedsSomebody(f"{function} failed (request {request_id}): {text}", code="FunctionFailed")
        if status >= 400:
            raise NeedsSomebody(f"{function}: HTTP {status}: {text}")
        return Answer(request_id, json.loads(text) if text else None)

    def read(
        self, function: str, part: str = "", service: str | None = None, query: Mapping[str, str] | None = None
    ) -> Any:
        """What Function Compute says about a function, or about a ``part`` of it such as ``triggers``: the decoded JSON.

        None where there is no such thing. ``service`` as for ``run``. Raises GrantError. Names of paths and fields: the SDKs of
        both versions of the API.
        """
        root, version = (
            ("/2023-03-30", "2023-03-30") if service is None else (f"/2021-04-06/services/{service}", "2021-04-06")
        )
        params = Params(
            action="Get",
            version=version,
            protocol="HTTPS",
            pathname=f"{root}/functions/{function}{'/' if part else ''}{part}",
            method="GET",
            auth_type="AK",
            style="ROA",
            req_body_type="json",
            body_type="json",
        )
        try:
            return self._client.call_api(params, OpenApiRequest(query=dict(query or {})), self._runtime())["body"]
        except TeaException as error:
            told = _told(f"{function} {part}".strip(), error, absent=_ABSENT)
            if told is None:
                return None
            raise told from error

    def _flat(self, function: str, payload: bytes) -> tuple[int, Mapping[str, str], Any]:
        params = Params(
            action="InvokeFunction",
            version="2023-03-30",
            protocol="HTTPS",
            pathname=f"/2023-03-30/functions/{function}/invocations",
            method="POST",
            auth_type="AK",
            style="ROA",
            req_body_type="byte",
            body_type="byte",
        )
        request = OpenApiRequest(headers={"x-fc-invocation-type": "Sync"}, body=payload)
        answer = self._client.call_api(params, request, self._runtime())
        return int(answer["statusCode"]), answer["headers"], answer["body"]

    def _in_service(self, service: str, function: str, payload: bytes) -> tuple[int, Mapping[str, str], Any]:
        headers = InvokeFunctionHeaders(x_fc_invocation_type="Sync")
        request = InvokeFunctionRequest(body=payload)
        answer = self._client.invoke_function_with_options(service, function, request, headers, self._runtime())
        return int(answer.status_code), answer.headers, answer.body

    def _runtime(self) -> Any:
        from alibabacloud_tea_util.models import RuntimeOptions  # noqa: PLC0415  # this older SDK wants its own kind

        return RuntimeOptions(autoretry=False, read_timeout=self._milliseconds)


@overload
def _told(where: str, error: TeaException) -> GrantError: ...
@overload
def _told(where: str, error: TeaException, absent: frozenset[str]) -> GrantError | None: ...
def _told(where: str, error: TeaException, absent: frozenset[str] = frozenset()) -> GrantError | None:
    """The error in our words; None where its code says that what was asked for is ``absent``."""
    data = error.data if isinstance(getattr(error, "data", None), Mapping) else {}
    # Where the older API has a code of another name, the SDK makes the text "None" of the missing one (tea-openapi 0.4.6).
    told = str(error.code)
    code = data.get("ErrorCode") or (None if told == "None" else told)
    status = getattr(error, "statusCode", None) or data.get("statusCode")
    if code is None and status is None:
        return made("CloudUnreachable", None, where, "Function Compute")
    if code in absent:
        return None
    text = data.get("ErrorMessage") or data.get("Message") or error.message
    return made(code, int(status) if status else None, where, f"{code}: {text}")
