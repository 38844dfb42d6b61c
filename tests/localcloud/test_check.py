"""check tells every mistake at once, with its line; world tells every key."""

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localcloud.__main__ import main
from localcloud.worldfile import WorldError, check_world, parse_world
from localcloud.worldschema import outline, schema

ROOT = Path(__file__).parents[2]

WORLD = """\
version: 2
region: cn-hangzou
deploy: {account: "1000000000000009"}
switches: {grant_twise: conflict, freeze: maybe}
quotas:
  sts:AssumeRoll: {limit: 1, seconds: 1}
  sts:AssumeRole: {limit: 0, seconds: 1}
settle: {association_second: 1, lock_seconds: -1}
faults:
  - {kind: slow}
  - {kind: explode}
  - {kind: slow, seconds: 1, colour: blue}
accounts:
  1000000000000001:
    colour: blue
    users:
      one:
        access_key: {id: LTAI-example-a, secret: x}
        policies:
          p:
            Version: 1
            Statement:
              - {Effect: Allows, Action: [nonsense, "mns:*"], Resource: ["*"], Colour: blue}
              - Effect: Allow
                Action: ["mns:*"]
                Resource: [acs]
                Condition:
                  StringIs: {acs:SourceIp: x}
                  StringEquals: {acs:Colour: x}
      two:
        access_key: {id: LTAI-example-a, secret: ""}
    roles:
      r: {max_session_seconds: 1}
      s:
        trust: {Version: "1", Statement: [{Effect: Allow, Action: "sts:AssumeRole", Principal: {RAM: [nobody]}}]}
    vpcs:
      - {id: vpc-1, region: moon, cidr: 10.0.0.1/8}
      - {id: VPC, region: cn-hangzhou, cidr: 10.0.0.0/8}
      - {id: vpc-1, cidr: 10.0.0.0/8}
    queues:
      work: {VisibilityTimeout: 0, dead_letter: {queue: work}}
      work: {}
      dead: {dead_letter: {queue: deed}}
      small: {MaximumMessageSize: 1024}
    topics:
      news:
        subscriptions:
          a: {queue: nowhere, dead_letter: dead}
          b: {queue: small, format: YAML}
          c: {endpoint: "ftp://example.com"}
          d: {}
"""
EXPECTED = {
    1: ["version: Input should be 1; found 2"],
    2: ["region: unknown region 'cn-hangzou' (did you mean 'cn-hangzhou'?)"],
    3: ["deploy.account: no such account '1000000000000009' (did you mean '1000000000000001'?)"],
    4: [
        "switches.freeze: Input should be 'on' or 'off'; found 'maybe'",
        "switches.grant_twise: unknown key (value 'conflict') (did you mean 'grant_twice'?)",
    ],
    6: ["quotas.sts:AssumeRoll: unknown quota (did you mean 'sts:AssumeRole'?)"],
    7: ["quotas.sts:AssumeRole.limit: "],
    8: [
        "settle.association_second: unknown key (value 1) (did you mean 'association_seconds'?)",
        "settle.lock_seconds: ",
    ],
    10: ["faults.0: Value error, a slow fault needs seconds"],
    11: ["faults.1.kind: "],
    12: ["faults.2.colour: unknown key (value 'blue')"],
    14: ["the key 1000000000000001 must be a string: quote it (in accounts)"],
    15: ["accounts.1000000000000001.colour: unknown key (value 'blue'); known: name, "],
    21: ['accounts.1000000000000001.users.one.policies.p.Version: "1" (quoted) is wanted, found 1'],
    23: [
        "accounts.1000000000000001.users.one.policies.p.Statement[0].Action: 'nonsense' is not <product>:<operation>",
        "accounts.1000000000000001.users.one.policies.p.Statement[0].Colour: unknown element",
        "accounts.1000000000000001.users.one.policies.p.Statement[0].Effect: Allow or Deny is wanted, found 'Allows'",
    ],
    26: ["accounts.1000000000000001.users.one.policies.p.Statement[1].Resource: 'acs' is not acs:<product>"],
    28: ["accounts.1000000000000001.users.one.policies.p.Statement[1].Condition.StringIs: unknown condition operator"],
    29: [
        "accounts.1000000000000001.users.one.policies.p.Statement[1].Condition.StringEquals.acs:Colour: this condition"
    ],
    31: [
        "accounts.1000000000000001.users.two.access_key.secret: ",
    ],
    33: [
        "accounts.1000000000000001.roles.r.max_session_seconds: ",
        "accounts.1000000000000001.roles.r.trust: is missing",
    ],
    35: ["accounts.1000000000000001.roles.s.trust.Statement[0].Principal.RAM: 'nobody' is none of"],
    37: [
        "accounts.1000000000000001.vpc-1.region: unknown region 'moon'",
        "accounts.1000000000000001.vpcs.vpc-1.cidr: 10.0.0.1/8 has host bits set",
    ],
    38: ["accounts.1000000000000001.vpcs.1.id: "],
    39: ["accounts.1000000000000001.vpcs.2.region: is missing"],
    41: [
        "accounts.1000000000000001.queues.work.VisibilityTimeout: ",
        "accounts.1000000000000001.queues.work.dead_letter.queue: a queue cannot be its own dead-letter queue",
    ],
    42: ["the key 'work' is given twice in accounts.1000000000000001.queues, first on line 41"],
    43: [
        "accounts.1000000000000001.queues.dead.dead_letter.queue: no queue 'deed' in this account (did you mean 'dead'?)"
    ],
    48: ["accounts.1000000000000001.topics.news.subscriptions.a.queue: no queue 'nowhere' in this account"],
    49: [
        "accounts.1000000000000001.topics.news.subscriptions.b.format: ",
        "accounts.1000000000000001.topics.news.subscriptions.b.queue: MaximumMessageSize of the queue (1024) is smaller",
    ],
    50: ["accounts.1000000000000001.topics.news.subscriptions.c.endpoint: "],
    51: ["accounts.1000000000000001.topics.news.subscriptions.d: either queue or endpoint is wanted, found neither"],
}


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[str]]:
    """One command; its exit code and what it said."""
    capsys.readouterr()
    code = main(arguments)
    seen = capsys.readouterr()
    return code, (seen.out + seen.err).splitlines()


