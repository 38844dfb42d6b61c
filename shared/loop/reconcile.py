"""The timer's work: it only looks and wakes. Ends, rows that are not settled, completions not published, and drift.

What it finds it writes into the ledger and hands to the acting functions by a wake; it changes nothing on the cloud.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import asdict, dataclass, field
from sys import intern
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared import words
from shared.cloud.pace import Busiest
from shared.errors import GrantError, LedgerError
from shared.ledger.admission import Judged
from shared.ledger.ages import read_open
from shared.ledger.drift import known_among, note_absent, note_drift, note_drift_gone, read_keys, read_standing
from shared.ledger.figures import note_pass
from shared.ledger.heads import head_of
from shared.ledger.hearing import anything_said
from shared.ledger.operating import adopt
from shared.ledger.operating_seen import say_found
from shared.ledger.passing import let_time_pass
from shared.ledger.transactions import Ledger, now_ms
from shared.ledger.work import Behind, unsettled_page
from shared.loop.consent import say_overdue_reviews
from shared.loop.gate import Gate
from shared.messages.completion import can_be_told
from shared.messages.forms import GrantKey, InstanceType
from shared.rules.drift import CloudSeen, drifts, gone_again, strangers, wants_made
from shared.rules.facts import AssociationSeen, Drift, DriftKind, Side, Standing
from shared.rules.inventory import Association, Inventory
from shared.settings import Settings

_WAKES = 2_000
_AT_ONCE = 200
_SECONDS = 480.0  # the platform ends a pass at 600
_ACCOUNTS_AT_ONCE = 8
_SHOWN = 100  # of what could not be read, at the desk


@dataclass
class Report:
    """What one pass did; what `ecr-grants run reconcile` prints."""

    due: int = 0  # grants whose leases changed by the passing of time
    woken: int = 0
    grants: int = 0  # compared with the cloud
    drift: dict[str, int] = field(default_factory=dict)  # new findings by class
    gone: int = 0  # earlier findings that are no longer so
    calls: int = 0
    seconds: float = 0.0
    trouble: list[str] = field(default_factory=list)  # accounts that could not be read, and why
    left: list[str] = field(default_factory=list)  # what time ran out for: the next pass begins with it
    head: int = 0  # the last event of the record
    unsettled: int = (
        0  # sides that are not as wanted and not dead, when the pass was over; since when the oldest is, in seconds
    )
    unsettled_seconds: float | None = None
    dead: int = 0  # sides that wait to be redriven
    outbox: int = 0  # completions that are recorded and not out, and how old the oldest is, in seconds
    outbox_seconds: float | None = None


class Surroundings(Protocol):
    """What reconcile needs of the frame it runs in."""

    @property
    def ledger(self) -> Ledger:
        """The ledger."""
        ...

    @property
    def gate(self) -> Gate:
        """What may be admitted, and the accounts."""
        ...

    @property
    def settings(self) -> Settings:
        """What the environment decides."""
        ...

    def publish(self) -> None:
        """Send what the outbox holds."""
        ...

    def wake(self, grant_id: str | None, side: Side, next_at: int) -> None:
        """Have somebody look at a grant, or hear what people said."""
        ...


class Pages(Protocol):
    """The cloud by page, as both accounts show it."""

    @property
    def calls(self) -> int:
        """How many calls were made so far."""
        ...

    def busiest(self) -> Busiest:
        """The budget that came closest to its ceiling since this was asked last."""
        ...

    def owns_ecr(self, owner: str, ecr_id: str) -> bool:
        """Whether the account still has this ECR."""
        ...

    def grants_on_ecr(self, owner: str, ecr_id: str) -> Iterable[GrantKey]:
        """Everything that is granted to an ECR, as account A sees it."""
        ...

    def associations_on_ecr(self, owner: str, ecr_id: str) -> Iterable[tuple[GrantKey, AssociationSeen]]:
        """Every association and attachment of an ECR."""
        ...

    def grants_of_account(self, account: str, region: str, ecr_owner: str) -> Iterable[GrantKey]:
        """What an account B has granted to the ECRs of one account A in one region."""
        ...

    def existing(self, account: str, region: str, instances: Sequence[str]) -> set[str]:
        """Which of these instances an account B still has."""
        ...


class Reconcile:
    """One pass over everything that is open."""

    def __init__(
        self,
        frame: Surroundings,
        cloud: Pages,
        *,
        clock: Callable[[], int] = now_ms,
        accounts_at_once: int = _ACCOUNTS_AT_ONCE,
        seconds: float = _SECONDS,
        head_key: Ed25519PrivateKey | None = None,
    ) -> None:
        """``seconds``: how long a pass may take; what is left then is said and left to the next one. ``head_key`` signs the
        end of the record.
        """
        self._head_key = head_key
        self._frame = frame
        self._clock = clock
        self._accounts_at_once = accounts_at_once
        self._seconds = seconds
        self._ledger = frame.ledger
        self._inventory = Inventory(version=1, accounts={})  # until a pass begins
        self._cloud = cloud
        self._until = 0.0

    def run(self) -> Report:
        """Let time pass, compare, wake, publish, sign the head. One account in trouble does not stop the others."""
        started, report, calls_before = time.monotonic(), Report(), self._cloud.calls
        self._until = started + self._seconds
        self._frame.gate.overtaken()  # nothing that is read here says by itself what the newest configuration is
        self._inventory = self._frame.gate.inventory
        report.due = len(let_time_pass(self._ledger, self._clock(), self._judge))
        adopting = self._compare(report)
        # Only now: adopting changes the leases, and what was found beside it would count as overtaken.
        for drift in adopting:
            who = "the setting DRIFT_REPAIR"
            self._ledger.write(adopt, drift.key.grant_id, drift.side, who, self._clock(), {"via": "setting"})
        if self._ledger.read(anything_said, self._clock()):
            self._frame.wake(None, Side.GRANT, self._clock())
        self._wake(report)
        self._frame.publish()
        report.head = self._sign_head()
        self._measure(report)
        say_overdue_reviews(self._ledger, self._clock())
        report.calls = self._cloud.calls - calls_before
        report.seconds = round(time.monotonic() - started, 3)
        shown = {"trouble": report.trouble[:_SHOWN], "left": report.left[:_SHOWN]}  # all of it is in the log
        self._ledger.write(say_found, "reconcile", asdict(report) | shown, self._clock())
        self._say_done(report)
        return report

    def _say_done(self, report: Report) -> None:
        busiest = self._cloud.busiest()
        words.reconcile_done(
            due=report.due,
            woken=report.woken,
            grants=report.grants,
            drift=report.drift,
            gone=report.gone,
            calls=report.calls,
            seconds=report.seconds,
            trouble=len(report.trouble),
            left=len(report.left),
            head=report.head,
            unsettled=report.unsettled,
            unsettled_seconds=report.unsettled_seconds,
            dead_sides=report.dead,
            outbox=report.outbox,
            outbox_seconds=report.outbox_seconds,
            quota_used=busiest.used,
            quota=busiest.calls,
            quota_of=busiest.what,
        )

    def _measure(self, report: Report) -> None:
        """How much is open now, and for how long; kept for whoever looks back."""
        found, now = self._ledger.read(read_open), self._clock()
        report.unsettled, report.dead, report.outbox = found.unsettled, found.dead, found.outbox
        report.unsettled_seconds = _age(found.unsettled_since, now)
        report.outbox_seconds = _age(found.outbox_since, now)
        self._ledger.write(note_pass, found, None if self._head_key is None else report.head, now)

    def _judge(self, _approval_id: str, seal: str) -> Judged:
        """What is to become of an approval whose date has come."""
        return self._frame.gate.judge_again(seal)

    def _wake(self, report: Report) -> None:
        """Wake everything that is not as wanted, longest waiting first, page by page and some at a time."""
        after: Behind = (-1, "", "")
        now = self._clock()
        with ThreadPoolExecutor(self._accounts_at_once) as pool:
            while page := self._ledger.read(unsettled_page, self._clock(), _WAKES, after):
                for chunk in (page[start : start + _AT_ONCE] for start in range(0, len(page), _AT_ONCE)):
                    if self._late():
                        report.left.append(f"wakes behind {chunk[0][0]}")
                        return
                    sending = [
                        pool.submit(copy_context().run, self._frame.wake, grant_id, side, now)
                        for grant_id, side, _ in chunk
                    ]
                    for one in sending:
                        one.result()
                    report.woken += len(chunk)
                after = page[-1][2]

    def _late(self) -> bool:
        return time.monotonic() >= self._until

    def _theirs(self, key: GrantKey) -> bool:
        return self._inventory.association(key) is Association.THEIRS

    def _compare(self, report: Report) -> list[Drift]:
        """Compare what is settled with the cloud. Returns the drift that is to be adopted."""
        taken_at, adopting = self._clock(), list[Drift]()
        seen = self._look(report)
        quiet_since = taken_at - int(self._frame.settings.settle_seconds * 1000)
        unheard = set(seen.granted), set(seen.associations)
        for key in read_keys(self._ledger):
            for keys in unheard:
                keys.discard(key)
        found = list(strangers(*unheard))
        news = [drift for drift in found if can_be_told(drift.key)]
        unreadable = [drift for drift in found if not can_be_told(drift.key)]
        for drift in unreadable:
            self._say_unreadable(drift, report)
        # What a row left out may be what tells it from one of these, so nothing is said to be missing or right.
        vague = {(drift.key.ecr_id, drift.key.instance_id) for drift in unreadable}
        for one in read_standing(self._ledger):
            if (one.key.ecr_id, one.key.instance_id) in vague:
                continue
            with self._contained(one.key, report):
                self._compare_one(one, seen, taken_at, quiet_since, report, adopting)
                self._wake_if_let_go(one, seen, report)
        for chunk in (news[start : start + _AT_ONCE] for start in range(0, len(news), _AT_ONCE)):
            history = {one.key: one for one in self._ledger.read(known_among, [drift.key for drift in chunk])}
            for drift in chunk:
                with self._contained(drift.key, report):
                    self._record([drift], history.get(drift.key), seen, quiet_since, report, adopting)
        return adopting

    def _say_unreadable(self, drift: Drift, report: Report) -> None:
        """What the cloud shows and nobody can name exactly is told as it was seen, and compared with nothing."""
        where = f"shown in {drift.key.instance_region}"
        text = f"{drift.text}; {where}, it cannot be read as a grant, so it is compared with nothing"
        report.trouble.append(text)
        words.reconcile_unreadable(drift_kind=drift.kind, text=text)

    def _compare_one(
        self,
        one: Standing,
        seen: CloudSeen,
        taken_at: int,
        quiet_since: int,
        report: Report,
        adopting: list[Drift],
    ) -> None:
        if any(row.seen_at is not None and row.seen_at >= taken_at for row in (one.grant, one.associate)):
            return  # somebody has looked since: the next pass compares it
        if not self._at_rest(one) or not seen.tells_about(one.key):
            return
        report.grants += 1
        found = list(drifts(one, seen, ours=not self._theirs(one.key)))
        if found:
            self._record(found, one, seen, quiet_since, report, adopting)
        for row in (one.grant, one.associate):
            if any(drift.side == row.side for drift in found):
                continue
            if row.drift is not None:
                report.gone += self._ledger.write(note_drift_gone, one.key.grant_id, row.side, self._clock())
            elif gone_again(one, row, seen):
                grant_id = one.key.grant_id
                self._ledger.write(note_absent, grant_id, row.side, one.generation, self._clock())

    def _wake_if_let_go(self, one: Standing, seen: CloudSeen, report: Report) -> None:
        """Where account A's own automation lets go, it need not tell: account B's side waits for nothing once it is seen."""
        read = (one.key.ecr_owner_uid, one.key.ecr_id) in seen.ecrs_read
        if read and one.grant.waiting and self._theirs(one.key) and one.key not in seen.associations:
            self._frame.wake(one.key.grant_id, Side.GRANT, self._clock())
            report.woken += 1

    @contextmanager
    def _contained(self, key: GrantKey, report: Report) -> Iterator[None]:
        """Whatever is wrong with one grant is said, and stops nothing but itself."""
        try:
            yield
        except LedgerError:
            raise
        except Exception as error:  # noqa: BLE001  # said, with its traceback
            words.reconcile_failed(what=f"grant {key.grant_id}", account=key.instance_owner_uid)
            report.trouble.append(f"grant {key.grant_id} ({key.instance_id}): unexpected {type(error).__name__}")

    def _at_rest(self, standing: Standing) -> bool:
        """Settled as far as it is ours to settle; a grant that was only ever found on the cloud is at rest."""
        if standing.generation == 0 or standing.settled:
            return True
        b = standing.grant
        b_settled = b.observed_generation == standing.generation and b.observed_wanted is not None
        return b_settled and self._theirs(standing.key)

    def _record(
        self,
        found: Sequence[Drift],
        standing: Standing | None,
        seen: CloudSeen,
        quiet_since: int,
        report: Report,
        adopting: list[Drift],
    ) -> None:
        """Record the drift of one grant, and have it mended where policy says so and the leases still want it made."""
        repair = set(self._frame.settings.drift_repair)
        if standing is None or not standing.associate.ours:
            repair.discard(DriftKind.PREFIXES_DIFFER)  # not what we put up: only reported
        if standing is not None and not wants_made(standing):
            repair -= {DriftKind.GRANT_MISSING, DriftKind.ASSOCIATION_MISSING}  # past its end: nothing is made again
        there = seen.associations.get(found[0].key)
        news = self._ledger.write(
            note_drift,
            found,
            self._clock(),
            generation=0 if standing is None else standing.generation,
            quiet_since=quiet_since,
            repair=repair,
            state=there.status if there is not None else None,
        )
        for drift in news:
            mended = drift.kind in repair
            report.drift[drift.kind] = report.drift.get(drift.kind, 0) + 1
            say = words.drift_found if mended else words.drift_reported
            say(drift_kind=drift.kind, grant=drift.key.grant_id, text=drift.text)
            if mended and drift.kind.foreign and drift.key.instance_owner_uid in self._inventory.accounts:
                # Policy says so beforehand: what nobody asked us for is adopted, and so taken down as nobody wants it.
                adopting.append(drift)

    # -- looking -----------------------------------------------------------------------------------------------------

    def _look(self, report: Report) -> CloudSeen:
        """Read both accounts' sides by page, accounts in parallel."""
        ecrs = {(uid, ecr) for uid, account in self._inventory.accounts.items() for ecr in account.ecrs}
        gone: set[tuple[str, str]] = set()
        granted = _Granted()
        associations: dict[GrantKey, AssociationSeen] = {}
        missing: set[tuple[str, str]] = set()
        spokes: dict[tuple[str, str], set[str]] = {}
        owners: dict[tuple[str, str], set[str]] = {}
        for key in read_keys(self._ledger):
            spoke = key.instance_owner_uid, key.instance_region
            if key.instance_owner_uid in self._inventory.accounts:
                spokes.setdefault(spoke, set()).add(intern(key.instance_id))  # as the cloud's rows have it
                owners.setdefault(spoke, set()).add(key.ecr_owner_uid)

        def read_ecr(ecr: tuple[str, str]) -> None:
            if not self._cloud.owns_ecr(*ecr):
                gone.add(ecr)
                return
            granted.add(self._cloud.grants_on_ecr(*ecr))
            associations.update(self._cloud.associations_on_ecr(*ecr))

        def read_spoke(spoke: tuple[str, str]) -> None:
            listed = [key for owner in sorted(owners[spoke]) for key in self._cloud.grants_of_account(*spoke, owner)]
            asked = spokes.pop(spoke)
            found = self._cloud.existing(*spoke, sorted(asked))
            granted.as_account_b_says(spoke, listed)
            missing.update((spoke[0], instance) for instance in asked - found)

        ecrs_read = self._each("ECR", sorted(ecrs), read_ecr, report)
        for (
            spoke,
            keys,
        ) in granted.by_spoke.items():  # account B's word is asked for, too, whatever we know of that owner
            owners.get(spoke, set()).update(key.ecr_owner_uid for key in keys)
        spokes_read = self._each("account", sorted(spokes), read_spoke, report)
        return CloudSeen(
            ecrs_read=frozenset(ecrs_read - gone),
            ecrs_gone=frozenset(gone),
            spokes_read=frozenset(spokes_read),
            granted=granted.all(),
            associations=associations,
            missing=missing,
            listed=frozenset(self._inventory.accounts),
        )

    def _each(
        self,
        what: str,
        places: Iterable[tuple[str, str]],
        read: Callable[[tuple[str, str]], None],
        report: Report,
    ) -> set[tuple[str, str]]:
        """Read all places, some at a time; returns those that could be read and notes why the others could not."""

        def attempt(place: tuple[str, str]) -> tuple[str, str] | None:
            where = f"{what} {place[1]} of account {place[0]}" if what == "ECR" else f"account {place[0]} in {place[1]}"
            if self._late():
                report.left.append(where)
                return None
            try:
                read(place)
            except GrantError as error:
                report.trouble.append(f"{where}: {error}")
                words.reconcile_unread(what=what, account=place[0], code=error.code, reason=str(error))
                return None
            except Exception as error:  # noqa: BLE001  # whatever one account shows stops nothing but itself
                report.trouble.append(f"{where}: unexpected {type(error).__name__}")
                words.reconcile_failed(what=f"{what} {place[1]}", account=place[0])
                return None
            return place

        with ThreadPoolExecutor(self._accounts_at_once) as pool:
            started = [pool.submit(copy_context().run, attempt, place) for place in places]  # lines name the invocation
            return {place for one in started if (place := one.result()) is not None}

    # -- the record --------------------------------------------------------------------------------------------------

    def _sign_head(self) -> int:
        """Say the end of the record where the database cannot reach: in the log, signed where a key is configured."""
        head = self._ledger.read(head_of, self._clock())
        signed = head if self._head_key is None else head.sign(self._head_key)
        words.ledger_head(
            seq=signed.seq,
            hash=signed.hash,
            at=signed.at,
            configuration=signed.configuration,
            signature=signed.signature,
        )
        return head.seq


def _age(since: int | None, now: int) -> float | None:
    return None if since is None else (now - since) / 1000


class _Granted:
    """What is granted, by account B and region. On its own VPCs account B's word counts, where it could be read.

    Thread-safe.
    """

    def __init__(self) -> None:
        self.by_spoke: dict[tuple[str, str], set[GrantKey]] = {}
        self._lock = threading.Lock()

    def add(self, keys: Iterable[GrantKey]) -> None:
        """As account A shows it."""
        for key in keys:
            with self._lock:
                self.by_spoke.setdefault((key.instance_owner_uid, key.instance_region), set()).add(key)

    def as_account_b_says(self, spoke: tuple[str, str], listed: Iterable[GrantKey]) -> None:
        """As account B shows it."""
        by_ecr = self.by_spoke.get(spoke, set())
        theirs = {key for key in listed if key.instance_type is InstanceType.VPC}
        with self._lock:
            self.by_spoke[spoke] = theirs | {key for key in by_ecr if key.instance_type is not InstanceType.VPC}

    def all(self) -> set[GrantKey]:
        """Everything, at last; nothing is kept twice."""
        found: set[GrantKey] = set()
        while self.by_spoke:
            found |= self.by_spoke.popitem()[1]
        return found
