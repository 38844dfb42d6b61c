"""The operator's commands for versions of the configuration, on both databases: applied, shown, compared, replayed, explained;
and the policy that holds is asked before a command changes anything."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sql
import yaml
from click.testing import CliRunner, Result

from shared.ledger.admission import admit
from shared.ledger.configuration import newest_number
from shared.ledger.operating import said_mode
from shared.ledger.outcomes import mark_dead
from shared.ledger.rows import work_of
from shared.ledger.tables import configurations, events
from shared.ledger.transactions import Ledger, now_ms
from shared.loop.gate import Gate
from shared.messages.completion import Reason
from shared.messages.configuration import KeyState
from shared.messages.seal import read_seal
from tests.command import whole_command
from tests.configured import (
    CONFIG_KEYS,
    CONFIG_KEYS_TEXT,
    PERMITS,
    SIGNER,
    bundle,
    configuration,
    public,
    rights,
    sealed,
)
from tests.functional.approvals import approval
from tests.functional.world import HUB, HUB_ECR
from tests.ledger.kit import Database

SPOKE = "2000000000000002"
SECOND = "tests-2"
ONLY_KNOWN = PERMITS + (
    '\n@id("known") @advice("You must be listed in people.yaml, as login:name.")\n'
    'forbid (principal, action == Action::"operate", resource) unless { principal.known };'
)
NO_LONGER = PERMITS + (
    '\n@id("a-day") @advice("You must ask for a day at most.")\n'
    'forbid (principal, action == Action::"vouch", resource) unless { context.hours <= 24 };'
)

Json = dict[str, Any]


def account(uid: str, **more: Any) -> Json:
    """An entry of accounts.yaml."""
    entry = {"name": f"a{uid}", "owner": "owners", "environment": "test", "role": "role"}
    return {**entry, "external_id": f"secret-of-{uid}", **more}


ACCOUNTS = {HUB: account(HUB, ecrs={HUB_ECR: {}}), SPOKE: account(SPOKE)}


@dataclass
class Desk:
    """A ledger, and whoever types at it."""

    ledger: Ledger
    url: str
    folder: Path
    variables: Mapping[str, str] = field(default_factory=lambda: {"CONFIG_KEYS": CONFIG_KEYS_TEXT})
    last: str = ""
    """The digest of the version that was applied last."""

    def typed(self, *words: str, **variables: str) -> Result:
        """What a command says."""
        environment = {"LEDGER_URL": self.url, "ECR_GRANTS_USER": "operator", **self.variables, **variables}
        done = CliRunner(env=environment).invoke(whole_command(), list(words))
        assert done.exception is None or isinstance(done.exception, SystemExit), done.output
        return done

    def facts(self, *words: str, code: int = 0) -> Any:
        """What it tells programs."""
        done = self.typed(*words, "--json")
        assert done.exit_code == code, done.output
        return json.loads(done.stdout)

    def file(self, number: int, previous: str | None = None, signer: str = SIGNER, **changes: Any) -> str:
        """A bundle in a file."""
        path = self.folder / f"{number}.bundle"
        content = configuration(**{"accounts": ACCOUNTS, **changes})
        path.write_text(bundle(content, number, self.last if previous is None else previous, signer), "utf-8")
        return str(path)

    def apply(self, number: int, **changes: Any) -> Json:
        """A version, applied."""
        told: Json = self.facts("config", "apply", self.file(number, **changes))
        self.last = told["digest"]
        return told

    def admit(self, document: Json, *, at: float | None = None) -> str:
        """An approval, as its issuer seals it and the gate lets it in. Returns the id of its event."""
        gate = Gate(self.ledger, CONFIG_KEYS, 1, now_ms)
        deployment = gate.standing.deployment or ""
        text = sealed(document, audience=deployment, at=at)
        seal = read_seal(json.loads(text))
        opened = gate.open(gate.standing, seal)
        judged = gate.judge(gate.standing, seal, opened, self.ledger.timing)
        message = f"message-{document['request_id']}"
        self.ledger.write(admit, opened, message, now_ms(), self.ledger.timing, judged)
        query = sql.select(events.c.event_id).where(events.c.kind == "admitted").order_by(events.c.seq.desc()).limit(1)
        return self.ledger.read(lambda connection: str(connection.execute(query).scalar_one()))

    def write(self, statement: Any) -> None:
        """Past everything, into the database."""
        self.ledger.write(lambda connection: connection.execute(statement))


@pytest.fixture
def desk(database: Database, tmp_path: Path) -> Iterator[Desk]:
    """A ledger without any configuration."""
    ledger = Ledger(database.url)
    yield Desk(ledger, database.url, tmp_path)
    ledger.close()


# -- applied -----------------------------------------------------------------------------------------------------------


def test_the_first_version_names_the_deployment_and_is_an_event(desk: Desk) -> None:
    """Signed by keys of the environment: nobody has to be asked. It is told in the history, and the record is intact."""
    told = desk.facts("config", "apply", desk.file(1), "--deployment", "ecr-grants-one")
    assert (told["applied"], told["number"], told["deployment"]) == (True, 1, "ecr-grants-one")
    assert (told["signers"], told["who"], told["compromised"], told["not_admitted"]) == ([SIGNER], "operator", [], [])
    assert f"account {SPOKE}: listed, name a{SPOKE}, owner owners, environment test" in told["difference"]
    [one] = desk.facts("config", "history")
    assert {name: one[name] for name in ("number", "digest", "signers", "who", "recorded", "difference")} == {
        **{name: told[name] for name in ("number", "digest", "signers", "who", "difference")},
        "recorded": True,
    }
    shown = desk.facts("config", "show")
    assert (shown["deployment"], shown["fault"], shown["content"]) == ("ecr-grants-one", None, told["difference"])
    for words in (("config", "show"), ("config", "history")):
        assert "secret-of" not in desk.typed(*words).output
    assert desk.typed("ledger", "verify").exit_code == 0


def test_a_deployment_keeps_its_name(desk: Desk) -> None:
    """Seals are addressed to it; without a name it gets one that nobody else has."""
    named = desk.apply(1)["deployment"]
    assert named.startswith("ecr-grants-")
    refused = desk.typed("config", "apply", desk.file(2), "--deployment", "another")
    assert (refused.exit_code, f"is called {named} since" in refused.stderr) == (1, True)
    assert desk.typed("config", "apply", desk.file(2), "--deployment", named).exit_code == 0


def test_applying_again_changes_nothing(desk: Desk) -> None:
    """Safe to repeat, and said."""
    desk.apply(1)
    again = desk.typed("config", "apply", desk.file(1, previous=""))
    assert (again.exit_code, "holds already: nothing was changed" in again.stdout) == (0, True)
    assert len(desk.facts("config", "history")) == 1


@pytest.mark.parametrize(
    ("fault", "variables", "code", "said"),
    [
        ({"number": 3}, {}, 1, "is not the successor of what stands: version 1"),
        ({"number": 2, "previous": "0" * 64}, {}, 1, "is not the successor of what stands: version 1"),
        ({"number": 2, "signer": "nobody"}, {}, 2, "nobody is not one of the keys that may sign"),
        ({"number": 2}, {"CONFIG_QUORUM": "2"}, 1, "1 of the keys signed (tests-1), and 2 must"),
        ({"number": 2}, {"CONFIG_KEYS": ""}, 2, "CONFIG_KEYS is not set: the public keys that may sign"),
        ({"number": 2}, {"CONFIG_KEYS": "tests-1"}, 2, "CONFIG_KEYS must be name:key"),
        ({"number": 2, "policy": "forbid (principal, action, resource);"}, {}, 2, "its policy answers nothing: line 1"),
    ],
    ids=["not the next", "after another", "not a key of ours", "quorum", "no keys", "no form", "policy"],
)
def test_what_may_not_be_applied_is_refused_and_its_twin_is_not(
    desk: Desk, fault: Json, variables: dict[str, str], code: int, said: str
) -> None:
    """Each with what is wrong; nothing is written."""
    desk.apply(1)
    refused = desk.typed("config", "apply", desk.file(**fault), **variables)
    assert (refused.exit_code, refused.stdout) == (code, "")
    assert said in refused.stderr
    assert desk.ledger.read(newest_number) == 1
    assert desk.typed("config", "apply", desk.file(2)).exit_code == 0


def test_a_bundle_that_is_none_is_told_by_its_file(desk: Desk) -> None:
    """Not there, or something else, or changed since it was signed."""
    file = desk.file(1)
    document = json.loads(Path(file).read_text("utf-8"))
    document["payload"] = document["payload"][:-8] + "AAAAAAAA"
    for text, said in (
        ("{}", "not a signed configuration"),
        (json.dumps(document), "the signature of tests-1 is not good"),
    ):
        Path(file).write_text(text, "utf-8")
        refused = desk.typed("config", "apply", file)
        assert (refused.exit_code, file in refused.stderr, said in refused.stderr) == (2, True, True)
    missing = desk.typed("config", "apply", str(desk.folder / "none"))
    assert (missing.exit_code, "cannot be read" in missing.stderr) == (2, True)


def test_as_many_must_sign_as_the_functions_want(desk: Desk) -> None:
    """Two of two: by signing the bundle of somebody else."""
    from examples.keys import key, pem  # noqa: PLC0415  # only here

    keys = f"{CONFIG_KEYS_TEXT},{SECOND}:{public(key(SECOND))}"
    (desk.folder / "second.pem").write_text(pem(SECOND), "utf-8")
    file = desk.file(1)
    both = {"CONFIG_KEYS": keys, "CONFIG_QUORUM": "2"}
    assert desk.typed("config", "apply", file, **both).exit_code == 1
    signing = ("config", "sign", file, "--key", str(desk.folder / "second.pem"), "--kid", SECOND, "-o", file)
    assert desk.typed(*signing, **both).exit_code == 0
    assert desk.typed("config", "apply", file, **both).exit_code == 0
    assert desk.facts("config", "history")[0]["signers"] == [SIGNER, SECOND]


# -- what it would make of what is there ---------------------------------------------------------------------------------


def written(desk: Desk, **changes: Any) -> str:
    """A configuration as the folder that people edit."""
    folder = desk.folder / "config"
    desk.typed("config", "init", str(folder))
    content = configuration(**{"accounts": ACCOUNTS, **changes}).content
    people = content["people"]
    assert isinstance(people, dict)
    for name, document in (
        ("accounts", content["inventory"]),
        ("issuers", {"version": 1, "issuers": content["issuers"]}),
        ("people", people),
    ):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(document), "utf-8")
    (folder / "policy.cedar").write_text(str(content["policy"]), "utf-8")
    return str(folder)


def test_a_difference_says_which_live_leases_would_not_be_admitted(desk: Desk) -> None:
    """Before it is signed, and when it is applied; they stay as they are. A twin that admits them names none."""
    desk.apply(1)
    kept, refused = (approval(SPOKE, f"vpc-{name}") for name in ("kept", "refused"))
    for one in (kept, refused):
        desk.admit(one)
    scope = {"self-service": {"kinds": ["VPC"]}, "forms": {"accounts": [HUB]}}
    other = approval(SPOKE, "vpc-other", issuer="forms")
    desk.admit(other)
    found = desk.facts("config", "diff", written(desk, issuers=scope))
    assert [(one["request_id"], one["code"]) for one in found["not_admitted"]] == [(other["request_id"], "BeyondScope")]
    assert f"issuer forms: accounts is [{HUB}], was any" in found["difference"]
    assert found["against"] == {"number": 1, "digest": desk.last}
    told = desk.typed("config", "diff", written(desk, issuers=scope)).stdout
    assert f"{other['request_id']} of forms on g-" in told
    assert f"--number 2 --previous {desk.last}" in told
    by_policy = desk.facts("config", "diff", written(desk, policy=NO_LONGER))
    assert len(by_policy["not_admitted"]) == 3
    assert {one["why"] for one in by_policy["not_admitted"]} == {"You must ask for a day at most."}
    assert desk.facts("config", "diff", written(desk))["not_admitted"] == []
    applied = desk.apply(2, issuers=scope)
    assert [one["request_id"] for one in applied["not_admitted"]] == [other["request_id"]]
    assert len(desk.facts("grants")) == 3


@pytest.mark.parametrize("state", list(KeyState))
def test_leases_of_a_compromised_key_are_told_apart(desk: Desk, state: KeyState) -> None:
    """A retired one's stand."""
    desk.apply(1)
    one = approval(SPOKE, "vpc-1")
    desk.admit(one)
    entry = rights("self-service")
    entry["keys"]["keys"][0]["state"] = state
    told = desk.apply(2, issuers={"self-service": entry})
    assert [each["request_id"] for each in told["compromised"]] == [one["request_id"]] * (state == KeyState.COMPROMISED)
    assert told["not_admitted"] == []


