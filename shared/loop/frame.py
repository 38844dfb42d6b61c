"""The frame of every queue-driven function: admit what the event brings, converge what it touches, publish what came of it.

Every item of a batch gets its own outcome. What could not be admitted, since the ledger is away, is sent again: whether the
platform brings back what a raised exception left behind, nobody documents. An exception leaves here only when that was
impossible too; after admission the row in the ledger is the work and a message is worth nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from contextvars import copy_context

from shared import words
from shared.cloud.calls import Calls
from shared.cloud.keys import home_keys
from shared.cloud.messaging import Messaging
from shared.cloud.secrets import Secrets
from shared.errors import BadInput, GrantError, LedgerError, PermanentError, SettingsError, Throttled
from shared.ledger.outcomes import put_off
from shared.ledger.rows import Held
from shared.ledger.schema import check_schema
from shared.ledger.transactions import Ledger, now_ms
from shared.ledger.work import TimePassed, give_up, see_work
from shared.log import bind, configure, seconds_since_start
from shared.loop.converge import Converge
from shared.loop.doors import Doors
from shared.loop.drivers import Driver
from shared.loop.gate import Gate
from shared.loop.intake import Intake, Taken
from shared.loop.outgoing import Outgoing, say_refused, seconds_until, wake_body
from shared.loop.visits import Outcome, Visit, at_once
from shared.messages.catalogue import unknown_codes
from shared.messages.completion import Completion, Reason, Wake
from shared.messages.envelope import Item, again, items, parse, unwrapped
from shared.rules.facts import Side, State, Work
from shared.rules.inventory import Association
from shared.rules.steps import Step
from shared.settings import Settings, read_settings

# New work is started only while one grant's worst case still fits; a claim outlives the invocation that took it.
_RESERVE_SECONDS = 45.0
_CLAIM_RESERVE_SECONDS = 10.0
_PATIENCE_SECONDS = 2.0
_DEFAULT_TIMEOUT_SECONDS = 60.0
_ADMITTED_AT_ONCE = 50
_PUBLISHING_MS = 60_000  # longer than so many sends can take, with their time limit
_CLOSE_MS = 1_000  # a wake keeps the queue's time, not ours
_AWAY_SECONDS = 15  # until somebody looks whether the ledger is back
_SEND_AGAIN_PAUSES = (0.0, 0.2, 1.0, 3.0)  # a message that comes twice changes nothing; one that is lost does


class Frame:
    """One function's life: built once per cold start, run once per event."""

    def __init__(self, context: object, patience: float = _PATIENCE_SECONDS, session_policy: str | None = None) -> None:
        """Read everything that must be right. Raises SettingsError, naming every fault; the ledger is not asked yet."""
        self.settings: Settings = read_settings()
        uid = str(getattr(context, "account_id", "") or "")
        self._keys = home_keys(context)
        self.secrets = Secrets(self.settings.kms_endpoint, self.settings.region, uid, lambda: self._keys)
        self.ledger = Ledger(self.settings.ledger_url, self.settings.timing, password=self._password())
        self._checked = False
        self.gate = Gate(self.ledger, self.settings.config_keys, self.settings.config_quorum, now_ms)
        asked = self._keys
        self.calls = Calls(
            self.settings, lambda: self.gate.inventory, asked, patience=patience, session_policy=session_policy
        )
        self.doors = Doors(self.settings, uid)
        endpoint = self.settings.mns_endpoint.format(region=self.settings.region, uid=uid)
        self.messaging = Messaging(endpoint, lambda: self._keys)
        self._outgoing = Outgoing(self.ledger, lambda: self.messaging, self.settings.completions_topic)
        self._entries_ms = _PUBLISHING_MS
        # (grant, side, worker) of visits that perhaps could not end their claim
        self._unreleased: list[tuple[str, Side, str]] = []

    def _password(self) -> Callable[[bool], str] | None:
        """Where the ledger's password comes from when it is not in its address."""
        name = self.settings.ledger_secret
        return None if name is None else lambda anew: self.secrets.read(name, anew=anew)

    def check(self) -> None:
        """Make sure, once, that the ledger is there and accepts this revision of the code. Raises LedgerError.

        Whether it still does is read by every write with its lock.
        """
        if not self._checked:
            check_schema(self.ledger)
            self._checked = True
        self.gate.look()

    def arrive(self, context: object) -> str:
        """A new invocation: its id on every log line, its keys for every call. Returns the id."""
        invocation = str(getattr(context, "request_id", "") or "local")
        bind(invocation=invocation)
        self._keys = home_keys(context)
        self.calls.arrive(self._keys, invocation)
        self.ledger.arrive()
        self._entries_ms = min(_PUBLISHING_MS, _claim_ms(_limit(context)))
        return invocation

    def run(self, driver: Driver, event: bytes, context: object) -> dict[str, int]:
        """Handle one event of any shape and any number of messages. Returns how many items ended how.

        Raises LedgerError when the ledger is away and a message could not be sent again either.
        """
        started = time.monotonic()
        deadline = started + _limit(context) - min(_RESERVE_SECONDS, _limit(context) / 2)
        invocation = self.arrive(context)
        counted: dict[str, int] = {}
        touched: dict[str, None] = {}
        intake = Intake(self.ledger, self.gate, self.doors, driver.side, hear=self._hearing(driver.side))
        away: LedgerError | None = None
        lost = False
        for batch in _batches(map(unwrapped, items(event))):
            found: list[Taken] = []
            if away is None:
                try:
                    self.check()
                    found = intake.take(batch)
                except LedgerError as error:
                    away = error  # nor is it tried for those behind it: each would wait as long
            back: list[tuple[Item, Exception]] = [(item, away) for item in batch if away is not None]
            for item, taken in zip(batch, found, strict=False):
                touched |= dict.fromkeys(taken.grants)
                if taken.refused:
                    counted["rejected"] = counted.get("rejected", 0) + 1
                back += [] if taken.later is None else [(item, taken.later)]
            for item, why in back:
                lost = not self._send_again(driver, item, why) or lost
            if back:
                counted["sent again"] = counted.get("sent again", 0) + len(back)
        if away is None:
            beside = sorted(touched, key=lambda grant_id: intake.places.get(grant_id, ""))
            self._converge(driver, invocation, beside, deadline, _limit(context), counted)
        else:
            self._wake_later(driver, touched, away)
        self._say_handled(counted, time.monotonic() - started)
        if lost:
            raise away or LedgerError("a message could neither be judged nor sent again")
        return counted

    def _hearing(self, side: Side) -> Callable[[], Sequence[str]]:
        """What is done where people said something: only the grant function admits it."""
        if side is not Side.GRANT:
            return tuple

        def hear() -> Sequence[str]:
            from shared.loop.consent import Consent  # noqa: PLC0415  # only where approvals enter

            return Consent(self.ledger, self.gate, now_ms).hear()

        return hear

    def _say_handled(self, counted: dict[str, int], seconds: float) -> None:
        busiest = self.calls.busiest()
        words.event_handled(
            settled=counted.get(Outcome.SETTLED, 0),
            waiting=counted.get(Outcome.WAITING, 0),
            held=counted.get(Outcome.HELD, 0),
            later=counted.get(Outcome.LATER, 0),
            busy=counted.get(Outcome.BUSY, 0),
            dead=counted.get(Outcome.DEAD, 0),
            rejected=counted.get("rejected", 0),
            sent_again=counted.get("sent again", 0),
            seconds=round(seconds, 3),
            quota_used=busiest.used,
            quota=busiest.calls,
            quota_of=busiest.what,
            unknown_errors=dict(unknown_codes),
        )

    def _converge(
        self,
        driver: Driver,
        invocation: str,
        touched: Sequence[str],
        deadline: float,
        limit_seconds: float,
        counted: dict[str, int],
    ) -> None:
        """Visit the grants that were touched, and publish what comes of it: their admission goes out with the first outcomes."""
        try:
            self._give_up()
            converge = self.converge(driver, invocation, limit_seconds)
        except LedgerError as away:
            self._wake_later(driver, touched, away)
            return

        present: dict[str, ExitStack] = {}

        def see(ids: Sequence[str]) -> dict[str, Held]:
            try:
                seen = converge.see(ids) if time.monotonic() < deadline else {}
            except LedgerError:
                return {}  # each is tried by itself
            for grant_id, first in seen.items():  # before any of them begins: the first one waits for the others
                present[grant_id] = ExitStack()
                present[grant_id].enter_context(self.calls.present(driver.side, first.key))
            return seen

        def visit(grant_id: str, first: Held | None) -> tuple[str, Visit]:
            try:
                if time.monotonic() >= deadline:
                    return grant_id, Visit(Outcome.LATER, now_ms() + 1000)
                return grant_id, self._paced(driver, grant_id) or converge.visit(grant_id, first)
            except LedgerError as away:
                words.ledger_away(grant=grant_id, reason=str(away))
                self._unreleased.append((grant_id, driver.side, invocation))
                return grant_id, Visit(Outcome.LATER, now_ms() + _AWAY_SECONDS * 1000)
            except Exception:  # noqa: BLE001  # whatever is wrong with one grant stops nothing but itself
                words.grant_failed(grant=grant_id, side=driver.side)
                return grant_id, Visit(Outcome.LATER, now_ms() + _AWAY_SECONDS * 1000)
            finally:
                present.pop(grant_id, ExitStack()).close()

        with ThreadPoolExecutor(1) as press:  # what is ready goes out while the others go on
            going_out = press.submit(_nothing)
            for together in at_once(see, visit, touched):
                if going_out.done():
                    going_out = press.submit(copy_context().run, self.publish)
                for grant_id, found_out in together:
                    counted[found_out.outcome] = counted.get(found_out.outcome, 0) + 1
                    if found_out.next_at is not None:
                        self.wake(grant_id, driver.side, found_out.next_at)
        self.publish()

    def _give_up(self) -> None:
        """End the claims that earlier visits could not end: else everybody would wait until they have run out."""
        while self._unreleased:
            self.ledger.write(give_up, *self._unreleased[-1], now_ms())
            self._unreleased.pop()

    def _wake_later(self, driver: Driver, touched: Iterable[str], away: LedgerError) -> None:
        words.ledger_away(grant=None, reason=str(away))
        for grant_id in touched:
            self.wake(grant_id, driver.side, now_ms() + _AWAY_SECONDS * 1000)

    def _send_again(self, driver: Driver, item: Item, away: Exception) -> bool:
        """Send what could not be taken in to its queue again, for when the ledger is back. False when it is lost now.

        A hint is tried once and never lost: the timer finds what it is about, only later.
        """
        hint = False
        with suppress(BadInput):
            hint = isinstance(parse(item.body), Completion | Wake)
        queue = self.doors.way_back(driver.side, item)
        for pause in _SEND_AGAIN_PAUSES[:1] if hint else _SEND_AGAIN_PAUSES:
            time.sleep(pause)
            try:
                self.messaging.send(queue, again(item), _AWAY_SECONDS)
                break
            except GrantError as error:
                words.message_not_sent_again(message_id=item.message_id, code=error.code, reason=str(error))
                say_refused(queue, error)
        else:
            return hint
        words.message_sent_again(message_id=item.message_id, reason=str(away))
        return True

    def converge(self, driver: Driver, invocation: str, limit_seconds: float) -> Converge:
        """The loop for one side, in the present mode."""
        return Converge(
            self.ledger,
            driver,
            self.gate,
            worker=invocation,
            mode=self.settings.mode,
            clock=now_ms,
            settle_ms=int(self.settings.settle_seconds * 1000),
            claim_ms=_claim_ms(limit_seconds),
        )

    def _paced(self, driver: Driver, grant_id: str) -> Visit | None:
        """Leave a grant for later when its next write would have to wait long for the quota: nobody else waits for it then.

        Nothing is spent on it, not even a look. The ledger has the time of its place; None when there is nothing in the way.
        """
        if not self.calls.crowded:
            return None
        now = now_ms()
        try:
            work = self.ledger.glance(see_work, grant_id, driver.side, now, self.ledger.timing)
        except TimePassed:
            return None
        step = None if work is None else _ahead(work, now)
        if work is None or step is None:
            return None
        try:
            if driver.side is not Side.GRANT and self.gate.inventory.association(work.key) is Association.THEIRS:
                return None
            self.calls.expect(work.key, driver.operation(step, work.key))
        except Throttled as paced:
            seconds = paced.retry_after or 0.0
            next_at = now + int(seconds * 1000)
            self.ledger.write(put_off, work, next_at, Reason.of(paced), now, self.ledger.timing, attempt=False)
            words.grant_later(grant=grant_id, side=driver.side, code=paced.code, wait_seconds=round(seconds, 3))
            return Visit(Outcome.LATER, next_at)
        except PermanentError:
            return None  # no longer in the inventory: converge says so
        return None

    def publish(self) -> None:
        """Everything the outbox holds, oldest first. What cannot go out now goes out with the next event or the timer."""
        self._outgoing.publish(self._entries_ms)

    def wake(self, grant_id: str | None, side: Side, next_at: int) -> None:
        """A delayed message that looks again, or hears what people said. It may get lost: the ledger knows its time."""
        queue = self.doors.hints(side)
        try:
            self.messaging.send(queue, wake_body(grant_id), seconds_until(next_at))
        except GrantError as error:
            words.wake_lost(grant=grant_id, code=error.code, reason=str(error))
            say_refused(queue, error)


