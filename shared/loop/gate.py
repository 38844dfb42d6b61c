"""The gate: what may be admitted and made, by the newest configuration that the keys of this deployment have signed.

What the ledger keeps of a configuration is believed only as far as its signatures go. While the newest version cannot be, what
stands is kept, and closing goes on by the last one that could; nothing is admitted and nothing is made.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from shared import words
from shared.errors import BadInput, NotAllowed, PermanentError, Superseded, Unconfigured
from shared.ledger.admission import Judged
from shared.ledger.configuration import Kept, newest_number, newest_versions, versions_before
from shared.ledger.rows import Held, lease_of
from shared.ledger.transactions import Ledger
from shared.messages.approval import GrantApproval, RevokeApproval
from shared.messages.configuration import SealKey
from shared.messages.forms import GrantKey
from shared.messages.seal import Sealed, read_seal
from shared.rules.configuration import Version, verified
from shared.rules.inventory import Inventory
from shared.rules.leases import Timing, wanted
from shared.rules.proving import unproven
from shared.rules.questions import ensure
from shared.rules.sealing import check_fresh, reopen

if TYPE_CHECKING:
    from shared.rules.policy import Policy

_NOTHING = Inventory(version=1, accounts={})
_OLDER = 20  # versions that are tried when the newest cannot be believed, and nothing is known yet


@dataclass(frozen=True)
class Standing:
    """What is believed. ``fault``: why the newest version is not; then ``version`` is the last one that was."""

    number: int = 0
    deployment: str | None = None
    version: Version | None = None
    fault: str | None = "no configuration was applied yet"

    @property
    def inventory(self) -> Inventory:
        """The accounts; none where nothing was ever believed."""
        return _NOTHING if self.version is None else self.version.configuration.inventory

    @cached_property
    def keys(self) -> Mapping[str, SealKey]:
        """The keys that seal, by name."""
        return {} if self.version is None else self.version.configuration.seal_keys

    @cached_property
    def policy(self) -> Policy:
        """What decides, read once for each version."""
        from shared.rules.policy import Policy  # noqa: PLC0415  # only where approvals enter

        assert self.version is not None  # noqa: S101  # nothing is asked before there is one
        return Policy(self.version.configuration.policy)


class Gate:
    """The newest configuration, read again where somebody met a newer one. Safe to share between threads."""

    def __init__(
        self,
        ledger: Ledger,
        keys: Mapping[str, str],
        quorum: int,
        clock: Callable[[], int],
        tell: Callable[[int, str], None] = lambda number, fault: words.configuration_refused(
            number=number, reason=fault
        ),
    ) -> None:
        """``keys``: the public keys that may sign a configuration, by name; ``quorum``: how many of them must.

        ``tell``: what is done once where the newest version, by its number, cannot be believed, and why.
        """
        self._ledger, self._keys, self._quorum, self._clock, self._tell = ledger, keys, quorum, clock, tell
        self._lock = threading.Lock()
        self._standing: Standing | None = None

    @property
    def standing(self) -> Standing:
        """What is believed, as it was read last. Raises LedgerError where it was never read and cannot be."""
        return self._standing or self.refresh()

    @property
    def inventory(self) -> Inventory:
        """The accounts, as of that."""
        return self.standing.inventory

    def look(self) -> None:
        """At every event: whether there is a newer version, or one that can be believed by now. Raises LedgerError."""
        known = self._standing
        if known is None or known.fault is not None or self._ledger.glance(newest_number) != known.number:
            self.refresh()

    def refresh(self) -> Standing:
        """Read what is new. Raises LedgerError."""
        with self._lock:
            before = self._standing
            last = before.version if before is not None else None
            number, deployment, found = self._ledger.read(newest_versions, 0 if last is None else last.number)
            self._standing = self._believed(last, number, deployment, found)
            fault = self._standing.fault
            if fault is not None and (before is None or before.fault != fault):
                self._tell(number, fault)
            return self._standing

    def _believed(self, last: Version | None, number: int, deployment: str | None, found: list[Kept]) -> Standing:
        """What is believed after these versions, which follow on ``last``, or are the newest two where nothing was known."""
        if number == 0 and last is None:
            return Standing(deployment=deployment)
        version = last
        try:
            if last is not None and number < last.number:
                raise BadInput(f"the newest version is said to be {number}, and {last.number} was there")
            for kept in found if last is not None else found[-1:]:
                version = self._verified(kept, found, version)
            if version is None or version.number != number:
                raise BadInput(f"version {number} is missing")
        except PermanentError as error:
            return Standing(number, deployment, version or self._older(number), f"configuration {number}: {error}")
        return Standing(number, deployment, version, None)

    def _verified(self, kept: Kept, beside: list[Kept], before: Version | None) -> Version:
        """A version as its row has it. Raises BadInput. ``before``: the one that is believed; else what its row says of it."""
        digests = {one.number: one.digest for one in beside}
        previous = (
            (kept.number - 1, digests.get(kept.number - 1, "")) if before is None else (before.number, before.digest)
        )
        version = verified(kept.bundle, self._keys, self._quorum, previous if kept.number > 1 else None)
        if (version.number, version.digest) != (kept.number, kept.digest):
            raise BadInput(f"version {kept.number} is not the one that its row names")
        return version

    def _older(self, number: int) -> Version | None:
        """The last version before this one that can be believed by itself, of the last few."""
        found = self._ledger.read(versions_before, number, _OLDER)
        for kept in found[::-1]:
            with suppress(PermanentError):
                return self._verified(kept, found, None)
        return None

    # -- approvals ---------------------------------------------------------------------------------------------------

    def open(self, sealed: Sealed) -> GrantApproval | RevokeApproval:
        """The approval in a seal. Raises PermanentError for one that is not an issuer's, and Unconfigured where it cannot be told
        yet, or grants while nothing may be granted.
        """
        standing = self.standing
        fault = standing.fault or ""
        if standing.version is None:
            raise Unconfigured(fault)
        try:
            approval = reopen(sealed, standing.keys, deployment=standing.deployment or "")
        except PermanentError:
            if standing.fault is not None:  # what cannot be believed may list the key
                raise Unconfigured(fault) from None
            raise
        if standing.fault is not None and isinstance(approval, GrantApproval):
            raise Unconfigured(fault)
        return approval

    def judge(self, sealed: Sealed, approval: GrantApproval | RevokeApproval, timing: Timing) -> Judged:
        """What is to become of an approval that was opened, if it is news."""
        standing = self.standing
        assert standing.version is not None  # noqa: S101  # it was opened with one of its keys
        facts: dict[str, Any] = {}
        refused: PermanentError | None = None
        try:
            check_fresh(sealed, approval, standing.keys[sealed.kid].state, now=self._clock(), skew=timing.skew)
            facts, refused = self._ask(standing, approval)
        except PermanentError as error:
            refused = error
        return Judged(sealed.text, standing.version.number, refused, facts, anyway=standing.fault is not None)

    def judge_again(self, seal: str) -> Judged:
        """The same of an approval whose date has come. Raises Unconfigured while nothing may take effect."""
        standing = self.standing
        if standing.fault is not None or standing.version is None:
            raise Unconfigured(standing.fault or "")
        facts: dict[str, Any] = {}
        refused: PermanentError | None = None
        try:
            facts, refused = self._ask(standing, self.open(read_seal(seal)))
        except PermanentError as error:
            refused = error
        return Judged(seal, standing.version.number, refused, facts)

    def _ask(
        self, standing: Standing, approval: GrantApproval | RevokeApproval
    ) -> tuple[dict[str, Any], PermanentError | None]:
        """What the record keeps of the policy's answer, and why it refuses. Raises NotAllowed for what is beyond the scope."""
        from shared.rules.asking import asked_about  # noqa: PLC0415  # only where approvals enter

        assert standing.version is not None  # noqa: S101  # as above
        question = asked_about(approval, standing.version.configuration, self._clock())
        answer = standing.policy.decide(question)
        facts = {
            "question": question.model_dump(mode="json"),
            "rules": list(answer.rules),
            "errors": list(answer.errors),
        }
        if answer.errors:
            words.policy_failed(rules=list(answer.rules), reason="; ".join(answer.errors))
        try:
            ensure(answer)
        except NotAllowed as error:
            return facts, error
        return facts, None

    def check(self, grant: GrantKey) -> None:
        """Raise NotAllowed unless both accounts and the ECR are listed, and Unconfigured where nothing can be believed."""
        standing = self.standing
        if standing.version is None:
            raise Unconfigured(standing.fault or "")
        standing.inventory.check(grant)

    # -- leases ------------------------------------------------------------------------------------------------------

    def proven(self, held: Held) -> tuple[Held, list[str]]:
        """The work as far as its leases before their end are what issuers sealed: the others make nothing, and what stands for
        them is kept. With why, for each of those.

        To be asked in the transaction that commits to making something. Raises Superseded where a newer configuration was met
        there, which is read by then, and Unconfigured while nothing may be made.
        """
        assert held.rows is not None  # noqa: S101  # it was read behind the lock
        standing = self.standing
        if held.rows.configuration != standing.number:
            self.refresh()
            raise Superseded(f"configuration {held.rows.configuration} is the newest")
        if standing.fault is not None:
            raise Unconfigured(standing.fault)
        leases, broken = [], []
        for row in held.rows.leases:
            lease = lease_of(row)
            why = None
            if not lease.overdue:
                why = unproven(lease, held.key, row.seal, standing.keys, deployment=standing.deployment or "")
            if why is not None:
                broken.append(f"request {lease.request_id} of {lease.issuer}: {why}")
            leases.append(lease if why is None else replace(lease, overdue=True))
        return (held if not broken else replace(held, wanted=wanted(leases))), broken
