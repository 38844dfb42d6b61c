"""What the platform's errors mean to us: the table a reviewer looks at.

Decided by code first, then by HTTP status, because the SDK raises throttling as an ordinary client error and a dead
connection on another branch of its tree (seen in alibabacloud_tea_openapi 0.4.6 and darabonba-core 1.0.9).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from alibabacloud_tea_openapi.exceptions import AlibabaCloudException
from Tea.exceptions import TeaException

from shared.errors import (
    CloudTrouble,
    CloudUnreachable,
    GrantError,
    Locked,
    NeedsSomebody,
    PermanentError,
    PermissionMissing,
    TemporaryError,
    Throttled,
)

_BY_PREFIX: tuple[tuple[str, type[GrantError]], ...] = (
    ("Throttling", Throttled),
    ("Conflict.Lock", Locked),
    ("IncorrectStatus.", Locked),
    ("OperationDenied.NotGrantedByNodeOwner", TemporaryError),
    ("OperationFailed.CallingVpcYaochi", CloudTrouble),
    ("NoPermission", PermissionMissing),
    ("Forbidden", PermissionMissing),
    ("EntityNotExist.Role", PermissionMissing),
    ("AuthenticationFail", NeedsSomebody),
    ("InvalidAccessKeyId", NeedsSomebody),
    ("SignatureDoesNotMatch", NeedsSomebody),
    ("InvalidSecurityToken.Expired", TemporaryError),
    ("InvalidSecurityToken", NeedsSomebody),
    ("InvalidTimeStamp", TemporaryError),
    ("SignatureNonceUsed", TemporaryError),
    ("QuotaExceeded.", NeedsSomebody),
    ("OperationDenied.", NeedsSomebody),
    ("OperationFailed.", NeedsSomebody),
    ("ServiceUnavailable", CloudTrouble),
    ("InternalError", CloudTrouble),
    ("ResourceNotFound.", PermanentError),
    ("MissingParam.", PermanentError),
    ("IllegalParam", PermanentError),
    ("UnsupportedRegion", PermanentError),
)

# A write that ended like this may have taken effect all the same.
_MAY_HAVE_LANDED = (CloudTrouble, CloudUnreachable)


def meaning(code: str | None, status: int | None) -> type[GrantError]:
    """The kind of error behind a code; an unknown code is judged by its HTTP class."""
    for prefix, kind in _BY_PREFIX:
        if code is not None and code.startswith(prefix):
            return kind
    if status is not None and status >= 500:
        return CloudTrouble
    if status == 429:
        return Throttled
    if status == 403:
        return PermissionMissing
    if status is not None and status >= 400:
        return PermanentError
    return CloudUnreachable


@contextmanager
def translated(operation: str, account: str) -> Iterator[None]:
    """Run one API call; raise only errors of ours. ``account`` is whose resources the call touched."""
    try:
        yield
    except AlibabaCloudException as error:
        raise _told(operation, account, error) from error
    except TeaException as error:
        raise CloudUnreachable(
            f"{operation} in account {account}: no usable answer from the platform", executed=True
        ) from error


def check_envelope(operation: str, account: str, body: Any) -> None:
    """ECR may refuse inside HTTP 200, where the SDK raises nothing (its response envelope carries Success and Code)."""
    if body.success is False:
        status = int(body.http_status_code) if body.http_status_code else 400
        raise _made(operation, account, body.code, status, body.message or "", body.request_id or "", None)


def _told(operation: str, account: str, error: AlibabaCloudException) -> GrantError:
    denied = getattr(error, "access_denied_detail", None)
    data = error.data if isinstance(error.data, Mapping) else {}
    text = str(data.get("Message") or error.message or "")
    retry_after = getattr(error, "retry_after", None)
    made = _made(operation, account, error.code, error.status_code, text, str(error.request_id or ""), denied)
    if retry_after is not None:
        # The SDK takes the header as milliseconds.
        return Throttled(str(made), code=made.code, retry_after=int(retry_after) / 1000)
    return made


def _made(
    operation: str,
    account: str,
    code: str | None,
    status: int | None,
    text: str,
    api_request_id: str,
    denied: Any,
) -> GrantError:
    kind = meaning(code, status)
    where = f"{operation} in account {account}"
    tail = f" ({code}: {text.rstrip('. ')}; API request {api_request_id})"
    if kind is PermissionMissing:
        action = denied.get("AuthAction") if isinstance(denied, Mapping) else None
        if operation == "AssumeRole":
            return PermissionMissing(f"the role may not be assumed in account {account}: {where}" + tail)
        return PermissionMissing(f"permission {action or operation} is missing in account {account}" + tail)
    return kind(where + tail, code=code, executed=issubclass(kind, _MAY_HAVE_LANDED))