def test_a_replay_tells_which_decisions_would_be_others(desk: Desk) -> None:
    """Each recorded question is asked again; exit code 1 when one is answered otherwise. What is older is not asked."""
    desk.apply(1)
    event = desk.admit(approval(SPOKE, "vpc-1"))
    assert desk.facts("config", "replay") == {"days": 90, "decisions": 1, "flips": []}
    found = desk.facts("config", "replay", written(desk, policy=NO_LONGER), code=1)
    [flip] = found["flips"]
    assert (flip["event"], flip["was"], flip["would_be"], flip["rules"]) == (event, "allowed", "refused", ["a-day"])
    told = desk.typed("config", "replay", written(desk, policy=NO_LONGER))
    assert "was allowed, would be refused: You must ask for a day at most." in told.stdout
    assert "1 decision would be others" in told.stderr
    desk.write(events.update().values(at=events.c.at - 3 * 86_400_000))
    assert desk.facts("config", "replay", written(desk, policy=NO_LONGER), "--days", "2")["decisions"] == 0


def test_a_recorded_decision_is_explained(desk: Desk) -> None:
    """By the rules as they stood then, whatever holds now; by its id or its number."""
    desk.apply(1)
    event = desk.admit(approval(SPOKE, "vpc-1"))
    desk.apply(2, policy=NO_LONGER)
    told = desk.facts("policy", "explain", event)
    assert (told["configuration"], told["answer"]["allowed"], told["answer"]["rules"]) == (1, True, ["may-vouch"])
    by_number = desk.typed("policy", "explain", str(told["number"]))
    assert 'Issuer::"self-service" may vouch Grant::"g-' in by_number.stdout
    assert 'permit (principal, action == Action::"vouch", resource);' in by_number.stdout
    assert "context.endless = true" in by_number.stdout
    assert desk.typed("policy", "explain", "none").exit_code == 1
    other = desk.typed("policy", "explain", "1")
    assert (other.exit_code, "policy was not asked about that" in other.stderr) == (1, True)


