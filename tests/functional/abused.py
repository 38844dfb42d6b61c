"""The deployment that is abused: the shipped policy, issuers with different rights, and a configuration that two keys sign."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sql
from alibabacloud_expressconnectrouter20230901 import models

from examples.keys import key as private_key
from shared.ledger.configuration import Kept, apply_version, newest_versions
from shared.ledger.rows import raise_generation
from shared.ledger.tables import approvals
from shared.ledger.transactions import Ledger
from shared.messages.configuration import Bundle, payload, public_x, signed
from shared.rules.configuration import Configuration, digest_of
from shared.rules.shipped import POLICY
from tests.configured import DEPLOYMENT, configuration, rights
from tests.functional.abuse_of_rights import ERRS
from tests.functional.deployment import OPERATOR, Deployment
from tests.functional.launch import environment, launched, typed, up, without_desk
from tests.functional.letters import Ground, Json, Letter
from tests.functional.waiting import until
from tests.functional.world import HUB, HUB_ECR, REGION, Key, Spoke, Stage
from tests.ledger.postgres import running
from tests.said import lines_of, strange

KINDS = ("sqlite", "postgresql")
AT_ONCE = 16
"""As many messages as one call can send."""
SIGNERS = ("configuration-1", "configuration-2")
GOOD = tuple((name, name) for name in SIGNERS)
"""Each name with its own key."""
KEYS = ",".join(f"{name}:{public_x(private_key(name))}" for name in SIGNERS)
PEOPLE: Json = {
    "persons": {
        "somebody": {"subjects": ["login:somebody"]},
        "requester": {"subjects": ["self-service:requester@example.com", "self-service:requester-on-call@example.com"]},
        "approver": {"subjects": ["self-service:approver@example.com"]},
        "hub-lead": {"subjects": ["self-service:hub-lead@example.com"]},
        "spoke-lead": {"subjects": ["self-service:spoke-lead@example.com"]},
    },
    "groups": {"hub-leads": ["hub-lead"], "spoke-leads": ["spoke-lead"]},
}
ADMIN = Key("LTAI-example-hub-admin", "example-secret-of-the-hub-admin")
"""Account A's own administrator."""


def jwk(kid: str, state: str = "active") -> Json:
    """A key of the examples, as issuers list theirs."""
    return {"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": public_x(private_key(kid)), "state": state}


