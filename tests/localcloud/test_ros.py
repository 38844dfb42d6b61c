"""``python -m localcloud from``: what templates come to as a world, and what is refused, each by name and with its line."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from localcloud.__main__ import main

HUB = "1000000000000001"
TEMPLATE = """\
ROSTemplateFormatVersion: '2015-09-01'
Parameters:
  Name: {Type: String, AllowedPattern: '[a-z]+', Default: work}
  Others: {Type: String, MinLength: 1, MaxLength: 40}
  Seconds: {Type: Number, MinValue: 1, MaxValue: 60, Default: 30}
  Wanted: {Type: String, AllowedValues: ['yes', 'no'], Default: 'no'}
Conditions:
  Wanted: {'Fn::Equals': ['yes', {Ref: Wanted}]}
Resources:
  Dead:
    Type: ALIYUN::MNS::Queue
    Properties: {QueueName: {'Fn::Sub': '${Name}-dead'}}
  Work:
    Type: ALIYUN::MNS::Queue
    Properties:
      QueueName: {Ref: Name}
      VisibilityTimeout: {Ref: Seconds}
      DlqPolicy: {Enabled: true, DeadLetterTargetQueue: {'Fn::GetAtt': [Dead, QueueName]}, MaxReceiveCount: 3}
  News:
    Type: ALIYUN::MNS::Topic
    Properties: {TopicName: news}
  Tell:
    Type: ALIYUN::MNS::Subscription
    DependsOn: Work
    Properties:
      TopicName: {'Fn::GetAtt': [News, TopicName]}
      SubscriptionName: tell
      Endpoint: {'Fn::Sub': 'acs:mns:${ALIYUN::Region}:${ALIYUN::AccountId}:queues/${Name}'}
      PushType: queue
      FilterTag: red
      NotifyContentFormat: JSON
      DlqPolicy: {Enabled: true, DeadLetterTargetQueue: {'Fn::GetAtt': [Dead, QueueName]}}
  Entry:
    Type: ALIYUN::RAM::Role
    Properties:
      RoleName: entry
      AssumeRolePolicyDocument:
        Version: '1'
        Statement: [{Effect: Allow, Action: 'sts:AssumeRole', Principal: {Service: [fc.aliyuncs.com]}}]
      Policies:
        - PolicyName: enter
          PolicyDocument:
            Version: '1'
            Statement:
              - Effect: Allow
                Action: ['sts:AssumeRole']
                Resource:
                  'Fn::Split':
                    - ','
                    - 'Fn::Join':
                        - ''
                        - - 'acs:ram::'
                          - {'Fn::Join': [':role/other,acs:ram::', {'Fn::Split': [',', {Ref: Others}]}]}
                          - ':role/other'
  Send:
    Type: ALIYUN::RAM::ManagedPolicy
    Condition: Wanted
    Properties:
      PolicyName: send
      PolicyDocument:
        Version: '1'
        Statement: [{Effect: Allow, Action: ['mns:SendMessage'], Resource: ['*']}]
      Roles: [{'Fn::GetAtt': [Entry, RoleName]}]
  Log:
    Type: ALIYUN::SLS::Project
    DeletionPolicy: Retain
    Properties: {Name: log}
Outputs:
  Arn: {Value: {'Fn::GetAtt': [Entry, Arn]}}
"""
STACKS: dict[str, Any] = {
    "region": "cn-hangzhou",
    "stacks": [
        {"template": "one.yaml", "account": HUB, "parameters": {"Others": "2000000000000002,3000000000000003"}},
    ],
}


USERS = {"one": {"access_key": {"id": "LTAI-example-one", "secret": "example-secret"}}}


def apply(
    folder: Path, capsys: pytest.CaptureFixture[str], template: str = TEMPLATE, stacks: Any = None, *more: str
) -> tuple[int, str, str]:
    """Write both files and run the command."""
    (folder / "one.yaml").write_text(template, "utf-8")
    (folder / "example-stacks.yaml").write_text(yaml.safe_dump(stacks or STACKS), "utf-8")
    code = main(["from", str(folder), *more])
    return (code, *capsys.readouterr())


def given(**parameters: Any) -> Any:
    """The stacks with some parameters more."""
    [stack] = STACKS["stacks"]
    return {**STACKS, "stacks": [{**stack, "parameters": {**stack["parameters"], **parameters}}]}


def test_a_template_becomes_a_world(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Queues, dead letters, topic, subscription, role and policy, with every expression filled in."""
    code, out, err = apply(tmp_path, capsys)

    assert (code, err) == (
        0,
        "left out of one.yaml: Log (ALIYUN::SLS::Project): the local cloud keeps the functions' logs itself\n",
    )
    account = yaml.safe_load(out)["accounts"][HUB]
    assert account["queues"]["work"]["VisibilityTimeout"] == 30
    assert account["queues"]["work"]["dead_letter"] == {"queue": "work-dead", "max_receives": 3}
    assert account["topics"]["news"]["subscriptions"]["tell"] == {
        "queue": "work",
        "filter_tag": "red",
        "format": "JSON",
        "strategy": "BACKOFF_RETRY",
        "dead_letter": "work-dead",
    }
    [statement] = account["roles"]["entry"]["policies"]["enter"]["Statement"]
    assert statement["Resource"] == ["acs:ram::2000000000000002:role/other", "acs:ram::3000000000000003:role/other"]
    assert list(account["roles"]["entry"]["policies"]) == ["enter"]


