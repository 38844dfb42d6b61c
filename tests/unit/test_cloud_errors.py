"""The gate's border: what the SDKs raise becomes one of our errors, with whatever a person needs to act."""

from __future__ import annotations

from typing import Any

import pytest
from alibabacloud_tea_openapi.exceptions import (
    AlibabaCloudException,
    ClientException,
    ServerException,
    ThrottlingException,
)
from Tea.exceptions import TeaException, UnretryableException

from shared.cloud.errors import translated
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

B = "2000000000000002"


def told(error: Exception, operation: str = "GrantInstanceToExpressConnectRouter", account: str = B) -> GrantError:
    """What an error of the SDK becomes at the border."""
    with pytest.raises(GrantError) as caught, translated(operation, account):
        raise error
    return caught.value


def refusal(kind: type[AlibabaCloudException], code: str | None, status: int, **more: Any) -> AlibabaCloudException:
    """An error as the SDK raises it."""
    made: AlibabaCloudException = kind(
        code=code, status_code=status, message="code: 400, Not now. request id: R-1", request_id="R-1", **more
    )
    return made


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        pytest.param("Conflict.Lock", 400, Locked, id="locked by an operation that ends"),
        pytest.param("IncorrectStatus.Ecr", 400, Locked, id="a router that is busy is locked too, whatever 400 says"),
        pytest.param("Throttling.User", 400, Throttled, id="throttled, though the status says a bad request"),
        pytest.param("Throttling", 429, Throttled, id="throttled, with the status that says so"),
        pytest.param(
            "ResourceNotFound.EcrId", 404, PermanentError, id="what does not exist is a mistake of the request"
        ),
        pytest.param(
            "IllegalParamFormat.EcrId", 400, PermanentError, id="a malformed parameter is a mistake of the request"
        ),
        pytest.param(
            "OperationDenied.CrossBidAssociating",
            400,
            NeedsSomebody,
            id="another enterprise: only people can change that",
        ),
        pytest.param(
            "InvalidSecurityToken.Expired", 400, TemporaryError, id="an expired token: the next session works"
        ),
        pytest.param("ServiceUnavailable", 503, CloudTrouble, id="the platform is away"),
        pytest.param("InternalError", 500, CloudTrouble, id="the platform failed"),
        pytest.param(
            "Nobody.Knows.This", 400, PermanentError, id="unknown, as a bad request: a mistake of the request"
        ),
        pytest.param(
            "IncorrectStatus.Nobody.Knows", 400, Locked, id="unknown, but its name says that it passes: locked"
        ),
        pytest.param("OperationConflict", 409, Locked, id="unknown, but an operation is in the way: locked"),
        pytest.param("NobodyKnows.InProgress", 400, Locked, id="unknown, but something is in progress: locked"),
        pytest.param("NobodyKnowsBusy", 400, Locked, id="unknown, but somebody is busy: locked"),
        pytest.param("OperationConflict", 500, CloudTrouble, id="unknown, and a failure: it may have been executed"),
        pytest.param("Nobody.Knows.This", 403, PermissionMissing, id="unknown, and forbidden: a permission is missing"),
        pytest.param("Nobody.Knows.This", 429, Throttled, id="unknown, as too many: throttled"),
        pytest.param("Nobody.Knows.This", 500, CloudTrouble, id="unknown, as a failure: the platform's trouble"),
        pytest.param(None, 502, CloudTrouble, id="no code, from a proxy on the way: the platform's trouble"),
    ],
)
def test_a_code_decides_and_an_unknown_one_goes_by_its_status(
    code: str | None, status: int, kind: type[GrantError]
) -> None:
    """Whichever of its classes the SDK chose."""
    for raised in (ClientException, ServerException):
        error = told(refusal(raised, code, status))
        assert isinstance(error, kind)
        assert "GrantInstanceToExpressConnectRouter" in str(error)
        assert B in str(error)
        assert "R-1" in str(error)


def test_the_vendors_own_words_are_kept() -> None:
    """The text comes from the answer's body, without what the SDK puts around it."""
    error = told(refusal(ClientException, "ResourceNotFound.EcrId", 404, data={"Message": "EcrId not found."}))
    assert "ResourceNotFound.EcrId: EcrId not found; API request R-1" in str(error)


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(ThrottlingException, id="by the SDK's own class for it"),
        pytest.param(ClientException, id="by the class of any refusal"),
    ],
)
def test_a_time_to_come_back_is_heeded(kind: type[AlibabaCloudException]) -> None:
    """The header counts milliseconds; the error counts seconds."""
    error = told(refusal(kind, "Throttling.User", 400, retry_after=2500))
    assert isinstance(error, Throttled)
    assert error.retry_after == 2.5
    assert not error.executed


def test_a_missing_permission_is_named_with_its_account() -> None:
    """The action from the detail where there is one, else the operation; for a role, that it may not be assumed."""
    denied = {"AuthAction": "expressconnectrouter:Grant", "PolicyType": "AccountLevelIdentityBasedPolicy"}
    error = told(refusal(ClientException, "NoPermission", 403, access_denied_detail=denied))
    assert isinstance(error, PermissionMissing)
    assert str(error).startswith(f"permission expressconnectrouter:Grant is missing in account {B}")
    error = told(refusal(ClientException, "NoPermission", 403))
    assert str(error).startswith(f"permission GrantInstanceToExpressConnectRouter is missing in account {B}")
    error = told(refusal(ClientException, "NoPermission", 403), "AssumeRole")
    assert str(error).startswith(f"the role may not be assumed in account {B}")


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(TeaException({"code": "", "message": "cut"}), id="the connection was cut"),
        pytest.param(UnretryableException(None, None), id="the SDK gave up trying"),
    ],
)
def test_no_answer_leaves_the_question_open(error: TeaException) -> None:
    """A connection that ended without an answer says nothing about the effect."""
    made = told(error)
    assert isinstance(made, CloudUnreachable)
    assert made.executed


def test_what_is_no_vendors_error_passes_unchanged() -> None:
    """A mistake of ours must not look like trouble of the cloud's."""
    with pytest.raises(ZeroDivisionError), translated("Grant", B):
        raise ZeroDivisionError
