"""The story of the drift test: what administrators do to the cloud by themselves, and what the functions make of it.

Everything happens once, in one local cloud with the functions of ``s.yaml`` at work; the tests look at what came of it. No SDK
call deletes a VPC or gives a router away here, so for these two the local cloud's own world is changed.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sql

from localcloud.kernel import Cloud
from shared.ledger.drift import read_standing
from shared.ledger.tables import grants
from shared.ledger.transactions import now_ms
from tests.chaos.administrators import Administrators
from tests.chaos.house import House, template
from tests.functional.deployment import OPERATOR, configure
from tests.functional.launch import SETTLE_SECONDS, environment, new_ledger, typed
from tests.functional.waiting import PATIENCE, until
from tests.functional.world import HUB, REGION, Hub, Spoke, Stage
from tests.localcloud.harness import LocalCloud

Json = dict[str, Any]

PREFIXES = ["10.20.0.0/16"]
LEASE_SECONDS = (4.0, 15.0, 60.0)  # how soon a lease may end and still be up before depends on the machine
REPAIRED_BY_DEFAULT = {"grant-missing", "association-missing", "prefixes-differ"}

# What is done to whom; each name is an instance of its own.
SCENES = {
    "revoked": "vpc",
    "dissociated": "vpc",
    "detached": "vbr",
    "rerouted": "vpc",
    "granted anew": "vpc",
    "never asked for": "vpc",
    "never asked for, associated": "vbr",
    "deleted": "vpc",
    "given away": "vpc",
    "router deleted": "vpc",
    "kept": "vpc",
    "adopted": "vpc",
    "left alone": "vpc",
    "unwelcome": "vpc",
}
FOREIGN = ("kept", "adopted")  # there before any lease
UNASKED = ("never asked for", "never asked for, associated", "unwelcome")  # there without any
EXPECTED = {
    "revoked": {"grant-missing"},
    "dissociated": {"association-missing"},
    "detached": {"association-missing"},
    "rerouted": {"prefixes-differ"},
    "granted anew": {"foreign-grant"},
    "never asked for": {"foreign-grant"},
    "never asked for, associated": {"foreign-grant", "foreign-association"},
    "deleted": {"instance-deleted"},
    "given away": {"ecr-owner-changed"},
    "router deleted": {"ecr-owner-changed"},
}
REPAIRED = [name for name, kinds in EXPECTED.items() if kinds & REPAIRED_BY_DEFAULT]
REPORTED = [name for name in EXPECTED if name not in REPAIRED]


@dataclass
class Stay:
    """The local cloud of these tests, its functions, and who plays in it."""

    cloud: LocalCloud
    house: House
    admins: Mapping[str, Administrators]
    instances: Mapping[str, str]
    documents: dict[str, Json] = field(default_factory=dict)
    reports: dict[str, Json] = field(default_factory=dict)
    worlds: dict[str, dict[str, Json]] = field(default_factory=dict)
    """What each instance looked like at some moments."""
    positions: dict[str, int] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    # -- acting ------------------------------------------------------------------------------------------------------

    def approve(self, name: str, hub: Hub, spoke: Spoke) -> None:
        """Send an approval about the instance of a scene."""
        kind = SCENES[name].upper()
        self.documents[name] = {
            "schema": "ecr-grants/approval/3",
            "issuer": "self-service",
            "request_id": f"R-{next(self._numbers):03d}",
            "action": "grant",
            "ecr": {"id": hub.ecr_id, "owner_uid": hub.uid},
            "instance": {"type": kind, "id": self.instances[name], "region": REGION, "owner_uid": spoke.uid},
            "allowed_prefixes": PREFIXES if kind == "VPC" else [],
            "requested_by": "requester@example.com",
            "approved_by": ["approver@example.com"],
            "approved_at": iso(-3600),
            "reason": "A test of drift",
        }
        self.house.send(self.documents[name])

    def close(self, name: str) -> str:
        """Close the lease of a scene; the id of the request."""
        lease = self.documents[name]
        kept = {key: value for key, value in lease.items() if key not in ("allowed_prefixes", "ends_at", "on_end")}
        request_id = f"R-{next(self._numbers):03d}"
        document = {
            "request_id": request_id,
            "action": "revoke",
            "closes": [lease["request_id"]],
            "approved_at": iso(-60),
        }
        self.house.send({**kept, **document})
        return request_id

    def run_reconcile(self, *arguments: str) -> Json:
        """``ecr-grants run reconcile`` as an operator types it; its report."""
        done = typed(
            *("run", "reconcile", "--endpoint", self.house.url, "--json", *arguments),
            ALIBABA_CLOUD_ACCESS_KEY_ID=OPERATOR.id,
            ALIBABA_CLOUD_ACCESS_KEY_SECRET=OPERATOR.secret,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        report: Json = json.loads(done.stdout)
        return report

    def quiet(self) -> None:
        """Return when everything is at rest, and our last write is older than a look may be."""

        def at_rest() -> bool:
            return not self.house.unsettled(self.is_out_of_reach)

        until(at_rest, "everything is at rest", PATIENCE, self.house.receive)
        with self.house.ledger.engine.connect() as connection:
            last = connection.exec_driver_sql("SELECT max(made_at) FROM intents").scalar_one()
        until(lambda: now_ms() - last > SETTLE_SECONDS * 1000, "looks can be trusted")  # real time has to pass for that

    def is_out_of_reach(self, grant_id: str, _side: str) -> bool:
        """Whether a grant cannot come to rest, because its router or its instance is gone."""
        gone = [self.instances[name] for name in ("deleted", "given away", "router deleted")]
        standing = {one.key.grant_id: one.key.instance_id for one in list(read_standing(self.house.ledger))}
        return standing[grant_id] in gone

    # -- looking -----------------------------------------------------------------------------------------------------

    def listen(self) -> None:
        """Wait for the next completions, for a second at most."""
        self.house.receive(1)

    def wait_for(self, name: str, *events: str) -> None:
        """Return when each of these completions about a scene has come."""

        def came() -> bool:
            return set(events) <= {one["event"] for one in self.told(name)}

        until(came, f"{', '.join(events)} of {name} ({self.instances[name]})", PATIENCE, self.listen)

    def wait_for_answers(self, *requests: str) -> None:
        """Return when each of these requests is done."""

        def answered() -> bool:
            return set(requests) <= set(self.answers())

        until(answered, f"answers to {', '.join(requests)}", PATIENCE, self.listen)

    def answers(self) -> dict[str, str]:
        """How each request that has an answer ended."""
        final = [one.body for one in self.house.told if one.body["event"] in ("done", "rejected", "dead")]
        return {one["request"]["request_id"]: one["event"] for one in final}

    def told(self, name: str, event: str = "") -> list[Json]:
        """What was told about the instance of a scene, each fact once, in order."""
        facts = {one.body["id"]: one.body for one in self.house.told}
        mine = [one for one in facts.values() if one.get("grant", {}).get("instance_id") == self.instances[name]]
        return [one for one in mine if event in ("", one["event"])]

    def classes(self, name: str, event: str) -> list[str]:
        """The classes of drift that were found, or repaired, about a scene."""
        return [one["reason"]["code"] for one in self.told(name, event)]

    def look(self, moment: str) -> None:
        """Keep what every instance looks like now."""
        world = self.house.world()
        links = [*world["associations"], *world["child_instances"]]
        self.worlds[moment] = {
            name: {
                "grant": [one["grant_id"] for one in world["grants"] if one["instance_id"] == instance],
                "association": [
                    (one["association_id"], one["status"], one["allowed_prefixes"])
                    for one in links
                    if one["instance_id"] == instance
                ],
            }
            for name, instance in self.instances.items()
        }
        self.positions[moment] = self.house.position()

    def writes(self, name: str, after: str, before: str = "") -> list[str]:
        """The operations by which the functions wrote about an instance between two moments."""
        last = self.positions[before] if before else 10**9
        return [
            entry["operation"]
            for entry in self.house.writes()
            if self.positions[after] < entry["number"] <= last
            and entry["caller"].get("name") in ("ecr-grants-spoke", "ecr-grants-hub")
            and self._is_about(entry, self.instances[name])
        ]

    def _is_about(self, entry: Json, instance: str) -> bool:
        named = set(map(str, entry["params"].values()))
        return instance in named or self.house.links.get(entry["params"].get("AssociationId", "")) == instance

    def grant_id(self, name: str) -> str:
        """The name of a scene's grant, also when it is history."""
        named = sql.select(grants.c.grant_id).where(grants.c.instance_id == self.instances[name])
        with self.house.ledger.engine.connect() as connection:
            return str(connection.execute(named).scalar_one())


