"""The words of the log: what each means, how much it matters, and the facts in its line. Every line of ours is one of them.

``docs/alarms.md``, the alarms, the saved queries and the index of the log store are generated from here. An error is what needs
a person: ``todo`` says what that person does. Facts that end in ``seconds`` are durations and ages; moments are epoch
milliseconds.
"""

from __future__ import annotations

from typing import Annotated

from shared.log import Level, Word, word

Account = Annotated[str, "the uid of the account whose resources it is about"]
Action = Annotated[str, "`grant` or `revoke`"]
ApiRequest = Annotated[str | None, "the platform's id of the call"]
CODE = "a code of the [catalogue](errors.md), or as the platform says it"
Code = Annotated[str, CODE]
Count = Annotated[int, "how many of the event's grants and messages ended so"]
DriftClass = Annotated[str, "the class of drift"]
GrantId = Annotated[str, "the grant, `g-…`"]
MessageId = Annotated[str, "the message's id in its queue"]
Number = Annotated[int, "the event's place in the record"]
OnSide = Annotated[str, "`grant` (account B's side) or `associate` (account A's)"]
Reason = Annotated[str, "what was found, in words"]
Text = Annotated[str, "what was found, in the catalogue's words"]
RequestId = Annotated[str, "the id that the issuer gave its request"]
Secret = Annotated[str, "the secret's name in KMS"]
Seconds = Annotated[float, "how long it took, in seconds"]
Session = Annotated[str, "the name of the role session in that account's own audit log"]
Wait = Annotated[float, "until the next try or look, in seconds"]
What = Annotated[str, "which account, router, grant or pass it was about"]
Write = Annotated[str, "`grant`, `revoke`, `associate`, `dissociate`, `set_prefixes`, `attach` or `detach`"]
Used = Annotated[int, "the most calls that were in one window of the quota, of the budget that came closest to its own"]
Ceiling = Annotated[int, "how many calls that window may hold"]
CeilingOf = Annotated[str, "which API in which account that was"]
Age = Annotated[float | None, "how old the oldest is, in seconds; empty where there is none"]

# -- starting ------------------------------------------------------------------------------------------------------------


@word("start.ready", Level.INFO)
def start_ready(*, seconds: Seconds) -> None:
    """A function has started; until then nothing was handled."""


@word(
    "start.failed",
    Level.ERROR,
    "Correct every setting that the reason names, and deploy again. Nothing is handled "
    "meanwhile and nothing is lost: messages wait in their queues for as long as these keep them.",
)
def start_failed(*, reason: Reason) -> None:
    """A function cannot start: its environment is not usable."""


# -- the gate -----------------------------------------------------------------------------------------------------------


@word(
    "configuration.refused",
    Level.ERROR,
    "`ecr-grants config history` says which version it is and who applied it. Apply one anew that enough of the keys in "
    "`CONFIG_KEYS` have signed, or correct these. Meanwhile nothing is granted; what stands is kept, and closing goes on.",
)
def configuration_refused(*, number: Annotated[int, "the newest version's number"], reason: Reason) -> None:
    """The newest configuration cannot be believed."""


@word(
    "policy.failed",
    Level.ERROR,
    "Mend the rules that are named: `ecr-grants config check` and `policy test` show the fault. Until then it is refused.",
)
def policy_failed(*, rules: Annotated[list[str], "the rules that refused as well"], reason: Reason) -> None:
    """A question could not be answered by the policy."""


@word(
    "proof.broken",
    Level.ERROR,
    "Find out who wrote the ledger: what it says of a lease is not what its issuer sealed, or its key is not good any more. Have "
    "the lease revoked, or sealed anew; then `ecr-grants dead redrive GRANT`.",
)
def proof_broken(*, grant: GrantId, side: OnSide, reason: Reason) -> None:
    """Something was to be made for a lease that is not proven. It is not made; what stands is kept."""


# -- events and messages -------------------------------------------------------------------------------------------------


@word("event.handled", Level.INFO)
def event_handled(
    *,
    settled: Count,
    waiting: Count,
    held: Count,
    later: Count,
    busy: Count,
    dead: Count,
    rejected: Count,
    sent_again: Count,
    seconds: Seconds,
    quota_used: Used,
    quota: Ceiling,
    quota_of: CeilingOf,
    unknown_errors: Annotated[dict[str, int], "codes that the catalogue lacks, and how often this instance met them"],
) -> None:
    """An event was handled: how many grants and messages ended how."""


@word("approval.admitted", Level.INFO)
def approval_admitted(
    *,
    action: Action,
    grant: GrantId,
    request_id: RequestId,
    message_id: MessageId,
    early_until: Annotated[int | None, "when it takes effect where it is dated ahead, in epoch milliseconds"],
) -> None:
    """An approval is in the ledger."""