@dataclass
class House:
    """The deployed functions on one database, and what is decided about them."""

    cloud: Deployment
    ledger: Ledger
    spokes: list[Spoke]
    stranger: Spoke
    """An account that the issuer with the narrow scope may not vouch for. Nobody uses it rightly."""
    hub: Json
    states: dict[str, str] = field(default_factory=dict)
    """What the keys of issuers are good for, where it is not the usual."""

    def __post_init__(self) -> None:
        """Places for cases, one each."""
        strange = next(self.stranger.vpcs)
        self._grounds = (
            Ground(spoke.uid, vpc, next(spoke.vbrs, "vbr-nobodyasked"), self.stranger.uid, strange, self.hub)
            for spoke in self.spokes
            for vpc in spoke.vpcs
        )

    def ground(self) -> Ground:
        """A place for one case."""
        return next(self._grounds)

    # -- the configuration -------------------------------------------------------------------------------------------

    def content(self, policy: str = POLICY + ERRS) -> Configuration:
        """What an operator decides, by the present states of keys."""
        listed = {
            uid: {**account, "lead": "hub-leads" if "ecrs" in account else "spoke-leads", "supernets": ["10.0.0.0/8"]}
            for uid, account in self.cloud.stage.listed.items()
        }
        usual = [("self-service-1", "active"), ("self-service-0", "retired"), ("self-service-x", "compromised")]
        issuers: dict[str, Json] = {
            "self-service": {"keeps_four_eyes": False, "keys": {"keys": [jwk(*one) for one in usual]}},
            "narrow": {
                "accounts": [one.uid for one in self.spokes],
                "ecrs": [HUB_ECR],
                "kinds": ["VPC"],
                "longest_days": 30,
            },
            "spoke-desk": {"sides": ["grant"]},
            "hub-desk": {"sides": ["associate"]},
            "brittle": {},
            "emergency": {"everyone": True},
            "leaking": {"keys": {"keys": [jwk("leaking-1", self.states.get("leaking-1", "active"))]}},
        }
        entries = {name: rights(name, **changes) for name, changes in issuers.items()}
        return configuration(listed, issuers=entries, people=PEOPLE, policy=policy)

    def newest(self) -> Kept:
        """The newest version as the ledger has it."""
        _, _, found = self.ledger.read(newest_versions, 0)
        return found[-1]

    def version(
        self,
        content: Configuration | Json | None = None,
        *,
        number: int | None = None,
        previous: str | None = None,
        signers: Sequence[tuple[str, str]] = GOOD,
    ) -> Kept:
        """The next version, signed; any part of it may be another. ``signers``: the names that stand there, and whose keys they
        signed with."""
        _, _, found = self.ledger.read(newest_versions, 0)
        before = found[-1] if found else None
        number = number or (before.number + 1 if before else 1)
        previous = previous if previous is not None else before.digest if before else ""
        content = self.content() if content is None else content
        raw = payload(number, previous, content if isinstance(content, dict) else content.content)
        bundle: Bundle | None = None
        for name, key in signers:
            bundle = signed(raw, name, private_key(key), bundle)
        text = bundle.text if bundle is not None else json.dumps({"payload": "", "signatures": []})
        return Kept(number, digest_of(raw), previous, text, int(time.time() * 1000), "tests")

    def apply(self, content: Configuration | None = None) -> Kept:
        """Apply it as an operator does."""
        kept = self.version(content)
        self.ledger.write(apply_version, kept, signers=SIGNERS, difference=["tests"], deployment=DEPLOYMENT)
        return kept

    def put(self, kept: Kept) -> None:
        """Write a version where the newest one stands, or will: as somebody who may write the database, and nothing else."""
        values = vars(kept)
        names = ", ".join(values)
        self.change("DELETE FROM configurations WHERE number = :number", number=kept.number)
        self.change(
            f"INSERT INTO configurations ({names}) VALUES ({', '.join(f':{name}' for name in values)})",  # noqa: S608
            **values,
        )
        self.say_newest(kept.number)

    def put_back(self, kept: Kept) -> None:
        """Make a version the newest one again, and nothing is left of what was put in after it."""
        self.put(kept)
        self.change("DELETE FROM configurations WHERE number > :number", number=kept.number)

    def say_newest(self, number: int) -> None:
        """Which version is the newest."""
        self.change("UPDATE settings SET value = :number WHERE name = 'configuration'", number=str(number))

    # -- the ledger --------------------------------------------------------------------------------------------------

    def change(self, statement: str, **values: Any) -> None:
        """Change the database past everything of ours."""
        with self.ledger.engine.begin() as connection:
            connection.execute(sql.text(statement), values)

    def edit(self, grant_id: str, column: str, value: object) -> None:
        """Edit the lease of a grant."""
        with self.ledger.engine.begin() as connection:
            connection.execute(approvals.update().where(approvals.c.grant_id == grant_id).values({column: value}))

    def stir(self, grant_id: str) -> None:
        """Have somebody look at a grant as if its leases had changed."""
        with self.ledger.engine.begin() as connection:
            raise_generation(connection, grant_id)

    def leases(self, instance: str) -> list[Any]:
        """Every lease on an instance, as the ledger has it."""
        return self.cloud.rows(
            "SELECT approvals.* FROM approvals JOIN grants ON grants.grant_id = approvals.grant_id"
            " WHERE grants.instance_id = :instance AND approvals.action = 'grant'",
            instance=instance,
        )

    def row_of(self, letter: Letter) -> Json:
        """The row of a letter's lease."""
        [row] = self.leases(letter.content["instance"]["id"])
        return dict(row._mapping)

    def grant_of(self, letter: Letter) -> str:
        """The id of the grant that a letter is about."""
        instance = letter.content["instance"]["id"]
        [(found,)] = self.cloud.rows("SELECT grant_id FROM grants WHERE instance_id = :instance", instance=instance)
        return str(found)

    def troubles(self, grant_id: str) -> list[str]:
        """The codes for which sides of a grant are dead."""
        found = self.cloud.rows(
            "SELECT trouble FROM sides WHERE grant_id = :grant_id AND dead_at IS NOT NULL", grant_id=grant_id
        )
        return [json.loads(trouble)["code"] for (trouble,) in found]

    def rejected(self, message_id: str) -> list[tuple[str, list[str]]]:
        """Of each event that records the rejection of a message, its code and the rules that decided."""
        rows = self.cloud.rows("SELECT body, facts FROM events WHERE kind = 'rejected'")
        found = [(json.loads(body), json.loads(facts or "{}")) for body, facts in rows]
        about = [one for one in found if one[0].get("message_id") == message_id]
        return [(body["reason"]["code"], facts.get("rules", [])) for body, facts in about]

    def said(self, word: str, **facts: Any) -> list[Json]:
        """The lines of the functions' logs with this word and these facts."""
        return [line for line in lines_of(self.cloud.said()) if line["event"] == word and facts.items() <= line.items()]

    # -- the cloud ---------------------------------------------------------------------------------------------------

    def stand(self, letters: Sequence[Letter]) -> None:
        """Have leases granted and associated."""
        for start in range(0, len(letters), AT_ONCE):
            ids = self.cloud.send(*(letter.text for letter in letters[start : start + AT_ONCE]))
            for message_id in ids:
                assert self.cloud.answer_to_message(message_id)["event"] == "done"
        self.cloud.quiet()

    def take_down(self, letter: Letter) -> None:
        """As the two accounts' own administrators."""
        document, cloud = letter.content, self.cloud
        cloud.ecr(ADMIN).delete_express_connect_router_association(
            models.DeleteExpressConnectRouterAssociationRequest(
                ecr_id=HUB_ECR, association_id=cloud.event(document, "associated")["association_id"]
            )
        )
        until(lambda: not cloud.associated(document), "the association is gone")
        [spoke] = [one for one in self.spokes if one.uid == document["instance"]["owner_uid"]]
        cloud.ecr(spoke.admin).revoke_instance_from_express_connect_router(
            models.RevokeInstanceFromExpressConnectRouterRequest(
                ecr_id=HUB_ECR,
                ecr_owner_ali_uid=int(HUB),
                instance_id=document["instance"]["id"],
                instance_type=document["instance"]["type"],
                instance_region_id=REGION,
            )
        )

    def writes(self, letter: Letter) -> list[str]:
        """What was made on the cloud by our functions, of all that is about a letter's instance."""
        making = ("Grant", "Create", "Modify")
        return [call for call in self.cloud.our_calls(letter.content) if call.startswith(making)]

    def redrive(self) -> None:
        """Try everything once more that was not proven, as an operator does."""
        keys = {"ALIBABA_CLOUD_ACCESS_KEY_ID": OPERATOR.id, "ALIBABA_CLOUD_ACCESS_KEY_SECRET": OPERATOR.secret}
        where = {"MNS_ENDPOINT": self.cloud.url, "LEDGER_URL": self.cloud.ledger_url}
        signed_by = {"CONFIG_KEYS": KEYS, "CONFIG_QUORUM": "2"}
        done = typed("dead", "redrive", "--reason", "ProofBroken", **keys, **where, **signed_by)
        assert done.returncode == 0, done.stderr