def iso(seconds: float) -> str:
    """The present, or so many seconds from it, as messages write it."""
    moment = datetime.now(UTC) + timedelta(seconds=seconds)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@contextmanager
def lived(folder: Path) -> Iterator[Stay]:
    """The whole story: everything is granted, drifts, is found, handled, looked at again; leases end; then policy changes."""
    stage = Stage()
    policies = stage.hub["users"]["operator"]["policies"].values()
    [runs] = (one for each in policies for one in each["Statement"] if "fc:InvokeFunction" in one["Action"])
    runs["Resource"].append(f"acs:fc:*:{HUB}:services/ecr-grants/functions/reconcile")  # where it is in a service
    hub, sold, dropped = stage.new_hub(), stage.new_hub(), stage.new_hub()
    hubs = {"given away": sold, "router deleted": dropped}
    spokes = [stage.new_spoke() for _ in range(5)]
    owners = {name: spokes[position % len(spokes)] for position, name in enumerate(SCENES)}
    instances = {name: next(owners[name].vpcs if kind == "vpc" else owners[name].vbrs) for name, kind in SCENES.items()}
    _, accounts = stage.write(folder)
    env = environment(new_ledger(folder), accounts)
    configure(env["LEDGER_URL"], stage.configuration)
    cloud = LocalCloud(stage.file).start()
    house: House | None = None
    try:
        house = House(cloud.url, env["LEDGER_URL"], folder, env, watching=False)
        house.redeploy(template(folder, settings={}))
        admins = {name: Administrators(house, hubs.get(name, hub), owners[name], instances[name]) for name in SCENES}
        made = Stay(cloud, house, admins, instances)
        _everything_comes_up(made, {name: (hubs.get(name, hub), owners[name]) for name in SCENES})
        _somebody_adopts(made)
        _somebody_meddles(made, give_to=spokes[0].uid)
        _ticks_find_it(made)
        _leases_end(made)
        _policy_changes(made, folder)
        yield made
    finally:
        if house is not None:
            house.close()
        cloud.stop()


