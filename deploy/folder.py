"""Lays out ``.local/deploy`` and writes ``.local/s.yaml``: what `s deploy` is given. ``make deploy-folder``.

    VPC_ID=vpc-… VSWITCH_ID=vsw-… SECURITY_GROUP_ID=sg-… LOG_PROJECT=… DESK_ADDRESS=… TRIGGERS=off python -m deploy.folder

A package that was checked, and nothing beside it: what an operator decides is in the ledger, signed. What may be left out of a
template has to be left out by somebody: the deployment tool's variables can change a value, but not take its key away. So
``s.yaml`` is the source, and what is deployed is made from it here. Secrets stay variables of the environment in it; none is
ever written.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deploy.layout import ROOT
from deploy.package import PACKAGE, report_of
from deploy.packagecheck import Proof, Report, digest_of

FOLDER = ROOT / ".local" / "deploy"
SOURCE = ROOT / "s.yaml"


class NotDeployableError(Exception):
    """What was asked for must not be deployed; the text says why, and what to do."""


class Triggers(StrEnum):
    """Whether the functions are set off by their queues and the timer."""

    ON = "on"
    OFF = "off"


class Choices(BaseModel):
    """What is decided at every deployment anew, since a default would undo what the last one decided."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    vpc: str = Field(validation_alias="VPC_ID", description="empty: no VPC")
    switches: str = Field(default="", validation_alias="VSWITCH_ID", description="one, or several with commas")
    security_group: str = Field(default="", validation_alias="SECURITY_GROUP_ID")
    log_project: str = Field(validation_alias="LOG_PROJECT", description="empty: no logs are kept")
    desk: str = Field(validation_alias="DESK_ADDRESS", description="empty: no desk")
    triggers: Triggers = Field(validation_alias="TRIGGERS")

    @property
    def network(self) -> dict[str, Any] | None:
        """``vpcConfig``; None where the functions are in no VPC."""
        if not self.vpc:
            return None
        return {"vpcId": self.vpc, "vSwitchIds": self.switches.split(","), "securityGroupId": self.security_group}


def main(arguments: list[str] | None = None) -> int:
    """Check, lay out, and say what comes next. The exit code: 0 done, 1 refused, 2 for the command line."""
    parser = argparse.ArgumentParser(prog="python -m deploy.folder", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--package", type=Path, default=PACKAGE, help="a package that was checked")
    parser.add_argument("--into", type=Path, default=FOLDER, help="where to lay it out; s.yaml is written beside it")
    options = parser.parse_args(arguments)
    try:
        around = decided(os.environ)
        template = lay_out(options.package, options.into, around)
    except (NotDeployableError, OSError) as problem:
        print(f"make deploy-folder: {problem}", file=sys.stderr)
        return 1
    print(f"{options.into}: the package; {template}: what is deployed, triggers {around.triggers}")
    return 0


def decided(environment: Mapping[str, str]) -> Choices:
    """What the environment decides. Raises NotDeployableError that names everything that is missing or wrong."""
    try:
        around = Choices.model_validate(dict(environment))
    except ValidationError as error:
        texts = [_explained(str(fault["loc"][0]), environment) for fault in error.errors()]
        raise NotDeployableError("; ".join(texts)) from None
    if around.vpc and not (around.switches and around.security_group):
        raise NotDeployableError("VPC_ID needs VSWITCH_ID (several with commas) and SECURITY_GROUP_ID")
    return around


def _explained(variable: str, environment: Mapping[str, str]) -> str:
    found = f" (found: {environment[variable]!r})" if variable in environment else ""
    return {
        "VPC_ID": "VPC_ID must be set: the VPC from which the database is reached, or nothing (VPC_ID=) for none",
        "LOG_PROJECT": "LOG_PROJECT must be set: the project of Log Service, or nothing (LOG_PROJECT=) to keep no logs",
        "DESK_ADDRESS": "DESK_ADDRESS must be set: where people reach the desk, or nothing (DESK_ADDRESS=) for no desk",
        "TRIGGERS": "TRIGGERS must be on or off: off at the first deployment, because the limits are set after the triggers",
    }[variable] + found


def lay_out(package: Path, place: Path, around: Choices) -> Path:
    """The folder and the template beside it, replaced as a whole. Returns the template's path. Raises NotDeployableError."""
    _must_be_sound(package)
    aside = place.with_name(f"{place.name}.new")
    shutil.rmtree(aside, ignore_errors=True)
    shutil.copytree(package, aside)
    template = place.with_name("s.yaml")
    source = yaml.safe_load(SOURCE.read_text("utf-8"))
    shutil.rmtree(place, ignore_errors=True)
    aside.rename(place)
    head = "# Made from s.yaml by `make deploy-folder`: change that, and make it again.\n"
    for path, decided_ in (
        (template, around),
        (first_of(template), around.model_copy(update={"triggers": Triggers.OFF})),
    ):
        document = rendered(source, decided_, f"./{place.name}")
        path.write_text(head + yaml.dump(document, Dumper=_Plain, sort_keys=False, width=1000), "utf-8")
    return template


def first_of(template: Path) -> Path:
    """What is deployed before a template the first time: the same with its triggers off."""
    return template.with_name(f"{template.stem}.first{template.suffix}")


def rendered(document: dict[str, Any], around: Choices, code: str) -> dict[str, Any]:
    """The template for one deployment: blocks that are empty left out, triggers on or off, the code where it lies."""
    resources = {
        name: {**resource, "props": _props(resource["props"], around, code)}
        for name, resource in document["resources"].items()
        if name != "desk" or around.desk
    }
    used = {key: value for key, value in document["vars"].items() if key in ("region", "uid", "runtime")}
    return {**document, "vars": used, "resources": resources}


def _props(source: dict[str, Any], around: Choices, code: str) -> dict[str, Any]:
    props = {**source, "code": code, "vpcConfig": around.network}
    props["logConfig"] = {**source["logConfig"], "project": around.log_project} if around.log_project else None
    props["triggers"] = [
        {**trigger, "triggerConfig": _switched(trigger["triggerConfig"], around.triggers)}
        for trigger in source["triggers"]
    ]
    return {key: value for key, value in props.items() if value is not None}


def _switched(config: dict[str, Any], triggers: Triggers) -> dict[str, Any]:
    """The two kinds of triggers have different words for it."""
    return {
        key: triggers is Triggers.ON if key in ("triggerEnable", "enable") else value for key, value in config.items()
    }


def _must_be_sound(package: Path) -> None:
    """Raise NotDeployableError unless this very package was checked, all of it, and nothing was found."""
    path = report_of(package)
    if not path.is_file():
        raise NotDeployableError(f"{package} was not checked: `make package` builds and checks it")
    report = Report.model_validate_json(path.read_bytes())
    again = f"`python -m deploy.package --check {package}`"
    if report.digest != digest_of(package):
        raise NotDeployableError(f"{package} has changed since it was checked: {again} checks it again")
    if report.faults:
        raise NotDeployableError(f"{package} has {len(report.faults)} faults: {again} shows them")
    if report.imports is not Proof.RUN:
        raise NotDeployableError(
            f"the imports of {package} were not run, which takes x86_64 Linux and the runtime's Python: run {again} there, "
            f"and bring {path.name} back"
        )


class _Plain(yaml.SafeDumper):
    """YAML without anchors: everything stands where it counts."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  # of the library's form
        """Nothing is written as a reference."""
        return True


if __name__ == "__main__":
    sys.exit(main())
