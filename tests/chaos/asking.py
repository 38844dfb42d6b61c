"""What people and systems ask for in the model test: grants, their ends, the same once more, and rubbish."""

from __future__ import annotations

import json
import random
from dataclasses import replace

from examples.keys import key as example_key
from shared.messages.forms import GrantKey
from shared.rules.facts import Side
from tests.chaos.deciding import EVERYONE, ISSUERS, STRANGER, kid
from tests.chaos.model_schedule import Op
from tests.chaos.model_world import HOUR, MINUTE, ROUTES, SECOND, SKEW_MS, A, written
from tests.chaos.reference import Document, Seal
from tests.chaos.story import Story, short
from tests.chaos.turns import TROUBLES
from tests.configured import DEPLOYMENT, seal_anything, sealed

NAMES = [f"R{number}" for number in range(9)]
AGES = (
    HOUR,
    MINUTE,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    -SKEW_MS + SECOND,
    -3 * SKEW_MS,
    -12 * SKEW_MS,
)  # the last are dated too far ahead
ENDS = (None, None, None, None, 20 * SECOND, 3 * MINUTE, 15 * MINUTE, -5 * SECOND)


class Asking(Story):
    """The operations that send approvals."""

    def _op_ask(self, op: Op) -> bool:
        """Somebody asks for a grant, or for its end: mostly for what is not so yet."""
        chance = random.Random(repr(op[1:4]))  # noqa: S311  # a test's choices, not a secret
        key = self.keys[op.a % len(self.keys)]
        standing = self._sealed(key)
        approved_at = self.turns.now - chance.choice(AGES)
        if chance.random() < (0.15, 0.5, 0.7, 0.8)[min(len(standing), 3)]:
            document = self._document(key, ISSUERS[op.b % 3], f"C{op.c % 8}", "revoke", approved_at)
            every = "everyone" if document["issuer"] == EVERYONE and chance.random() < 0.5 else "all"
            document["closes"] = every if chance.random() < 0.5 else chance.sample(NAMES, 2)
            if standing and chance.random() < 0.8:
                closed = chance.choice(standing)
                document["issuer"] = closed["issuer"] if document["closes"] != "everyone" else EVERYONE
                if document["closes"] not in ("all", "everyone"):
                    document["closes"] = [closed["request_id"]]
            self._send(document, old=chance.random() < 0.06)
            return True
        document = self._document(key, ISSUERS[op.b % 3], chance.choice(NAMES), "grant", approved_at)
        self._details(document, key, approved_at, chance)
        self._send(document, old=chance.random() < 0.06)
        return True

    def _details(self, document: Document, key: GrantKey, approved_at: int, chance: random.Random) -> None:
        """What a lease allows, and until when."""
        document["reason"] = f"reason {chance.choice('ab')}"
        if key.instance_type == "VPC":
            document["allowed_prefixes"] = chance.sample(ROUTES, chance.choice([1, 1, 2]))
        ends = chance.choice(ENDS)
        if ends is not None and self.turns.now + ends > approved_at:
            document |= {"ends_at": written(self.turns.now + ends), "on_end": chance.choice(["report", "teardown"])}

    def _op_change(self, op: Op) -> bool:
        """Somebody asks for one lease in place of others: of what stands, or of what may come later."""
        chance = random.Random(repr(op[1:4]))  # noqa: S311  # a test's choices, not a secret
        key = self.keys[op.a % len(self.keys)]
        approved_at = self.turns.now - chance.choice(AGES)
        standing = self._sealed(key)
        document = self._document(
            key, ISSUERS[op.b % 3], chance.choice([*NAMES, f"P{op.c % 16}"]), "grant", approved_at
        )
        others = [name for name in NAMES if name != document["request_id"]]
        document["replaces"] = chance.sample(others, chance.choice([1, 1, 2]))
        if standing and chance.random() < 0.8:
            closed = chance.choice(standing)
            document |= {"issuer": closed["issuer"], "request_id": f"P{op.c}", "replaces": [closed["request_id"]]}
        self._details(document, key, approved_at, chance)
        self._send(document)
        return True

    def _document(self, key: GrantKey, issuer: str, request_id: str, action: str, approved_at: int) -> Document:
        return {
            "schema": "ecr-grants/approval/3",
            "issuer": issuer,
            "request_id": request_id,
            "action": action,
            "ecr": {"id": key.ecr_id, "owner_uid": key.ecr_owner_uid},
            "instance": {
                "type": key.instance_type,
                "id": key.instance_id,
                "region": key.instance_region,
                "owner_uid": key.instance_owner_uid,
            },
            "requested_by": "somebody",
            "approved_by": ["somebody else"],
            "approved_at": written(approved_at),
            "reason": "a reason",
        }

    def _send(self, document: Document, *, old: bool = False) -> None:
        """Its issuer seals an approval and sends it. ``old``: with the first key that it ever had."""
        places = range(len(self.decided.keys_of(document["issuer"])))
        seal = Seal(kid(document["issuer"], places[0 if old else -1]), self.turns.now // SECOND * SECOND)
        text = sealed(document, at=seal.at / SECOND, kid=seal.kid)
        mail = self.post.put(Side.GRANT, text, self.turns.now, document, seal)
        self.sent.append(mail)
        self.say(f"sent {short(mail)}")

    def _op_outlive(self, op: Op) -> bool:
        """Everybody closes what keeps a grant up, and somebody asks for it for a few minutes more."""
        key = self.keys[op.a % len(self.keys)]
        self._close_all(key, op)
        document = self._document(key, ISSUERS[op.b % 3], f"E{op.c % 64}", "grant", self.turns.now)
        if key.instance_type == "VPC":
            document["allowed_prefixes"] = [ROUTES[op.c % len(ROUTES)]]
        self._send(document | {"ends_at": written(self.turns.now + 3 * MINUTE), "on_end": "report"})
        return True

    def _op_lockout(self, op: Op) -> bool:
        """Everybody closes what keeps a grant up, and account B lets nobody in any more."""
        key = self.keys[op.a % len(self.keys)]
        self.turns.trouble = TROUBLES["no-grant-permission"]
        self._close_all(key, op)
        return True

    def _sealed(self, key: GrantKey) -> list[Document]:
        """The leases that keep a grant up and that an issuer sealed."""
        return [lease for lease in self.leases(key) if lease["issuer"] in ISSUERS]

    def _close_all(self, key: GrantKey, op: Op) -> None:
        for lease in self._sealed(key):
            name = f"C{op.b % 8}-{lease['request_id']}"
            document = self._document(key, lease["issuer"], name, "revoke", self.turns.now)
            self._send(document | {"closes": [lease["request_id"]]})

    def _op_rubbish(self, op: Op) -> bool:
        document = self._document(self.keys[0], "direct", f"X{op.a % 9}", "grant", self.turns.now)
        wrong: list[Document] = [
            {"action": "explode"},
            {"ecr": {"id": "ecr-unlisted", "owner_uid": A}},
            {"colour": "red"},
        ]
        ill = op.c % 5  # what is wrong with its seal, else with itself
        document |= wrong[op.b % 3] if ill == 0 else {}
        if document["action"] == "grant":
            document["allowed_prefixes"] = [ROUTES[0]]
        mine = kid("direct", len(self.decided.keys_of("direct")) - 1)
        named, at = kid("tickets", 0) if ill == 1 else mine, self.turns.now // SECOND
        whose, audience = example_key(STRANGER if ill == 2 else named), "another" if ill == 3 else DEPLOYMENT
        text = seal_anything(document, whose, kid=named, audience=audience, at=at)
        mail = self.post.put(Side.GRANT, json.dumps(document) if ill == 4 else text, self.turns.now)
        self.rubbish.add(mail.message_id)
        return True

    def _op_replay(self, op: Op) -> bool:
        """An approval comes once more, long after: as the platform repeats it, or as somebody sends it again."""
        if not self.sent:
            return False
        mail = self.sent[op.a % len(self.sent)]
        again = replace(mail, due=self.turns.now)
        if op.b % 2:
            again.message_id = self.post.message_id()
        self.post.again(Side.GRANT, again)
        return True