def _everything_comes_up(made: Stay, places: Mapping[str, tuple[Hub, Spoke]]) -> None:
    """Some things are there before us; then every lease is opened, and some rest on what was there."""
    for name in FOREIGN:
        made.admins[name].grant()
    made.admins["adopted"].associate(*PREFIXES)
    made.look("before us")
    for name, (hub, spoke) in places.items():
        if name not in UNASKED:
            made.approve(name, hub, spoke)
    made.wait_for_answers(*(one["request_id"] for one in made.documents.values()))
    made.wait_for_answers(made.close("granted anew"))
    made.look("all up")


def _somebody_adopts(made: Stay) -> None:
    """What was there before us becomes ours, by the operator's command."""
    done = typed(*("adopt", made.grant_id("adopted"), "--yes", "--json", "--ledger-url", made.house.ledger_url))
    assert done.returncode == 0, done.stderr
    made.facts["adopt"] = json.loads(done.stdout)
    made.look("adopted")


def _somebody_meddles(made: Stay, give_to: str) -> None:
    """Everything that administrators can do by themselves, while nothing of ours is under way."""
    made.house.tick()  # what was adopted is looked at
    made.quiet()
    made.admins["revoked"].revoke()
    made.admins["dissociated"].dissociate()
    made.admins["detached"].dissociate()
    made.admins["rerouted"].change("192.168.0.0/16")
    for name in ("granted anew", "never asked for", "never asked for, associated"):
        made.admins[name].grant()
    made.admins["never asked for, associated"].associate()
    for name in ("deleted", "router deleted"):
        made.admins[name].dissociate()
    made.admins["deleted"].revoke()
    made.cloud.inside(lambda inside: inside.network.lose_vpc(made.instances["deleted"]))
    made.admins["router deleted"].delete_router()
    router = made.documents["given away"]["ecr"]["id"]

    def give_away(inside: Cloud) -> None:
        inside.network.give_away(inside.network.ecrs[router], give_to)

    made.cloud.inside(give_away)
    made.look("meddled")