def compare(lines: list[str], file: Path, expected: dict[int, list[str]]) -> None:
    """Every expected mistake and no other, in the order of the file."""
    found: dict[int, list[str]] = {}
    for line in lines:
        matched = re.fullmatch(rf"{re.escape(str(file))}:(\d+): (.*)", line)
        assert matched, line
        found.setdefault(int(matched[1]), []).append(matched[2])
    assert list(found) == sorted(found)
    assert found.keys() == expected.keys(), (found.keys() ^ expected.keys(), lines)
    for number, starts in expected.items():
        assert len(found[number]) == len(starts), (number, found[number])
        for text, start in zip(found[number], starts, strict=True):
            assert text.startswith(start), (number, text)


def test_a_world_with_many_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Shapes, names, policies, references, duplicates: one run tells all of them, each on its line."""
    file = tmp_path / "world.yaml"
    file.write_text(WORLD)

    code, lines = run(capsys, "check", str(file))

    assert code == 1
    compare(lines, file, EXPECTED)


TEMPLATE = """\
edition: 3.0.0
name: many
extra: 1
vars: {region: cn-hangzhou}
resources:
  one:
    component: fc2
    props:
      region: ${vars.regoin}
      functionName: has space
      runtime: python3.11
      code: ./
      handlr: index.handler
      memorySize: 500
      memorySize: 512
      cpu: "1"
      timeout: 0
      layers: []
      instanceConcurrency: 2
      environmentVariables: {FC_X: "1", 1A: "2", A: 3}
      logConfig: {project: p}
      triggers:
        - triggerName: t
          triggerType: timer
          triggerConfig: {cronExpression: "* * * * *", enable: "yes", payloads: x}
        - triggerName: q
          triggerType: eventbridge
          triggerConfig: {triggerEnabled: true}
        - {triggerName: m, triggerType: mns_topic}
  two:
    component: fc3
    props:
      region: cn-hangzhou
      functionName: two
      runtime: python3.12
      code: ./nowhere
      cpu: 4
  three:
    component: fc3
    props: {region: cn-hangzhou, functionName: two, runtime: custom, code: ./, role: nobody}
  four:
    component: fc3
    props: {region: cn-shanghai, functionName: two, runtime: python3.12, code: ./, handler: a.b, description: "${env('D')}"}
