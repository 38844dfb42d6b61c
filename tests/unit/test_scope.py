"""The scope of an issuer: what no rule of a policy can widen."""

from __future__ import annotations

from typing import Any

import pytest

from shared.errors import NotAllowed
from shared.rules.scope import scope
from tests.unit.conftest import MakeApproval
from tests.unit.issuing import later, revoke, rights

B = "2000000000000002"
ECR = "ecr-7vrbqv9lcgvzqbwwkm"
TIGHT = {"accounts": [B], "ecrs": [ECR], "kinds": ["VPC"], "longest_days": 90}
BOUNDED = {"ends_at": later(days=90), "on_end": "teardown"}


def test_what_is_within_passes(approve: MakeApproval) -> None:
    """Up to the very end of it, and where anything goes, anything."""
    scope(rights(**TIGHT), approve(**BOUNDED))
    scope(rights(), approve())
    scope(rights(**TIGHT), revoke())
    scope(rights(everyone=True), revoke(closes="everyone"))


@pytest.mark.parametrize(
    ("scoped", "changes", "said"),
    [
        pytest.param({"accounts": ["1000000000000001"]}, {}, f"instance.owner_uid: account {B}", id="account"),
        pytest.param({"ecrs": ["ecr-another00"]}, {}, f"ecr.id: {ECR}", id="router"),
        pytest.param({"kinds": ["VBR"]}, {}, "instance.type: it vouches for VBR only (found VPC)", id="kind"),
        pytest.param({}, {"ends_at": None}, "ends_at: it must name an end, at most 90 days", id="no end"),
        pytest.param({}, {"on_end": "report"}, "on_end: it must be teardown", id="an end that is only reported"),
        pytest.param(
            {}, {"ends_at": later(days=90, milliseconds=1)}, "ends_at: at most 90 days after", id="a moment too long"
        ),
    ],
)
def test_what_is_beyond_is_refused(
    approve: MakeApproval, scoped: dict[str, Any], changes: dict[str, Any], said: str
) -> None:
    """With the field that is."""
    with pytest.raises(NotAllowed, match=r"^beyond the scope of self-service: ") as refused:
        scope(rights(**(TIGHT | scoped)), approve(**(BOUNDED | changes)))
    assert said in str(refused.value)
    assert refused.value.code == "BeyondScope"
    assert ";" not in str(refused.value)


def test_everything_that_is_beyond_is_told(approve: MakeApproval) -> None:
    """In one go."""
    tight = rights(accounts=["1000000000000001"], ecrs=["ecr-another00"], kinds=["VBR"], longest_days=1)
    with pytest.raises(NotAllowed) as refused:
        scope(tight, approve(ends_at=later(days=2)))
    fields = [part.split(":")[0] for part in str(refused.value).split(": ", 1)[1].split("; ")]
    assert fields == ["instance.owner_uid", "ecr.id", "instance.type", "on_end", "ends_at"]


def test_a_revoke_is_in_scope_or_is_not() -> None:
    """By account, router and kind, and by the word that closes everyone's leases; never by a length."""
    with pytest.raises(NotAllowed, match=r"instance\.owner_uid"):
        scope(rights(accounts=["1000000000000001"]), revoke())
    with pytest.raises(NotAllowed, match=r": closes: it may not close everyone's leases$"):
        scope(rights(), revoke(closes="everyone"))
