"""The alarms and saved queries of the log, and the runbook beside them, made from the words: `python -m deploy.alarms`.

``deploy/alarms.yaml`` is a ROS template of its own beside the hub's: it needs the names of a log project and a Logstore whose
index has the facts (``deploy.facts.index``), and who is told. What nobody could verify on a live account is a parameter:
whether a rule made through ROS notifies without policies, and in which namespace queues are measured.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from deploy.queries import ERRORS, OUTBOX, PASSES, SAVED, Query, of_error
from deploy.runbook import document
from deploy.surroundings import DEAD_LETTER_QUEUES, FUNCTIONS

_HIGH, _CRITICAL = 8, 10  # severities of Log Service

Resource = dict[str, Any]


@dataclass(frozen=True)
class Alarm:
    """One rule over the log: how it is asked, and when a row of the answer is an alarm. Times as Log Service writes them."""

    query: Query
    condition: str
    description: str
    todo: str
    every: str = "1m"
    since: str = "-5m"  # longer than lines are under way
    severity: int = _HIGH

    @property
    def name(self) -> str:
        """The rule's name in the log project."""
        return f"ecr-grants-{self.query.name}"


@dataclass(frozen=True)
class Measured:
    """One rule over a metric of the platform: of each function, or of each dead-letter queue."""

    name: str
    metric: str
    namespace: str  # the parameter that names it
    condition: str
    resources: tuple[Resource, ...]
    description: str
    todo: str


def _in_region(**dimensions: str) -> Resource:
    return {"region": {"Ref": "ALIYUN::Region"}, **dimensions}


OF_WORDS = tuple(
    Alarm(of_error(word), "lines > 0", " ".join((word.facts.__doc__ or "").split()), word.todo) for word in ERRORS
)
OF_FIGURES = (
    Alarm(
        PASSES,
        "passes < 1",
        "No pass of reconcile came to its end in sixteen minutes: three of its ticks.",
        "See `start.failed` and `ledger.away` first. Else the trigger `tick` is off, the function is throttled, or the log does "
        "not arrive; `ecr-grants run reconcile` says which. Ends are not noticed meanwhile, nor is drift, and nothing mends a "
        "lost wake.",
        every="5m",
        since="-16m",
        severity=_CRITICAL,
    ),
    Alarm(
        OUTBOX,
        "seconds > 900",
        "A completion has been recorded for more than a quarter of an hour, and is not out.",
        "`queue.refused`, `completion.refused` or `completion.kept` says why. Whoever waits for an answer does not have it yet; "
        "it goes out by itself once the topic takes it.",
        every="5m",
        since="-16m",
    ),
)
OF_METRICS = (
    Measured(
        "function-errors",
        "FunctionFunctionErrors",
        "FunctionMetrics",
        "WithMetrics",
        tuple(_in_region(functionName=name) for name in FUNCTIONS),
        "A function could not start, ran out of time or memory, or raised an error.",
        "The lines of that time say which: `start.failed` or `ledger.away` where it still could say so, else the last line of "
        "its log. Out of memory or time: give it more in `s.yaml`. What it was handed comes back.",
    ),
    Measured(
        "dead-letters",
        "NumberOfMessagesVisible",
        "QueueMetrics",
        "WithQueueMetrics",
        tuple(_in_region(queue=one.name) for one in DEAD_LETTER_QUEUES),
        "A message lies in a dead-letter queue: no function could take it.",
        "`ecr-grants dead list` has it with its request and its people, `ecr-grants dead show NAME` says what it means; mend "
        "what kept the function from it, then `ecr-grants dead redrive NAME`.",
    ),
)


def _parameter(description: str, default: str | None = None) -> Resource:
    found: Resource = {"Type": "String", "Description": description}
    return found if default is None else {**found, "Default": default}


PARAMETERS: Resource = {
    "LogProject": _parameter("The log project of the functions."),
    "Logstore": _parameter("The Logstore in it that the functions write to.", "functions"),
    "ActionPolicy": _parameter("The id of the action policy that says who is told, and how."),
    "AlertPolicy": _parameter(
        "The id of the alert policy; the built-in one follows the action policy.", "sls.builtin.dynamic"
    ),
    "ContactGroup": _parameter("Whom CloudMonitor tells; empty: no rules over metrics.", ""),
    "FunctionMetrics": _parameter("CloudMonitor's namespace of Function Compute.", "acs_fc"),
    "QueueMetrics": _parameter(
        "CloudMonitor's namespace of queues (not verified); empty: no rules over queues.", "acs_mns_new"
    ),
}


def _set(parameter: str) -> Resource:
    return {"Fn::Not": {"Fn::Equals": [{"Ref": parameter}, ""]}}