# -- who may -------------------------------------------------------------------------------------------------------------


def commands(desk: Desk) -> Iterator[tuple[str, ...]]:
    """Each command that changes something, as it could be done now."""
    yield ("mode", "full")
    yield ("hold", "account", SPOKE, "--reason", "a test")
    yield ("config", "apply", desk.file(2, policy=ONLY_KNOWN, people=PEOPLE))


PEOPLE = {"persons": {"somebody": {"subjects": ["login:somebody"]}, "keeper": {"subjects": ["login:keeper"]}}}


def test_policy_says_who_may_change_something(desk: Desk) -> None:
    """The refusal is the advice, exit code 1, and nothing is changed; its twin is done by somebody who may."""
    desk.apply(1, policy=ONLY_KNOWN, people=PEOPLE)
    for words in commands(desk):
        refused = desk.typed(*words)
        assert (refused.exit_code, refused.stdout) == (1, ""), words
        assert refused.stderr == "ecr-grants: You must be listed in people.yaml, as login:name.\n"
        assert desk.typed(*words, "--as", "keeper").exit_code == 0
    lifting = ("lift", "account", SPOKE)
    assert desk.typed(*lifting).stderr == "ecr-grants: You must be listed in people.yaml, as login:name.\n"
    assert len(desk.facts("hold")) == 1
    assert desk.typed(*lifting, "--as", "keeper").exit_code == 0