"""
TEMPLATE_EXPECTED = {
    3: ["unknown key 'extra'"],
    7: ["resources.one.component: component 'fc2' is not emulated; 'fc3' is"],
    9: ["resources.one.props.region: ${vars.regoin} leads nowhere: there is no 'regoin'"],
    10: ["resources.one.props.functionName: String should match pattern"],
    11: ["resources.one.props.runtime: 'python3.11' is not a runtime"],
    13: ["resources.one.props: unknown key 'handlr' (did you mean 'handler'?)"],
    14: ["resources.one.props.memorySize: Input should be a multiple of 64 (found 500)"],
    15: ["the key 'memorySize' is given twice in resources.one.props, first on line 14"],
    16: ["resources.one.props.cpu: Input should be a valid number (found '1')"],
    17: ["resources.one.props.timeout: "],
    18: ["resources.one.props: 'layers' is documented, but not emulated"],
    20: [
        "resources.one.props.environmentVariables.A: Input should be a valid string (found 3)",
        "resources.one.props.environmentVariables: '1A' must start with a letter",
        "resources.one.props.environmentVariables: 'FC_X': names that start with FC_ are reserved",
    ],
    21: ["resources.one.props.logConfig.logstore: this key is missing"],
    25: [
        "resources.one.props.triggers.0.triggerConfig.cronExpression: ",
        "resources.one.props.triggers.0.triggerConfig.enable: Input should be a valid boolean (found 'yes')",
        "resources.one.props.triggers.0.triggerConfig: unknown key 'payloads' (did you mean 'payload'?)",
    ],
    28: [
        "resources.one.props.triggers.1.triggerConfig.asyncInvocationType: this key is missing",
        "resources.one.props.triggers.1.triggerConfig.eventRuleFilterPattern: this key is missing",
        "resources.one.props.triggers.1.triggerConfig.eventSinkConfig: this key is missing",
        "resources.one.props.triggers.1.triggerConfig.eventSourceConfig: this key is missing",
        "resources.one.props.triggers.1.triggerConfig.runOptions: this key is missing",
        "resources.one.props.triggers.1.triggerConfig.triggerEnable: this key is missing",
        "resources.one.props.triggers.1.triggerConfig: unknown key 'triggerEnabled' (did you mean 'triggerEnable'?)",
    ],
    29: ["resources.one.props.triggers.2: triggerType 'mns_topic' is documented, but not emulated"],
    32: [
        "resources.two.props: cpu 4.0 with memorySize 512: vCPU to GB must be between 1:1 and 1:4",
        "resources.two.props: runtime python3.12 needs a handler",
    ],
    36: ["resources.two.props.code: './nowhere' is no folder"],
    40: ["resources.three.props: runtime custom needs customRuntimeConfig", "two resources are named 'two'"],
    43: ["two resources are named 'two'"],
}


def test_a_template_with_many_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An s.yaml is told apart from a world by its keys, and gets the same treatment."""
    file = tmp_path / "any.yaml"
    file.write_text(TEMPLATE)

    code, lines = run(capsys, "check", str(file))

    assert code == 1
    compare(lines, file, TEMPLATE_EXPECTED)