@contextlib.contextmanager
def house(kind: str, folder: Path, cases: int) -> Iterator[House]:
    """A deployment on an empty ledger of a kind, with places for so many cases. Ends with the block."""
    spokes = -(-cases // 4)
    if kind == "sqlite":
        with _house(folder, f"sqlite:///{folder / 'ledger.db'}", spokes) as made:
            yield made
        return
    with running() as server, _house(folder, server.address(server.new_database()), spokes) as made:
        yield made


@contextlib.contextmanager
def _house(folder: Path, ledger_url: str, spokes: int) -> Iterator[House]:
    stage = Stage()
    everything = {"Effect": "Allow", "Action": ["expressconnectrouter:*"], "Resource": ["*"]}
    stage.hub["users"]["admin"] = {
        "access_key": {"id": ADMIN.id, "secret": ADMIN.secret},
        "policies": {"everything": {"Version": "1", "Statement": [everything]}},
    }
    made, stranger, hub = [stage.new_spoke() for _ in range(spokes)], stage.new_spoke(), stage.new_hub()
    world, accounts = stage.write(folder)
    done = typed("ledger", "upgrade", "--ledger-url", ledger_url)
    assert done.returncode == 0, done.stderr
    env = environment(ledger_url, accounts) | {"CONFIG_KEYS": KEYS, "CONFIG_QUORUM": "2"}
    ledger = Ledger(ledger_url)
    with contextlib.closing(ledger), launched(up(world, env=env, template=without_desk(folder)), folder) as url:
        cloud = Deployment(url, stage, ledger_url, accounts)
        found = House(cloud, ledger, made, stranger, {"id": hub.ecr_id, "owner_uid": hub.uid})
        found.apply()
        with contextlib.closing(cloud):
            yield found
            assert strange(cloud.said()) == []
