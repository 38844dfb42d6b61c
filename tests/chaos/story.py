"""Everything of one schedule of the model test while it is played, and what can be asked about it."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

from shared.ledger.admission import Admission, admit_all
from shared.ledger.heads import Head
from shared.ledger.hearing import amount, say_lapsed
from shared.ledger.operating import dead_rows
from shared.ledger.passing import take_effect
from shared.ledger.record import name_of
from shared.messages.completion import Completion
from shared.messages.forms import GrantKey
from shared.messages.seal import approval_from
from tests.chaos.deciding import Decided, apply
from tests.chaos.desk import Desk, Mail, Post
from tests.chaos.model_cloud import ModelCloud
from tests.chaos.model_schedule import Schedule
from tests.chaos.model_world import KEYS, SKEW_MS, THEIRS, TIMING, WINDOW
from tests.chaos.parts import ModelLedger, Parts
from tests.chaos.referee import Referee
from tests.chaos.reference import (
    Document,
    Said,
    Seal,
    Should,
    Version,
    early_until,
    instance,
    let_in,
    millis,
    same,
    should,
    takes_effect,
    vouched,
)
from tests.chaos.spoken import DESK, Spoken, suffices
from tests.chaos.turns import START, TROUBLES, Turns, Violation, Worker
from tests.configured import CONFIG_KEYS


@dataclass
class Robot:
    """Account A's own automation, where the association is theirs: it acts on the latest completion that it heard."""

    number: int = 0
    wants: bool = False


@dataclass
class Record:
    """What the events said until now."""

    seq: int = 0
    numbers: dict[str, int] = field(default_factory=dict)
    ids: set[str] = field(default_factory=set)
    outcomes: dict[tuple[str, str, str], list[str]] = field(default_factory=dict)
    again: dict[tuple[str, str, str], list[str]] = field(default_factory=dict)
    per_request: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)
    per_generation: Counter[tuple[str, int, str]] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    refused_in: set[tuple[str, int]] = field(default_factory=set)  # the generations in which a side refused a request
    news: list[dict[str, Any]] = field(default_factory=list)  # since the last rest
    wrong: list[str] = field(default_factory=list)  # with names and numbers of these