def test_a_template_is_held_against_a_world(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --world, roles, queues and functions that it names must be there; each is told with its line."""
    world = tmp_path / "world.yaml"
    world.write_text('version: 1\naccounts: {"1000000000000001": {queues: {work: {}}}}\n')
    text = (ROOT / "s.yaml").read_text()
    file = tmp_path / "s.yaml"
    file.write_text(text)

    code, lines = run(capsys, "check", str(file), "--world", str(world), "--env", f"CODE={tmp_path}")

    assert code == 1
    role = next(number for number, line in enumerate(text.splitlines(), 1) if line.strip().startswith("role:"))
    assert (
        f"{file}:{role}: resources.grant.props: role: account 1000000000000001 has no role 'ecr-grants-grant'"
        in "\n".join(lines)
    )
    assert any("has no queue 'ecr-approvals'" in line for line in lines)
    own = ["check", str(ROOT / "s.yaml"), "--env", "CODE=functions"]
    assert run(capsys, *own, "--world", str(ROOT / "examples" / "world.yaml"))[0] == 0


def test_the_projects_own_files_are_fine(capsys: pytest.CaptureFixture[str]) -> None:
    """What a template still needs to be told is said, and is no mistake."""
    code, lines = run(capsys, "check", str(ROOT / "s.yaml"), "--env", "CODE=functions")
    assert (code, "fine: 5 functions" in lines[0], "LEDGER_URL" in lines[0]) == (0, True, True)
    code, lines = run(capsys, "check", str(ROOT / "examples" / "world.yaml"))
    assert (code, "fine: 3 accounts" in lines[0]) == (0, True)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("version: 1\naccounts: [\n", 3, "not YAML"),
        ("version: 1\n\taccounts: {}", 2, "not YAML"),
        ("", 1, "(the file): Input should be a valid dictionary"),
        ("version: 1\naccounts: &a {x: *a}\n", 2, "an alias to something around it"),
        ("accounts: {}\n", 1, "version: is missing"),
    ],
)
def test_what_is_hardly_a_world(
    text: str, line: int, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Trouble with YAML itself has its line too."""
    file = tmp_path / "world.yaml"
    file.write_text(text)

    code, lines = run(capsys, "check", str(file))

    assert code == 1
    assert any(each.startswith(f"{file}:{line}: ") and words in each for each in lines), lines


def test_files_that_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A missing file and one that is no text are told like everything else."""
    (tmp_path / "binary").write_bytes(b"version: 1\n\xff")
    assert run(capsys, "check", str(tmp_path / "binary"))[1][0].startswith(f"{tmp_path / 'binary'}:2: not UTF-8")
    assert "No such file" in run(capsys, "check", str(tmp_path / "missing"))[1][0]
    assert "No such file" in run(capsys, "check", str(tmp_path / "s.yaml"))[1][0]


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(sorted(schema()["properties"])), inner),
    max_leaves=15,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(ANYTHING)
def test_no_world_breaks_the_checker(document: Any) -> None:
    """Whatever a file says, the answer is a list of mistakes, never another exception."""
    for whole in (document, {"version": 1, "accounts": {"1000000000000001": document}}):
        with suppress(WorldError):
            check_world(whole)
        with suppress(WorldError):
            parse_world(yaml.safe_dump(whole))


# What may be said


def described(part: Any, where: str = "") -> list[str]:
    """Places of properties without a description."""
    missing = []
    if isinstance(part, dict):
        for name, value in part.get("properties", {}).items():
            if not value.get("description"):
                missing.append(f"{where}.{name}")
        for key, value in part.items():
            missing += described(value, f"{where}.{key}")
    return missing


def test_the_schema_has_every_key(capsys: pytest.CaptureFixture[str]) -> None:
    """world --schema is a JSON Schema: every key described, switches and quotas by name."""
    code, lines = run(capsys, "world", "--schema")

    found = json.loads("\n".join(lines))
    assert code == 0
    assert found["$schema"].startswith("https://json-schema.org/")
    assert described(found) == []
    assert set(found["$defs"]["AccountSpec"]["properties"]) >= {"users", "roles", "vpcs", "queues", "topics", "ecrs"}
    assert "grant_twice" in found["properties"]["switches"]["properties"]
    assert "sts:AssumeRole" in found["properties"]["quotas"]["properties"]


def test_the_keys_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """Without --schema each key has a line."""
    code, lines = run(capsys, "world")

    assert code == 0
    assert lines == list(outline())
    text = "\n".join(lines)
    for start in (
        "version: 1, required.",
        "accounts.<uid>.vpcs[].cidr: string, required.",
        "accounts.<uid>.queues.<name>.VisibilityTimeout: integer from 1 to 43200, 30 when not given.",
        "accounts.<uid>.topics.<name>.subscriptions.<name>.format: one of XML, JSON, SIMPLIFIED",
        "switches.freeze: one of on, off",
        "quotas.sts:AssumeRole: ",
        "faults[].kind: one of throttle",
    ):
        assert f"\n{start}" in f"\n{text}", start