@contextmanager
def said() -> Iterator[None]:
    """Whatever ends a pass is said before it is raised: the platform would only count it."""
    try:
        yield
    except LedgerError as away:
        words.ledger_away(grant=None, reason=str(away))
        raise
    except Exception:
        words.reconcile_failed(what="pass", account=None)
        raise


def _ahead(work: Work, now: int) -> Step | None:
    """The write that is most likely next on this side of a grant, by the ledger alone; None where there is none, or not now."""
    row = work.mine
    if work.settled or row.dead or work.my_intents or (row.next_at is not None and row.next_at > now + _CLOSE_MS):
        return None
    if row.nothing_up:
        granted = row.side is Side.GRANT or (work.other_settled and work.other.state == State.PRESENT)
        return Step.CREATE if work.wanted.up and granted else None
    free = row.side is not Side.GRANT or work.other_gone
    return Step.REMOVE if work.wanted.down and row.ours and free else None


def _limit(context: object) -> float:
    """Seconds that the platform gives one invocation."""
    return float(getattr(getattr(context, "function", None), "timeout", 0) or _DEFAULT_TIMEOUT_SECONDS)


def _claim_ms(limit_seconds: float) -> int:
    """How long what an invocation takes stays taken when it dies: a little longer than it may last."""
    return int((limit_seconds + _CLAIM_RESERVE_SECONDS) * 1000)