class Story:
    """What was sent, admitted and done by others so far, beside the parts that are tested and the model cloud."""

    def __init__(self, schedule: Schedule, parts: Parts, ledger: ModelLedger, counts: Counter[str]) -> None:
        self.trace: list[str] = []
        self.counts = counts
        self.turns = Turns(counts)
        self.keys = tuple(KEYS[one] for one in schedule.keys)
        self.windowed = schedule.windowed
        ledger.empty()
        ledger.turns = self.turns
        ledger.timing = replace(TIMING, window=WINDOW if schedule.windowed else None)
        self.ledger = ledger
        self.referee = Referee(self.turns, SKEW_MS)
        self.referee.theirs = {key.instance_id for key in KEYS if key.ecr_id == THEIRS}
        self.cloud = ModelCloud(self.turns, self.keys, self.referee)
        self.post = Post(self.turns)
        self.post.hear = self._hear
        self.desk = Desk(parts, ledger, self.cloud, self.turns, self.post)
        self.desk.refused = self._refused
        self.spoken = Spoken()
        self.front = parts.gate(ledger, CONFIG_KEYS, 1, self.turns.clock)  # of the desk that people come to
        ledger.heard = {
            admit_all: self._heard_admissions,
            take_effect: self._heard_effect,
            amount: self._heard_amount,
            say_lapsed: self._heard_lapse,
        }
        self.decided = Decided()
        self.spoilt: Decided | None = None  # what the newest version says, that the ledger lost a piece of
        self.versions: list[Version] = []  # of the configuration, as they stood one after another
        self.stands(self.decided.version(apply(ledger, self.decided, START)))
        self.sent: list[Mail] = []
        self.rubbish: set[str] = set()
        self.workers: list[Worker] = []
        self.names: dict[str, tuple[str, str, str]] = {}  # what identifies an approval, by what makes it the same
        self.first: dict[str, tuple[int, int, str]] = {}  # when it was admitted, as which, by which message
        self.ids: dict[str, str] = {}  # what makes it the same, by the id of its row
        self.knew: dict[str, int] = {}  # which version was the newest when it was admitted
        self.early: set[str] = set()
        self.late: set[str] = set()  # closed before it came
        self.unlisted: set[str] = set()  # was refused by what had been decided about accounts, issuers and keys
        self.turned_away: set[str] = set()  # messages that were
        self.foreign: dict[tuple[GrantKey, str], tuple[str, ...]] = {}  # what others put up, with its prefixes
        self.adopted_links: set[GrantKey] = set()  # since the last rest: until then others' associations
        self.robots = {key: Robot() for key in self.keys if key.ecr_id == THEIRS}
        self.touched: dict[GrantKey, tuple[int, set[str]]] = {}  # by others since the last rest: when, and the drift
        self.was: dict[tuple[GrantKey, str], bool] = {}  # what was ours at the last rest
        self.record = Record()
        self.refused_later: set[tuple[str, str, str]] = set()  # after admission, since its account was not listed then
        self.void: set[tuple[str, str, str]] = set()  # refused when its date came
        self.heads: list[Head] = []
        self.turns.trouble = TROUBLES[schedule.trouble]

    def say(self, text: str) -> None:
        """Put a remark into the trace."""
        self.trace.append(f"    {text}")

    # -- asking -----------------------------------------------------------------------------------------------------

    @property
    def believed(self) -> Version:
        """The last configuration that could be believed."""
        return next(one for one in reversed(self.versions) if one.believed)

    def since(self, knew: int) -> list[Version]:
        """What somebody may have gone by who began when that version was the newest, or later."""
        before = [one for one in self.versions[: knew + 1] if one.believed]
        return [before[-1], *(one for one in self.versions[knew + 1 :] if one.believed)]

    def kid(self, one: str) -> str:
        """Who sealed an approval, as it was admitted."""
        if self.names[one][0] == DESK:
            return DESK
        seal = self.post.mails[self.first[one][2]].seal
        assert seal is not None
        return seal.kid

    def unprovable(self, key: GrantKey) -> bool:
        """Whether work on this grant has ended since nobody believes the key of one of its leases."""
        if not self.should(key).doubtful:
            return False
        return any(row.key == key and row.reason.code == "ProofBroken" for row in self.ledger.read(dead_rows))

    def excused(self, key: GrantKey) -> bool:
        """Whether nothing can bring this grant to rest: its instance is gone, or what is not ours hangs on what is, or a lease of
        it cannot be proved.
        """
        if self.unprovable(key):
            return True
        place = self.cloud.places[key]
        granted, link = place.granted.now, place.link.now
        if not place.exists.now:
            return bool(self.leases(key))
        hangs = granted is not None and granted.ours and link is not None and not link.ours
        return hangs and not self.leases(key) and key.ecr_id != THEIRS

    def name_of(self, grant_id: str) -> str:
        """The instance that a grant is about, which people remember better."""
        return next((key.instance_id for key in self.keys if key.grant_id == grant_id), grant_id)

    def documents(self) -> list[Document]:
        """Every approval that was sent so far, or that people's words came to."""
        return [mail.document for mail in self.sent if mail.document is not None] + self.spoken.documents

    def said(self, key: GrantKey) -> list[Said]:
        """The approvals of one grant that were admitted, with what the record says of them."""
        known = {same(document): document for document in self.documents() if instance(document) == key.instance_id}
        found = []
        for one, document in known.items():
            if one in self.first:
                at, number, _ = self.first[one]
                done = "done" in self.record.outcomes.get(self.names[one], [])
                ended = bool(self.record.per_request[(*self.names[one], "ended")])
                later = self.names[one] in self.refused_later, self.names[one] in self.void
                found.append(Said(document, at, number, done, ended, *later, not vouched(self.kid(one), self.believed)))
        return found

    def messages(self, request: tuple[str, str, str]) -> set[str]:
        """The message that a request was admitted with."""
        return {self.first[one][2] for one, name in self.names.items() if name == request}

    def should(self, key: GrantKey) -> Should:
        """What should be on the cloud for a grant."""
        return should(self.said(key), self.turns.now, SKEW_MS)

    def leases(self, key: GrantKey) -> tuple[Document, ...]:
        """The leases that keep a grant up."""
        return self.should(key).leases

    def key_of(self, document: Document) -> GrantKey:
        """The grant that an approval is about."""
        return next(key for key in self.keys if key.instance_id == instance(document))

    # -- what is heard meanwhile -------------------------------------------------------------------------------------

    def _hear(self, completion: Completion) -> None:
        """Account A's own automation hears what is published."""
        for key, robot in self.robots.items():
            if completion.grant is None or completion.grant.grant_id != key.grant_id:
                continue
            if completion.event in ("granted", "unwanted", "revoked") and (completion.number or 0) > robot.number:
                robot.number, robot.wants = completion.number or 0, completion.event == "granted"

    def stands(self, version: Version) -> None:
        """Another version of the configuration is the newest from now on, or what is known of it changed."""
        self.versions.append(version)
        self.turns.said = replace(self.turns.said, version=version)
        self.referee.delisted |= not version.listed

    def _heard_admissions(self, given: tuple[Any, ...], found: list[Any]) -> None:
        for one, admission in zip(given[0], found, strict=True):
            if isinstance(admission, Admission):
                self.counts["admitted again"] += not admission.new
                if admission.new:
                    self._admitted(self.post.mails[one.message_id], one.approval.digest)

    def _heard_effect(self, given: tuple[Any, ...], touched: tuple[str, ...]) -> None:
        """The transaction was committed in which an early lease took effect, if it did."""
        version = self.versions[-1]
        one = self.ids[given[0]]
        if touched and not (version.believed and takes_effect(self.kid(one), version)):
            raise Violation(f"{self.names[one]} took effect under {version}")
        if touched:
            self.referee.took_effect(one)

    def _admitted(self, mail: Mail, digest: str) -> None:
        """The transaction that admits an approval was committed."""
        assert mail.document is not None
        assert mail.seal is not None
        self._is_admitted(mail.document, mail.seal, mail.message_id, digest)

    def _is_admitted(self, document: Document, seal: Seal, message_id: str, digest: str) -> None:
        version = self.versions[-1]
        if document["action"] == "grant" and not version.believed:
            raise Violation(f"admitted while nobody can believe the configuration: {short(document)}")
        if not let_in(document, seal, self.believed, self.turns.now):
            raise Violation(f"admitted, sealed with {seal.kid} under {self.believed}: {short(document)}")
        key = same(document)
        if key in self.names:
            raise Violation(f"admitted twice: {short(document)}")
        self.names[key] = document["issuer"], document["request_id"], digest
        self.ids[name_of("approval", *self.names[key])] = key
        self.knew[key] = len(self.versions) - 1
        said = Said(document, self.turns.now, len(self.first))
        self.first[key] = said.at, said.number, message_id
        closed = self.referee.admitted(said, seal.kid)
        waits = early_until(said, SKEW_MS) if document["action"] == "grant" else None
        if waits is not None and not closed:
            self.early.add(key)
        if closed:
            self.late.add(key)
        self.say(f"admitted {short(document)}{', early' if key in self.early else ''}")

    # -- what people's words came to -----------------------------------------------------------------------------------

    def _heard_amount(self, given: tuple[Any, ...], found: object) -> None:
        """The transaction was committed that says what a request amounts to."""
        heard, asked, fact = given[:3]
        request = self.spoken.requests[fact.request_id]
        about = f"{fact.request_id}, {fact.fact} under configuration {fact.configuration}"
        request.amounted += 1
        at = round(fact.at.timestamp() * 1000)
        if request.amounted > 1 or request.ended is not None or at >= request.lapses_at:
            raise Violation(f"{about}: {request.amounted} times, at {at}, and it was {request.ended or 'open'}")
        if not isinstance(found, Admission):
            if not request.emergency:
                raise Violation(f"{about}: refused for {found}")
            request.ended = "refused"
            return
        version, end = self.versions[-1], request.approval.get("ends_at")
        document = suffices(request, version, None if end is None else millis(end))
        if not version.believed or version.number != fact.configuration or document is None:
            raise Violation(f"{about}: nobody's words suffice for it under {version}: {request}")
        if approval_from(document).digest != asked.approval.digest or heard.standing.request_id != request.request_id:
            raise Violation(f"{about}: admitted was {asked.approval}, people agreed to {document}")
        request.ended = "approved"
        self.counts["people: approved"] += 1
        self.spoken.documents.append(document)
        seal = Seal(DESK, self.turns.now)
        self._is_admitted(document, seal, f"{DESK}:{request.request_id}", asked.approval.digest)

    def _heard_lapse(self, given: tuple[Any, ...], _: object) -> None:
        """The transaction was committed in which a request lapsed, if it was open."""
        request, at = self.spoken.requests[given[0]], round(given[1].at.timestamp() * 1000)
        if request.ended is None:
            if at < request.lapses_at:
                raise Violation(f"{request.request_id} lapsed at {at}, before {request.lapses_at}")
            request.ended = "lapsed"
            self.counts["people: lapsed"] += 1

    def _refused(self, mail: Mail) -> None:
        worker, now = self.turns.worker, self.turns.now
        if mail.document is None or mail.seal is None or worker is None:
            if mail.message_id not in self.rubbish:
                raise Violation(f"a good message was refused: {mail.body}")
            return
        if all(let_in(mail.document, mail.seal, version, now) for version in self.since(worker.knew)):
            raise Violation(f"refused, and let in by {self.since(worker.knew)}: {short(mail)}")
        self.counts["refused by the configuration"] += 1
        self.turned_away.add(mail.message_id)
        self.unlisted.add(same(mail.document))


def short(thing: Document | Mail) -> str:
    """A message in a few words."""
    document = thing.document if isinstance(thing, Mail) else thing
    if document is None:
        assert isinstance(thing, Mail)
        told = json.loads(thing.body)
        return f"{thing.message_id} {told.get('event') or 'wake'}"
    if "instance" not in document:
        return str(document["action"])
    at = millis(document["approved_at"]) - START
    what = f"{document['action']} {document['issuer']}/{document['request_id']} {instance(document)} at {at}"
    if document["action"] == "revoke":
        return f"{what} closes {document['closes']}"
    what += f" sealed {thing.seal.kid}" if isinstance(thing, Mail) and thing.seal is not None else ""
    what += f" replaces {document['replaces']}" if document.get("replaces") else ""
    ends = f" ends {millis(document['ends_at']) - START} {document['on_end']}" if document.get("ends_at") else ""
    return f"{what} {','.join(document.get('allowed_prefixes', []))} {document['reason'][-1]}{ends}"