def _ticks_find_it(made: Stay) -> None:
    made.reports["first"] = made.run_reconcile()
    for name in REPAIRED:
        made.wait_for(name, "drift-found", "drift-repaired")
    for name in REPORTED:
        made.wait_for(name, "drift-found")
    made.quiet()
    made.look("repaired")
    made.reports["second"] = made.house.tick()
    made.reports["third"] = made.house.tick()
    made.quiet()
    made.look("ticked again")


def _leases_end(made: Stay) -> None:
    """Two grants are left to leases that end by themselves: one that was adopted, one that was not."""
    for seconds in LEASE_SECONDS:
        ends = iso(seconds)
        leases = {name: f"R-{seconds:g}-{name}" for name in FOREIGN}
        for name, request_id in leases.items():
            lease = {"request_id": request_id, "ends_at": ends, "on_end": "teardown"}
            made.house.send({**made.documents[name], **lease})
        made.wait_for_answers(*leases.values())
        if all(made.answers()[request_id] == "done" for request_id in leases.values()):
            break
    made.wait_for_answers(*(made.close(name) for name in FOREIGN))
    until(lambda: datetime.now(UTC) > datetime.fromisoformat(ends), "the leases end", max(LEASE_SECONDS) + PATIENCE)
    made.house.tick()
    for name in FOREIGN:
        made.wait_for(name, "ended", "dissociated")
    made.wait_for("adopted", "revoked")
    made.quiet()
    made.look("ended")


def _policy_changes(made: Stay, folder: Path) -> None:
    """Routes are only reported from now on, and what is foreign is taken down; reconcile is deployed inside a service too."""
    path = template(folder, settings={"DRIFT_REPAIR": ""})
    text = path.read_text("utf-8")
    start = text.index("  reconcile:")
    inside = text[start:].replace("  reconcile:", "  reconcile-inside:", 1)
    inside = inside.replace("functionName: ecr-grants-reconcile", "functionName: ecr-grants$reconcile", 1)
    path.write_text(text + "\n" + inside, "utf-8")
    made.house.redeploy(path, DRIFT_REPAIR="grant-missing,foreign-grant,foreign-association")
    made.admins["rerouted"].change("172.16.0.0/12")
    made.admins["revoked"].revoke()
    made.look("meddled again")
    made.reports["in a service"] = made.run_reconcile("--service", "ecr-grants", "--function", "reconcile")
    until(
        lambda: made.classes("rerouted", "drift-found") == ["prefixes-differ"] * 2,
        "it is found",
        meanwhile=made.listen,
    )
    until(
        lambda: made.classes("revoked", "drift-repaired") == ["grant-missing"] * 2,
        "it is mended",
        meanwhile=made.listen,
    )
    made.quiet()
    made.reports["last"] = made.house.tick()
    made.quiet()
    made.house.receive(1)
    made.look("policy changed")