def _batches(found: Iterable[Item]) -> Iterator[list[Item]]:
    left = list(found)
    for start in range(0, len(left), _ADMITTED_AT_ONCE):
        yield left[start : start + _ADMITTED_AT_ONCE]


def _nothing() -> None:
    """Nothing goes out yet."""


class Function:
    """One deployed function: keeps the frame between a cold start and the calls after it.

    ``patience``: how many seconds a call may wait for its place in the budget. ``session_policy``: what every session in
    another account is narrowed to.
    """

    def __init__(
        self,
        patience: float = _PATIENCE_SECONDS,
        session_policy: str | None = None,
        also: Callable[[], object] = lambda: None,
    ) -> None:
        """``also``: what else has to be read for this function to start. Raises SettingsError where it cannot."""
        self._patience = patience
        self._session_policy = session_policy
        self._also = also
        self._frame: Frame | None = None

    def open(self, context: object) -> Frame:
        """The frame, built on first use. Whatever stands in its way is said before it is raised: only a person can help."""
        if self._frame is None:
            configure()
            try:
                frame = Frame(context, self._patience, self._session_policy)
                self._also()
            except (SettingsError, LedgerError) as fault:
                words.start_failed(reason=str(fault))
                raise
            except Exception as fault:
                words.start_failed(reason=f"unexpected {type(fault).__name__}")
                raise
            self._frame = frame
            words.start_ready(seconds=seconds_since_start())
        return self._frame
