"""Vendor errors end here: each becomes one of ours, by the catalogue.

Decided by code first, then by HTTP status, because the SDK raises throttling as an ordinary client error and a dead
connection on another branch of its tree (seen in alibabacloud_tea_openapi 0.4.6 and darabonba-core 1.0.9).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from alibabacloud_tea_openapi.exceptions import AlibabaCloudException
from Tea.exceptions import TeaException

from shared import words
from shared.errors import CloudTrouble, CloudUnreachable, GrantError, PermissionMissing, Throttled
from shared.messages.catalogue import by_status, find, unknown_codes, what_next
from shared.messages.codes import OPERATOR

# A write that ended like this may have taken effect all the same.
_MAY_HAVE_LANDED = (CloudTrouble, CloudUnreachable)


def made(code: str | None, status: int | None, where: str, detail: str) -> GrantError:
    """The error for a code, with the catalogue's words in both languages; an unknown code is judged by its HTTP class."""
    entry = find(code)
    if entry is None:
        unknown_codes[code or f"HTTP {status}"] += 1
        kind, en, zh, who = by_status(status, code), "unknown error", "未知错误", OPERATOR
    else:
        kind, en, zh, who = entry.kind, entry.en, entry.zh, entry.who
    # Here alone, so that the log tells every answer of the platform in the words of the catalogue.
    if entry is None:
        words.error_unknown(
            code=code, status=status, where=where, meaning=en, meaning_zh=zh, who=who, next=what_next(kind)
        )
    else:
        words.error_met(
            code=entry.code if code is None else code,
            status=status,
            where=where,
            meaning=en,
            meaning_zh=zh,
            who=who,
            next=what_next(kind),
        )
    return kind(
        f"{where}: {en} ({detail})",
        code=code,
        executed=issubclass(kind, _MAY_HAVE_LANDED),
        text_zh=f"{zh}（{where}；{detail}）",
    )


@contextmanager
def translated(operation: str, account: str) -> Iterator[None]:
    """Run one API call; raise only errors of ours. ``account`` is whose resources the call touched."""
    try:
        yield
    except AlibabaCloudException as error:
        raise _from_sdk(operation, account, error) from error
    except TeaException as error:
        raise made("CloudUnreachable", None, f"{operation} in account {account}", type(error).__name__) from error


def check_envelope(operation: str, account: str, body: Any) -> None:
    """ECR may refuse inside HTTP 200, where the SDK raises nothing (its response envelope carries Success and Code)."""
    if body.success is False:
        status = int(body.http_status_code) if body.http_status_code else 400
        raise _told(operation, account, body.code, status, body.message or "", body.request_id or "", None)


def _from_sdk(operation: str, account: str, error: AlibabaCloudException) -> GrantError:
    denied = getattr(error, "access_denied_detail", None)
    data = error.data if isinstance(error.data, Mapping) else {}
    text = str(data.get("Message") or error.message or "")
    told = _told(operation, account, error.code, error.status_code, text, str(error.request_id or ""), denied)
    retry_after = getattr(error, "retry_after", None)
    if retry_after is not None and not isinstance(told, Throttled):
        # The SDK raises its throttling error for any refusal that names a time to come back.
        told = Throttled(str(told), code=told.code, text_zh=told.text_zh)
    if isinstance(told, Throttled) and retry_after is not None:
        told.retry_after = int(retry_after) / 1000  # the SDK takes the header as milliseconds
    return told


def _told(
    operation: str, account: str, code: str | None, status: int | None, text: str, api_request_id: str, denied: Any
) -> GrantError:
    where = f"{operation} in account {account}"
    detail = f"{code}: {text.rstrip('. ')}; API request {api_request_id}"
    error = made(code, status, where, detail)
    if isinstance(error, PermissionMissing):
        action = denied.get("AuthAction") if isinstance(denied, Mapping) else None
        if operation == "AssumeRole":
            en, zh = f"the role may not be assumed in account {account}", f"无法扮演账号 {account} 的角色"
        else:
            name = action or operation
            en, zh = f"permission {name} is missing in account {account}", f"账号 {account} 缺少权限 {name}"
        return type(error)(f"{en} ({detail})", code="PermissionMissing", text_zh=f"{zh}（{detail}）")
    return error