@word("approval.repeated", Level.INFO)
def approval_repeated(*, action: Action, grant: GrantId, request_id: RequestId, message_id: MessageId) -> None:
    """An approval came again that was in the ledger."""


@word("message.rejected", Level.WARNING)
def message_rejected(*, message_id: MessageId, code: Code, reason: Reason) -> None:
    """A message is not usable, or not allowed; its sender is told."""


@word("message.sent_again", Level.WARNING)
def message_sent_again(*, message_id: MessageId, reason: Reason) -> None:
    """A message could not be taken in, and waits in its queue once more."""


@word("message.not_sent_again", Level.WARNING)
def message_not_sent_again(*, message_id: MessageId, code: Code, reason: Reason) -> None:
    """A try to send a message again has failed; the platform brings it back, or the timer finds what it was about."""


@word(
    "message.failed",
    Level.ERROR,
    "A fault of ours: report it with its traceback. The message was rejected as `Unexpected` and its sender told, so it has to "
    "be sent again once the fault is mended.",
    traceback=True,
)
def message_failed(*, message_id: MessageId) -> None:
    """A message met a fault of ours."""


@word(
    "batch.failed",
    Level.ERROR,
    "A fault of ours: report it with its traceback. Each approval was tried by itself then, which has a line of its own.",
    traceback=True,
)
def batch_failed(*, approvals: Annotated[int, "how many they were"]) -> None:
    """Approvals that were to be admitted together met a fault of ours."""


@word(
    "consent.failed",
    Level.ERROR,
    "Find out who wrote the facts that the reason names: what people said of this request cannot be heard. Nothing is approved "
    "by it; whoever asked may ask again.",
)
def consent_failed(*, request_id: RequestId | None, reason: Reason) -> None:
    """What was said of a request is not what was recorded, or met a fault of ours."""


@word("desk.failed", Level.ERROR, "Report it: a call met a fault of ours, and its caller was told.", traceback=True)
def desk_failed(*, call: Annotated[str, "the call: its method and its path"]) -> None:
    """A call met a fault of ours."""


@word("desk.unable", Level.WARNING)
def desk_unable(*, call: Annotated[str, "the call: its method and its path"], code: Code, reason: Reason) -> None:
    """A call could not be answered now: something that the desk needs does not answer, and its caller was told to try again."""


@word(
    "ledger.away",
    Level.ERROR,
    "See that the database that the reason names is up and lets the functions in, and that `ecr-grants ledger upgrade` was run. "
    "Nothing is decided meanwhile and nothing is lost: messages are sent again, and the timer finds what is left.",
)
def ledger_away(*, reason: Reason, grant: GrantId | None) -> None:
    """The ledger did not answer, or its schema does not fit this code."""


@word(
    "queue.refused",
    Level.ERROR,
    "Look the code up with `ecr-grants errors CODE`: a queue or topic is missing, or the function's role may not use it. "
    "Completions and wakes wait in the ledger meanwhile, and go out once it is mended.",
)
def queue_refused(*, queue: Annotated[str, "the name of the queue or topic"], code: Code, reason: Reason) -> None:
    """A queue or the topic refuses us, and only a person can change that."""


# -- completions and wakes -----------------------------------------------------------------------------------------------


@word("completion.published", Level.INFO)
def completion_published(*, kind: Annotated[str, "the completion's event"], seq: Number, message_id: MessageId) -> None:
    """A completion is out."""


@word("completion.kept", Level.WARNING)
def completion_kept(*, seq: Number, code: Code, reason: Reason) -> None:
    """A completion could not go out now; it goes with the next event or the timer."""


@word(
    "completion.refused",
    Level.ERROR,
    "The topic will not take this very completion; those behind it go out, and it is tried again. Mend what the reason names, or "
    "report it: it should not have been made like that.",
)
def completion_refused(*, seq: Number, code: Code, reason: Reason) -> None:
    """A completion is refused for what it is."""


@word("wake.lost", Level.WARNING)
def wake_lost(*, grant: GrantId | None, code: Code, reason: Reason) -> None:
    """A wake could not be sent; the timer looks instead."""


# -- a grant's work ------------------------------------------------------------------------------------------------------


@word("grant.step", Level.DEBUG)
def grant_step(*, step: Annotated[str, "the step"], state: Annotated[str, "what was seen on this side"]) -> None:
    """What is done next about a side, after a look."""


@word("write.requested", Level.INFO)
def write_requested(*, write: Write, api_request_id: ApiRequest) -> None:
    """A write to the cloud was accepted; a look will tell whether it landed."""