def test_policy_says_who_may_redrive_what_is_dead(desk: Desk) -> None:
    """Of each thing; a dry run changes nothing, so nobody is asked."""
    desk.apply(1, policy=ONLY_KNOWN, people=PEOPLE)
    desk.admit(approval(SPOKE, "vpc-1"))
    [one] = desk.facts("grants")
    work = desk.ledger.read(work_of, one["grant_id"])
    desk.ledger.write(mark_dead, work, Reason(code="PermissionMissing", text="not allowed"), now_ms())
    [dead] = desk.facts("dead", "list")
    assert desk.typed("dead", "redrive", dead["name"], "--dry-run").exit_code == 0
    refused = desk.typed("dead", "redrive", dead["name"])
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert refused.stderr == f"ecr-grants: {dead['name']}: You must be listed in people.yaml, as login:name.\n"
    assert desk.typed("dead", "redrive", dead["name"], "--as", "keeper").exit_code == 0


def test_where_no_configuration_was_applied_nobody_is_asked(desk: Desk) -> None:
    """And that is said. Once there is one, CONFIG_KEYS must be set."""
    done = desk.typed("mode", "full", CONFIG_KEYS="")
    assert (done.exit_code, "no configuration was applied yet, so no policy was asked" in done.stderr) == (0, True)
    desk.apply(1)
    for variables, said in (
        ({"CONFIG_KEYS": ""}, "CONFIG_KEYS is not set: the public keys that may sign a configuration"),
        ({"CONFIG_QUORUM": "many"}, "CONFIG_QUORUM must be a whole number"),
    ):
        refused = desk.typed("mode", "observe", **variables)
        assert (refused.exit_code, said in refused.stderr) == (2, True)
    assert desk.ledger.read(said_mode) == "full"
    assert desk.typed("mode", CONFIG_KEYS="").exit_code == 0  # only looks