def template() -> Resource:
    """The whole template."""
    resources: Resource = {}
    for alarm in (*OF_WORDS, *OF_FIGURES):
        resources[_id("alarm", alarm.query.name)] = _alert(alarm)
    for measured in OF_METRICS:
        for number, where in enumerate(measured.resources, 1):
            resources[_id("alarm", measured.name, str(number))] = _metric_rule(measured, where)
    for query in SAVED:
        resources[_id("query", query.name)] = _saved(query)
    return {
        "ROSTemplateFormatVersion": "2015-09-01",
        "Description": "Alarms and saved queries of ECR Grants. Made by python -m deploy.alarms; do not edit.",
        "Parameters": PARAMETERS,
        "Conditions": {
            "WithMetrics": _set("ContactGroup"),
            "WithQueueMetrics": {"Fn::And": [_set("ContactGroup"), _set("QueueMetrics")]},
        },
        "Resources": resources,
    }


def _id(*parts: str) -> str:
    return "".join(word.capitalize() for part in parts for word in part.split("-"))


def _alert(alarm: Alarm) -> Resource:
    """A rule of Log Service. Its placeholder for a dashboard is the one that its own examples use."""
    notes = {"title": f"ECR Grants: {alarm.query.name}", "desc": f"{alarm.description} {alarm.todo}"}
    configuration = {
        "Version": "2.0",
        "Type": "default",
        "Dashboard": "internal-alert-analysis",
        "QueryList": [
            {
                "StoreType": "log",
                "Region": {"Ref": "ALIYUN::Region"},
                "Project": {"Ref": "LogProject"},
                "Store": {"Ref": "Logstore"},
                "Query": alarm.query.text,
                "TimeSpanType": "Relative",
                "Start": alarm.since,
                "End": "now",
                "PowerSqlMode": "auto",
            }
        ],
        "GroupConfiguration": {"Type": "no_group", "Fields": []},
        "JoinConfigurations": [],
        "SeverityConfigurations": [
            {"Severity": alarm.severity, "EvalCondition": {"Condition": alarm.condition, "CountCondition": ""}}
        ],
        "Threshold": 1,
        "SendResolved": False,
        "NoDataFire": False,
        "AutoAnnotation": True,
        "Annotations": [{"Key": key, "Value": value} for key, value in notes.items()],
        "Labels": [],
        "PolicyConfiguration": {
            "AlertPolicyId": {"Ref": "AlertPolicy"},
            "ActionPolicyId": {"Ref": "ActionPolicy"},
            "RepeatInterval": "1h",
        },
    }
    detail = {
        "Name": alarm.name,
        "DisplayName": f"ECR Grants: {alarm.query.name}",
        "Type": "Alert",
        "State": "Enable",
        "Description": alarm.description,
        "Schedule": {"Type": "FixedRate", "Interval": alarm.every},
        "Configuration": configuration,
    }
    return {"Type": "ALIYUN::SLS::Alert", "Properties": {"Project": {"Ref": "LogProject"}, "Detail": detail}}


def _metric_rule(measured: Measured, where: Resource) -> Resource:
    """A rule of CloudMonitor: anything at all in one period is too much."""
    (name,) = (value for key, value in where.items() if key != "region")
    above_nothing = {
        "ComparisonOperator": "GreaterThanThreshold",
        "Statistics": "Maximum",
        "Threshold": "0",
        "Times": 1,
    }
    properties = {
        "RuleName": f"ecr-grants-{measured.name}-{name}",
        "Namespace": {"Ref": measured.namespace},
        "MetricName": measured.metric,
        "Resources": [where],
        "Period": 60,
        "SilenceTime": 3600,
        "NoDataPolicy": "OK",
        "ContactGroups": [{"Ref": "ContactGroup"}],
        "Escalations": {"Critical": above_nothing},
    }
    return {"Type": "ALIYUN::CMS::ResourceMetricRule", "Condition": measured.condition, "Properties": properties}


def _saved(query: Query) -> Resource:
    detail = {
        "SavedsearchName": f"ecr-grants-{query.name}",
        "DisplayName": query.title,
        "Logstore": {"Ref": "Logstore"},
        "SearchQuery": query.text,
        "Topic": "",
    }
    return {"Type": "ALIYUN::SLS::Savedsearch", "Properties": {"Project": {"Ref": "LogProject"}, "Detail": detail}}


def files() -> dict[Path, str]:
    """What is generated, by path in the project."""
    said = yaml.safe_dump(template(), sort_keys=False, allow_unicode=True, width=120)
    told = [(f"{alarm.query.name}", alarm.description, alarm.todo) for alarm in OF_FIGURES]
    told += [(measured.name, measured.description, measured.todo) for measured in OF_METRICS]
    return {
        Path("deploy/alarms.yaml"): f"# Made by python -m deploy.alarms from shared/words.py; do not edit.\n{said}",
        Path("docs/alarms.md"): document(PARAMETERS, told),
    }


def main() -> int:
    """Write what is generated, or say what is not current."""
    parser = argparse.ArgumentParser(prog="python -m deploy.alarms", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 when a file is not current")
    stale = []
    if parser.parse_args().check:
        stale = [str(path) for path, text in files().items() if not path.exists() or path.read_text("utf-8") != text]
    else:
        for path, text in files().items():
            path.write_text(text, "utf-8")
    if stale:
        sys.stderr.write(f"not current: {', '.join(stale)}; run `make documents`\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