def test_a_condition_that_holds_makes_the_resource(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And a managed policy is attached to the roles it names."""
    code, out, _ = apply(tmp_path, capsys, TEMPLATE, given(Wanted="yes"))

    assert code == 0
    assert set(yaml.safe_load(out)["accounts"][HUB]["roles"]["entry"]["policies"]) == {"enter", "send"}


def test_a_world_keeps_what_no_stack_makes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Users get the policies that are attached to them; a role that a stack makes takes the place of the one that was there."""
    base = {
        "version": 1,
        "accounts": {
            HUB: {
                "vpcs": [{"id": "vpc-1", "region": "cn-hangzhou", "cidr": "10.0.0.0/16"}],
                "users": USERS,
                "roles": {"entry": {"trust": {"Version": "1", "Statement": []}, "policies": {"old": {}}}},
                "queues": {"mine": {}},
                "topics": {"news": {"subscriptions": {"mine": {"queue": "mine"}}}},
            }
        },
    }
    (tmp_path / "base.yml").write_text(yaml.safe_dump(base), "utf-8")
    attached = {**given(Wanted="yes"), "attach": {HUB: {"one": ["send"]}}}

    code, out, err = apply(tmp_path, capsys, TEMPLATE, attached, "--world", str(tmp_path / "base.yml"))

    assert code == 0, err
    account = yaml.safe_load(out)["accounts"][HUB]
    assert account["vpcs"][0]["id"] == "vpc-1"
    assert list(account["users"]["one"]["policies"]) == ["send"]
    assert set(account["roles"]["entry"]["policies"]) == {"enter", "send"}
    assert set(account["topics"]["news"]["subscriptions"]) == {"mine", "tell"}
    assert set(account["queues"]) == {"mine", "work", "work-dead"}


def test_without_a_world_policies_are_attached_to_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No template makes users, so that is said and stops nothing."""
    code, out, err = apply(tmp_path, capsys, TEMPLATE, {**given(Wanted="yes"), "attach": {HUB: {"one": ["send"]}}})
    assert code == 0
    assert "attached to nobody without --world: send\n" in err
    assert "users" not in yaml.safe_load(out)["accounts"][HUB]


def test_what_cannot_be_attached_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A user who is not there, a policy that nobody makes."""
    (tmp_path / "base.yml").write_text(yaml.safe_dump({"version": 1, "accounts": {HUB: {"users": USERS}}}), "utf-8")
    attached = {**STACKS, "attach": {HUB: {"nobody": ["enter"], "one": ["gone"]}}}
    code, out, err = apply(tmp_path, capsys, TEMPLATE, attached, "--world", str(tmp_path / "base.yml"))
    assert (code, out) == (1, "")
    assert f"attach.{HUB}.nobody: the world has no such user" in err
    assert f"attach.{HUB}.one: no stack makes the policy gone" in err


def test_the_templates_that_ship_can_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    """As the document says it, from the project's folder."""
    assert main(["from", str(Path(__file__).parents[2] / "deploy")]) == 0
    assert set(yaml.safe_load(capsys.readouterr().out)["accounts"]) == {HUB, "2000000000000002", "3000000000000003"}


def test_a_template_that_is_not_applied_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody has to guess whether it was looked at."""
    (tmp_path / "two.yaml").write_text(TEMPLATE, "utf-8")
    assert "not applied: two.yaml\n" in apply(tmp_path, capsys)[2]


@pytest.mark.parametrize(
    ("line", "instead", "number", "said"),
    [
        ("Type: ALIYUN::MNS::Topic", "Type: ALIYUN::OSS::Bucket", 20, "ALIYUN::OSS::Bucket is not emulated"),
        ("Type: ALIYUN::MNS::Topic", "Type: ALIYUN::MNS::Topics", 20, "(did you mean 'ALIYUN::MNS::Topic'?)"),
        ("PushType: queue", "PushType: http", 29, "Resources.Tell.Properties.PushType: Input should be 'queue'"),
        ("FilterTag: red", "FilterTags: red", 30, "Resources.Tell.Properties.FilterTags: not emulated"),
        ("SubscriptionName: tell", "Name: tell", 25, "Resources.Tell.Properties.SubscriptionName: is missing"),
        ("DeletionPolicy: Retain", "Count: 3", 66, "Resources.Log.Count: not emulated"),
        ("Outputs:", "Mappings: {}\nOutputs:", 68, "Mappings: not emulated"),
        ("DependsOn: Work", "DependsOn: Wrok", 24, "no such resource: Wrok (did you mean 'Work'?)"),
        ("Condition: Wanted", "Condition: Unwanted", 57, "no such condition: Unwanted"),
        ("QueueName: {Ref: Name}", "QueueName: {Ref: Nmae}", 16, "no such parameter: 'Nmae' (did you mean 'Name'?)"),
        ("QueueName: {Ref: Name}", "QueueName: {Ref: Name, Also: x}", 16, "Ref stands alone in its mapping"),
        ("QueueName: {Ref: Name}", "QueueName: {'Fn::If': [Wanted, a, b]}", 16, "Fn::If: not emulated"),
        ("QueueName: {Ref: Name}", "QueueName: {'Fn::Sub': [a, {}]}", 16, "the form with a map is not emulated"),
        ("QueueName: {Ref: Name}", "QueueName: {'Fn::Sub': '${Nmae}'}", 16, "no such parameter: 'Nmae'"),
        ("QueueName: {Ref: Name}", "QueueName: {'Fn::Join': [a]}", 16, "two values are wanted"),
        ("QueueName: {Ref: Name}", "QueueName: {'Fn::Join': [',', a]}", 16, "[delimiter, list] is wanted"),
        ("QueueName: {Ref: Name}", "QueueName: {'Fn::Split': ['', a]}", 16, "a delimiter is wanted"),
        ("{'Fn::GetAtt': [News, TopicName]}", "{'Fn::GetAtt': [News, Name]}", 26, "has no attribute 'Name' here"),
        ("{'Fn::GetAtt': [News, TopicName]}", "{'Fn::GetAtt': [Nwes, TopicName]}", 26, "no such resource: Nwes"),
        ("{'Fn::GetAtt': [News, TopicName]}", "{'Fn::GetAtt': News.TopicName}", 26, "[resource, attribute] is wanted"),
        ("{'Fn::GetAtt': [News, TopicName]}", "other", 1, "no such topic: other, of the subscriptions tell"),
        (
            "{'Fn::GetAtt': [Entry, Arn]}",
            "{'Fn::GetAtt': [Entry, Ern]}",
            69,
            "ALIYUN::RAM::Role has no attribute 'Ern'",
        ),
        ("queues/${Name}", "queue/${Name}", 22, "Endpoint: a queue of this account and region is wanted"),
        ("PolicyName: send", "PolicyName: enter", 55, "there is a policy enter already"),
        ("QueueName: {'Fn::Sub': '${Name}-dead'}", "QueueName: work", 13, "there is a queue work already"),
        ("'2015-09-01'", "2015-09-01", 1, "ROSTemplateFormatVersion: Input should be '2015-09-01'"),
        ("Default: work", "Default: WORK", 3, "parameter Name must match [a-z]+, found 'WORK'"),
        ("Default: 30", "Default: 61", 5, "parameter Seconds must be from 1 to 60, found 61"),
        ("Default: 30", "Default: soon", 5, "parameter Seconds a number is wanted, found 'soon'"),
        ("Default: 'no'", "Default: perhaps", 6, "parameter Wanted must be one of yes, no, found 'perhaps'"),
    ],
)
def test_what_is_not_emulated_or_not_there_is_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str, instead: str, number: int, said: str
) -> None:
    """With the line it stands on; nothing is printed that could be taken for a world."""
    assert line in TEMPLATE
    # What is given comes before a default, so that one stays a default.
    stacks = STACKS if "Default" in line else given(Wanted="yes")
    code, out, err = apply(tmp_path, capsys, TEMPLATE.replace(line, instead, 1), stacks)

    assert (code, out) == (1, "")
    assert said in err
    assert re.search(rf"one\.yaml:{number}: ", err), err


@pytest.mark.parametrize(
    ("stacks", "said"),
    [
        (given(Othres="x"), "no such parameter: Othres (did you mean 'Others'?)"),
        (given(Others=""), "parameter Others must have 1 to 40 letters, found 0"),
        (given(Others=17), "parameter Others a text is wanted, quote it; found 17"),
        (
            {**STACKS, "stacks": [{"template": "one.yaml", "account": HUB}]},
            "parameter Others is not given, and has no default",
        ),
        ({**STACKS, "stacks": STACKS["stacks"] * 2}, "there is a queue work-dead already"),
        ({**STACKS, "stacks": []}, "stacks: List should have at least 1 item"),
        ({**STACKS, "stacks": [{"template": "gone.yaml", "account": HUB}]}, "gone.yaml:1: cannot be read"),
        ({**STACKS, "region": "cn-moon"}, "region: unknown region 'cn-moon'"),
    ],
)
def test_stacks_that_cannot_be_applied_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], stacks: Any, said: str
) -> None:
    """A parameter, a template or a user that is not there; a name that is taken."""
    code, out, err = apply(tmp_path, capsys, TEMPLATE, stacks)

    assert (code, out) == (1, "")
    assert said in err