@word("write.failed", Level.WARNING)
def write_failed(*, write: Write, code: Code, reason: Reason) -> None:
    """A write to the cloud was answered with an error; a look will tell what became of it."""


@word("side.settled", Level.INFO)
def side_settled(
    *,
    event_kind: Annotated[str | None, "the completion that tells it, if any"],
    generation: Annotated[int, "counts the changes of the grant's leases"],
    ours: Annotated[bool | None, "whether we made or adopted what is there"],
    admitted_seconds: Annotated[
        float | None,
        "where this side has come up: how long that took, in seconds, from the admission of the oldest approval that "
        "waited for it, or from when it took effect if it was dated ahead",
    ],
) -> None:
    """A side is as wanted."""


@word("grant.later", Level.INFO)
def grant_later(*, grant: GrantId, side: OnSide, code: Code, wait_seconds: Wait) -> None:
    """A side is looked at again at a known time."""


@word("grant.waiting", Level.INFO)
def grant_waiting(*, grant: GrantId, side: OnSide, why: Reason) -> None:
    """It is the other side's turn."""


@word("grant.held", Level.INFO)
def grant_held(*, grant: GrantId, side: OnSide, why: Reason) -> None:
    """The mode or a hold stops a side."""


@word("request.rejected", Level.WARNING)
def request_rejected(*, grant: GrantId, code: Code, reason: Reason) -> None:
    """The requests that waited on a grant were rejected, and told so."""


@word(
    "grant.dead",
    Level.ERROR,
    "`ecr-grants dead show GRANT` says who must act and what for; what to do about each code is [below](#dead-reasons). When it "
    "is mended, `ecr-grants dead redrive GRANT`.",
)
def grant_dead(*, grant: GrantId, side: OnSide, code: Code, reason: Reason) -> None:
    """A side is not tried any more until somebody redrives it."""


@word(
    "grant.stuck",
    Level.ERROR,
    "`ecr-grants show GRANT` says what it waits for and since when, and `ecr-grants errors CODE` who can end that. It is still "
    "tried; nothing has to be redriven.",
)
def grant_stuck(*, grant: GrantId, side: OnSide, code: Code, reason: Reason) -> None:
    """A side has not been as wanted for longer than `STUCK_SECONDS`; said once for each change of its leases."""


@word(
    "grant.failed",
    Level.ERROR,
    "A fault of ours: report it with its traceback. The grant is tried twenty times, and is dead then; no other is touched.",
    traceback=True,
)
def grant_failed(*, grant: GrantId, side: OnSide) -> None:
    """The work on a grant met a fault of ours."""


@word(
    "review.overdue",
    Level.ERROR,
    "An owner of either side who neither asked for it nor agreed looks at what was done: `ecr-grants review REQUEST in-order "
    "REASON`. Until then nobody opens another emergency on that grant, nor does whoever asked for this one anywhere.",
)
def review_overdue(*, request_id: RequestId, grant: GrantId, until: Annotated[str, "when it was due"]) -> None:
    """An emergency was not reviewed in time; said by every pass of reconcile."""


# -- reconcile -----------------------------------------------------------------------------------------------------------


@word("reconcile.done", Level.INFO)
def reconcile_done(
    *,
    due: Annotated[int, "grants whose leases changed by the passing of time"],
    woken: Annotated[int, "sides that somebody was sent to look at"],
    grants: Annotated[int, "grants that were compared with the cloud"],
    drift: Annotated[dict[str, int], "new findings by class"],
    gone: Annotated[int, "earlier findings that are no longer so"],
    calls: Annotated[int, "calls to the cloud"],
    seconds: Seconds,
    trouble: Annotated[int, "accounts and routers that could not be read"],
    left: Annotated[int, "what time ran out for"],
    head: Annotated[int, "the last event of the record"],
    unsettled: Annotated[int, "sides that are not as wanted and not dead, held ones among them"],
    unsettled_seconds: Age,
    dead_sides: Annotated[int, "sides that wait to be redriven"],
    outbox: Annotated[int, "completions that are recorded and not out"],
    outbox_seconds: Age,
    quota_used: Used,
    quota: Ceiling,
    quota_of: CeilingOf,
) -> None:
    """A pass is over."""


@word(
    "reconcile.unread",
    Level.ERROR,
    "Look the code up with `ecr-grants errors CODE`. Until it is mended nobody notices drift there; `ecr-grants run reconcile` "
    "looks again at once.",
)
def reconcile_unread(*, what: What, account: Account, code: Code, reason: Reason) -> None:
    """An account or router could not be read; the others were."""


