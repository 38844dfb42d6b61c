"""Questions to the log: one for each alarm, and those that are worth keeping.

How Log Service is asked stands here alone. Nobody has tried these forms on a live account.
"""

from __future__ import annotations

from dataclasses import dataclass

from deploy.facts import facts_of
from shared import words
from shared.log import Level, Word

ERRORS = tuple(word for word in words.WORDS if word.level is Level.ERROR)


@dataclass(frozen=True)
class Query:
    """A question about the lines of some words. ``sql`` may be empty: then the lines themselves are shown."""

    name: str
    title: str
    about: tuple[Word[...], ...]
    sql: str = ""

    @property
    def text(self) -> str:
        """As Log Service takes it: which lines, and what to make of them."""
        lines = " or ".join(f'message.event: "{word.name}"' for word in self.about)
        return f"{lines} | {self.sql}" if self.sql else lines


def _(fact: str) -> str:
    """A fact as SQL names it: lines are JSON in the field ``message``, whose keys are indexed one by one."""
    return f'"message.{fact}"'


def of_error(word: Word[...]) -> Query:
    """How many lines of an error there are, by code where it has one. One row at least counts as an alarm."""
    title = f"{word.name}, counted"
    if any(fact.name == "code" for fact in facts_of(word)):
        sql = f"SELECT {_('code')} AS code, count(1) AS lines FROM log GROUP BY {_('code')}"
    else:
        sql = "SELECT count(1) AS lines FROM log"
    return Query(word.name.replace(".", "-").replace("_", "-"), title, (word,), sql)


PASSES = Query(
    "reconcile-silent", "Passes of reconcile, counted", (words.reconcile_done,), "SELECT count(1) AS passes FROM log"
)
OUTBOX = Query(
    "outbox-old",
    "The oldest completion that is not out, in seconds",
    (words.reconcile_done,),
    f"SELECT max({_('outbox_seconds')}) AS seconds FROM log",
)


def _percentiles(fact: str, what: str) -> str:
    middle, high = (f"approx_percentile({_(fact)}, {share})" for share in ("0.5", "0.95"))
    return f"SELECT count(1) AS {what}, {middle} AS median, {high} AS p95, max({_(fact)}) AS longest FROM log"


def _until(kind: str) -> str:
    known = f"{_('event_kind')} = '{kind}' AND {_('admitted_seconds')} IS NOT NULL"
    return f"{_percentiles('admitted_seconds', 'grants')} WHERE {known}"


SAVED = (
    Query(
        "errors",
        "What needs a person, by word",
        ERRORS,
        f"SELECT {_('event')} AS event, {_('code')} AS code, count(1) AS lines, max({_('time')}) AS last "
        f"FROM log GROUP BY {_('event')}, {_('code')} ORDER BY lines DESC LIMIT 100",
    ),
    Query("error-lines", "What needs a person, line by line", ERRORS),
    Query(
        "time-to-granted",
        "From an approval's admission to the grant, in seconds",
        (words.side_settled,),
        _until("granted"),
    ),
    Query(
        "time-to-active",
        "From an approval's admission to an ACTIVE association, in seconds",
        (words.side_settled,),
        _until("associated"),
    ),
    Query(
        "open-work",
        "What is not as wanted and not out, and for how many seconds, pass by pass",
        (words.reconcile_done,),
        f"SELECT {_('time')} AS time, {_('unsettled')} AS unsettled, {_('unsettled_seconds')} AS unsettled_seconds, "
        f"{_('dead_sides')} AS dead, {_('outbox')} AS outbox, {_('outbox_seconds')} AS outbox_seconds, "
        f"{_('trouble')} AS unread FROM log ORDER BY time DESC LIMIT 100",
    ),
    Query(
        "quota",
        "How full the windows of the call quotas were",
        (words.event_handled, words.reconcile_done),
        f"SELECT {_('quota_of')} AS api, max({_('quota_used')}) AS most_calls, max({_('quota')}) AS ceiling "
        f"FROM log WHERE {_('quota')} > 0 GROUP BY {_('quota_of')} ORDER BY most_calls DESC LIMIT 100",
    ),
    Query("events", "How long events took, in seconds", (words.event_handled,), _percentiles("seconds", "events")),
    Query(
        "cold-starts", "How long cold starts took, in seconds", (words.start_ready,), _percentiles("seconds", "starts")
    ),
    Query("refusals", "What was rejected, line by line", (words.message_rejected, words.request_rejected)),
    Query("heads", "Signed ends of the record, for `ecr-grants ledger verify --heads FILE`", (words.ledger_head,)),
)
