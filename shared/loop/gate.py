"""The gate: what may be admitted and made, by the newest configuration that the keys of this deployment have signed.

What the ledger keeps of a configuration is believed only as far as its signatures go. While the newest version cannot be, what
stands is kept, and closing goes on by the last one that could; nothing is admitted and nothing is made.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from shared import words
from shared.errors import BadInput, GrantError, NotAllowed, PermanentError, ProofBroken, Superseded, Unconfigured
from shared.ledger.admission import Judged
from shared.ledger.configuration import Kept, Stored, last_versions, newest_number, stored_versions
from shared.ledger.consent import kept as kept_fact
from shared.ledger.rows import Held, lease_of
from shared.ledger.transactions import Ledger
from shared.messages.approval import DESK, Action, GrantApproval, RevokeApproval
from shared.messages.configuration import SealKey
from shared.messages.consent import AnyFact
from shared.messages.forms import GrantKey
from shared.messages.seal import Sealed, read_seal
from shared.rules.configuration import Version, verified
from shared.rules.consent import fold
from shared.rules.inventory import Inventory
from shared.rules.leases import Lease, Timing, wanted
from shared.rules.proving import unproven, unsaid
from shared.rules.questions import ensure
from shared.rules.sealing import check_fresh, reopen
from shared.rules.shown import changed_since

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
        """At every event: what could not be believed is read again. What is newer is met where work is read, at no cost of its
        own. Raises LedgerError.
        """
        if self._standing is None or self._standing.fault is not None:
            self.refresh()

    def met(self, number: int) -> None:
        """Somebody has read what the newest version is, with what else was read. Raises LedgerError."""
        if self.standing.number != number:
            self.refresh()

    def overtaken(self) -> bool:
        """Whether another version is the newest by now, which is read then: before anything is refused for good. Raises
        LedgerError.
        """
        before = self.standing
        self.met(self._ledger.glance(newest_number))
        return self.standing is not before

    def refresh(self) -> Standing:
        """Read what is new. Raises LedgerError."""
        with self._lock:
            before = self._standing
            last = before.version if before is not None else None
            stored = self._ledger.read(stored_versions, 0 if last is None else last.number)
            standing = self._believed(last, stored)
            fault = standing.fault
            known = before is not None and (before.number, before.fault) == (stored.number, fault)
            if fault is not None and not known:
                self._tell(stored.number, fault)
            self._standing = standing
            return standing

    def _believed(self, last: Version | None, stored: Stored) -> Standing:
        """What is believed of these versions: those behind ``last``, or the newest two where nothing was known.

        Each is believed by itself: who signed it has signed what it follows on.
        """
        number, deployment = stored.number, stored.deployment
        if number == 0 and last is None and not stored.taken_back:
            return Standing(deployment=deployment)
        try:
            if number < 0:
                raise BadInput("no number says which version is the newest")
            if stored.taken_back or (last is not None and number < last.number):
                raise BadInput("it is said to be the newest, and a newer one was applied")
            if last is not None and last.number == number:
                return Standing(number, deployment, last, None)
            if not stored.versions or stored.versions[-1].number != number:
                raise BadInput("it is missing")
            version = self._verified(stored.versions[-1], stored.versions, last)
        except PermanentError as error:
            older = self._older()
            if last is not None and (older is None or older.number < last.number):
                older = last
            return Standing(number, deployment, older, f"configuration {number}: {error}")
        return Standing(number, deployment, version, None)

    def _verified(self, kept: Kept, beside: list[Kept], last: Version | None) -> Version:
        """A version as its row has it. Raises BadInput. ``last``: what is believed until now; of others their rows are taken."""
        digests = {one.number: one.digest for one in beside} | ({} if last is None else {last.number: last.digest})
        before = kept.number - 1
        version = verified(
            kept.bundle, self._keys, self._quorum, (before, digests.get(before, "")) if before > 0 else None
        )
        if (version.number, version.digest) != (kept.number, kept.digest):
            raise BadInput(f"version {kept.number} is not the one that its row names")
        return version

    def _older(self) -> Version | None:
        """The last version that can be believed by itself, of the last few."""
        found = self._ledger.read(last_versions, _OLDER)
        for kept in found[::-1]:
            with suppress(PermanentError):
                return self._verified(kept, found, None)
        return None

    # -- approvals ---------------------------------------------------------------------------------------------------

    @staticmethod
    def open(standing: Standing, sealed: Sealed) -> GrantApproval | RevokeApproval:
        """The approval in a seal. Raises PermanentError for one that is not an issuer's, and Unconfigured where it cannot be told
        yet, or grants while nothing may be granted.
        """
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

    def judge(
        self, standing: Standing, sealed: Sealed, approval: GrantApproval | RevokeApproval, timing: Timing
    ) -> Judged:
        """What is to become of an approval that was opened by what stood then, if it is news."""
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
            facts, refused = self._ask(standing, self.open(standing, read_seal(seal)))
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

    def outdated(self, held: Held) -> bool:
        """Whether a newer configuration stands than what was decided last went by; that is read by then. To be asked in the
        transaction that writes what was decided.
        """
        assert held.rows is not None  # noqa: S101  # it was read behind the lock
        if held.rows.configuration == self.standing.number:
            return False
        self.refresh()
        return True

    # -- leases ------------------------------------------------------------------------------------------------------

    def proven(self, held: Held) -> tuple[Held, GrantError | None]:
        """The work as far as its leases before their end are what issuers sealed: the others make nothing, and what stands for
        them is kept. With why, where anything may not be made.

        To be asked in the transaction that commits to making something. Raises Superseded where a newer configuration was met
        there, which is read by then.
        """
        assert held.rows is not None  # noqa: S101  # it was read behind the lock
        standing = self.standing
        if held.rows.configuration != standing.number:
            self.refresh()
            raise Superseded(f"configuration {held.rows.configuration} is the newest")
        leases = [lease_of(row) for row in held.rows.leases]
        if standing.fault is not None:
            return _keeping(held, leases), Unconfigured(standing.fault)
        try:
            standing.inventory.check(held.key)
        except NotAllowed as error:
            return _keeping(held, leases), error
        believed, broken = [], []
        until = self._clock() + self._ledger.timing.skew
        for lease, row in zip(leases, held.rows.leases, strict=True):
            why = None
            if not lease.overdue and lease.issuer == DESK:
                why = _unsaid(lease, held, row.seal, until)
            elif not lease.overdue:
                deployment = standing.deployment or ""
                why = unproven(lease, held.key, row.seal, standing.keys, deployment=deployment, until=until)
            if why is not None:
                broken.append(f"request {lease.request_id} of {lease.issuer}: {why}")
            believed.append(lease if why is None else replace(lease, overdue=True))
        if not broken:
            return held, None
        return _less(held, believed), ProofBroken("; ".join(broken))

    def changed(self, held: Held, cidrs: Sequence[str] | None) -> dict[str, str]:
        """The requests of people that wait for what is to be made now although it is not what they decided about any more: why,
        as a sentence, by the ids of their approvals. ``cidrs``: the instance's address ranges as seen now.
        """
        assert held.rows is not None  # noqa: S101  # it was read behind the lock
        found: dict[str, str] = {}
        for row in held.rows.waiting():
            if row.issuer == DESK and row.action == Action.GRANT:
                why = _differs(row.request_id, held, cidrs)
                found |= {} if why is None else {row.approval_id: why}
        return found


def _differs(request_id: str, held: Held, cidrs: Sequence[str] | None) -> str | None:
    with suppress(BadInput):  # what cannot be read proves nothing, and makes nothing
        shown = fold(_facts(held, request_id)).looked
        return None if shown is None else changed_since(shown.content, cidrs)
    return None


def _facts(held: Held, request_id: str) -> list[AnyFact]:
    """What people said of one of its requests, oldest first. Raises BadInput for what is not what was recorded."""
    assert held.rows is not None  # noqa: S101  # it was read behind the lock
    return [kept_fact(row).fact for row in held.rows.facts if row.request_id == request_id]


def _unsaid(lease: Lease, held: Held, proof: str, until: int) -> str | None:
    """Why a lease of the desk is not proven by what people said."""
    try:
        facts = _facts(held, lease.request_id)
    except BadInput as error:
        return str(error)
    return unsaid(lease, held.key, proof, facts, until=until)


def _keeping(held: Held, leases: list[Lease]) -> Held:
    """The work as if all its leases were past their end: nothing is made for them, and what stands is kept."""
    return _less(held, [replace(lease, overdue=True) for lease in leases])


def _less(held: Held, leases: list[Lease]) -> Held:
    """The work with these leases instead. What the other side came to rest with is more than that, and so enough."""
    less = wanted(leases)
    other = replace(held.other, observed_wanted=less) if held.other_settled else held.other
    return replace(held, wanted=less, other=other)