def test_while_the_newest_cannot_be_verified_the_last_that_can_decides(desk: Desk) -> None:
    """Somebody wrote a row; a version that follows it mends that."""
    desk.apply(1, policy=ONLY_KNOWN, people=PEOPLE)
    desk.variables = {**desk.variables, "ECR_GRANTS_USER": "keeper"}
    desk.apply(2)
    desk.write(configurations.update().where(configurations.c.number == 2).values(bundle="{}"))
    refused = desk.typed("mode", "full", "--as", "operator")
    assert refused.exit_code == 1
    assert "asked was the policy of version 1, the last that can be verified" in refused.stderr
    assert "You must be listed" in refused.stderr
    shown = desk.typed("config", "show")
    assert (shown.exit_code, "the functions do not believe it: configuration 2" in shown.stderr) == (1, True)
    assert desk.apply(3)["difference"][0] == "compared with version 1, the last that could be verified"
    assert desk.typed("mode", "full").exit_code == 0


def test_where_no_version_can_be_verified_only_its_successor_can_be_applied(desk: Desk) -> None:
    """Whoever deploys is the root of trust: the keys that are in the functions' environment now, and no others."""
    from examples.keys import key  # noqa: PLC0415  # only here

    desk.apply(1)
    desk.variables = {"CONFIG_KEYS": f"{SECOND}:{public(key(SECOND))}"}
    refused = desk.typed("mode", "full")
    assert (refused.exit_code, "nobody can tell whether operator may do this" in refused.stderr) == (1, True)
    assert desk.apply(2, signer=SECOND)["number"] == 2
    assert desk.typed("mode", "full").exit_code == 0


def test_who_locks_themselves_out_is_told(desk: Desk) -> None:
    """While others can still apply another version."""
    told = desk.typed("config", "apply", desk.file(1, policy=ONLY_KNOWN))
    assert told.exit_code == 0
    assert "by this version operator may not apply the next one: You must be listed" in told.stderr
    assert "by this version" not in desk.typed("config", "apply", desk.file(1), "--as", "somebody").stderr