@word(
    "reconcile.unreadable",
    Level.ERROR,
    "Look in the account's console at what the text names. If it should not be there, whoever made it takes it away; if the "
    "platform shows something of a new form, report it.",
)
def reconcile_unreadable(*, drift_kind: DriftClass, text: Reason) -> None:
    """The cloud shows a grant or association that cannot be read as one, so it is compared with nothing."""


@word(
    "reconcile.failed",
    Level.ERROR,
    "A fault of ours: report it with its traceback. The next pass tries again, and everything else is compared meanwhile.",
    traceback=True,
)
def reconcile_failed(*, what: What, account: Account | None) -> None:
    """Comparing a grant, an account or a router met a fault of ours, or a whole pass did."""


@word(
    "preflight.failed",
    Level.ERROR,
    "A fault of ours: report it with its traceback. What it was about is unknown to whoever decides.",
    traceback=True,
)
def preflight_failed(*, what: What, account: Account | None) -> None:
    """Looking at something before people decide met a fault of ours."""


@word("drift.found", Level.WARNING)
def drift_found(*, drift_kind: DriftClass, grant: GrantId, text: Reason) -> None:
    """The cloud is not as it had settled; it is being mended."""


@word(
    "drift.reported",
    Level.ERROR,
    "`ecr-grants show GRANT` has what was seen, and `ecr-grants errors CLASS` who must act. What is foreign is adopted "
    "(`ecr-grants adopt`) or taken away by whoever made it; what is missing is made again once `DRIFT_REPAIR` lists it.",
)
def drift_reported(*, drift_kind: DriftClass, grant: GrantId, text: Reason) -> None:
    """The cloud is not as it had settled, and nothing mends that but a person's decision."""


@word("ledger.head", Level.INFO)
def ledger_head(
    *,
    seq: Number,
    hash: Annotated[str, "the hash of the last event"],  # noqa: A002  # the field's name in a heads file
    at: Annotated[int, "when, in epoch milliseconds"],
    configuration: Annotated[int, "the number of the configuration's newest version"],
    signature: Annotated[str, "by `HEAD_KEY`; empty without one"],
) -> None:
    """The end of the record at this moment; `ecr-grants ledger verify --heads FILE` takes such lines."""


@word(
    "head.unsigned",
    Level.ERROR,
    "See that the secret that is named is there, holds the key as `HEAD_KEY` is written, and that reconcile's role may read it. "
    "Heads go out unsigned meanwhile, and prove less.",
)
def head_unsigned(*, secret: Secret, code: Code, reason: Reason) -> None:
    """The key that signs heads could not be read by its name."""


# -- the cloud -----------------------------------------------------------------------------------------------------------


@word("role.assumed", Level.INFO)
def role_assumed(
    *, account: Account, role: Annotated[str, "the role's ARN"], session: Session, api_request_id: ApiRequest
) -> None:
    """A role session in another account has begun."""


@word("secret.read", Level.INFO)
def secret_read(
    *, secret: Secret, version: Annotated[str | None, "which version of it"], api_request_id: ApiRequest
) -> None:
    """A secret was read from KMS by its name."""


@word("cloud.called", Level.INFO)
def cloud_called(
    *, operation: Annotated[str, "the name of the API"], account: Account, session: Session, api_request_id: ApiRequest
) -> None:
    """A call to the cloud was answered well."""


@word("cloud.retried", Level.WARNING)
def cloud_retried(
    *,
    code: Code,
    reason: Reason,
    tries: Annotated[int, "how often it was tried"],
    wait_seconds: Wait,
) -> None:
    """A call to the cloud is tried again in place."""


@word("listing.failed", Level.WARNING)
def listing_failed(*, code: Code, reason: Reason) -> None:
    """Grants of one account could not be looked up together; each is looked up by itself."""


@word("error.met", Level.INFO)
def error_met(
    *,
    code: Code,
    status: Annotated[int | None, "of HTTP"],
    where: Reason,
    meaning: Text,
    meaning_zh: Text,
    who: Annotated[str, "who must act"],
    next: Annotated[str, "what happens next"],  # noqa: A002
) -> None:
    """The platform answered with an error that the catalogue has."""


@word("error.unknown", Level.WARNING)
def error_unknown(
    *,
    code: Annotated[str | None, CODE],
    status: Annotated[int | None, "of HTTP"],
    where: Reason,
    meaning: Text,
    meaning_zh: Text,
    who: Annotated[str, "who must act"],
    next: Annotated[str, "what happens next"],  # noqa: A002
) -> None:
    """The platform answered with an error that the catalogue lacks; it is judged by its name and HTTP class."""


WORDS: tuple[Word[...], ...] = tuple(found for found in list(globals().values()) if isinstance(found, Word))
"""All of them, in this order."""
