"""What s.yaml says about each function: what `ecr-grants doctor` expects to find deployed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from shared.errors import SettingsError

Facts = dict[str, Any]

_VARIABLE = re.compile(
    r"\$\{\s*(?:vars\.(?P<var>\w+)|env\(\s*'(?P<env>\w+)'\s*(?:,\s*'(?P<default>[^']*)'\s*)?\)|(?P<uid>config\('AccountID'\)))\s*\}"
)


@dataclass(frozen=True)
class Wanted:
    """One function as s.yaml has it, by the names that s.yaml and Function Compute's API have for things."""

    name: str
    props: Facts

    @property
    def triggers(self) -> dict[str, Facts]:
        """Its triggers' configurations by name."""
        return {
            str(one["triggerName"]): dict(one.get("triggerConfig") or {}) for one in self.props.get("triggers") or ()
        }

    @property
    def environment(self) -> set[str]:
        """The variables that it is given."""
        return set(self.props.get("environmentVariables") or {})

    def part(self, *names: str) -> Facts:
        """Some of its properties: those that are written out there. What is ``auto`` is the deployment tool's to choose."""
        return {name: self.props[name] for name in names if self.props.get(name) not in (None, "auto")}


def read_template(path: Path, uid: str, environment: Mapping[str, str]) -> list[Wanted]:
    """The functions of an s.yaml with its variables filled in. Raises SettingsError.

    What cannot be filled in here, or is empty, is left out: then nothing is expected there.
    """
    try:
        document = yaml.safe_load(path.read_text("utf-8"))
        filler = _Filler(document.get("vars") or {}, uid, environment)
        props = [filler.filled(one["props"]) for one in document["resources"].values()]
        return [Wanted(str(one["functionName"]), one) for one in props]
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError, KeyError, TypeError, RecursionError) as error:
        raise SettingsError(f"{path}: is not an s.yaml with functions ({type(error).__name__})") from None


class _Filler:
    """Fills in ``${vars.x}``, ``${env('X', 'default')}`` and ``${config('AccountID')}``, as Serverless Devs does."""

    def __init__(self, variables: Facts, uid: str, environment: Mapping[str, str]) -> None:
        self._variables = variables
        self._uid = uid
        self._environment = environment

    def filled(self, value: Any) -> Any:
        if isinstance(value, dict):
            told = {name: self._named(name, inner) for name, inner in value.items()}
            return {name: one for name, one in told.items() if one not in (None, "", {}, [])}
        if isinstance(value, list):
            return [self.filled(one) for one in value]
        if not isinstance(value, str) or "${" not in value:
            return value
        whole = self._whole(value)
        return self.filled(whole) if whole is not value else self._text(value)

    def _named(self, name: str, value: Any) -> Any:
        if name == "environmentVariables":  # its names: the values are nobody's business here, and may be secrets
            return dict.fromkeys(self._whole(value), "")
        return self.filled(value)

    def _whole(self, value: Any) -> Any:
        """What stands in place of a text that is nothing but one variable of the file: perhaps more than a text."""
        alone = _VARIABLE.fullmatch(value) if isinstance(value, str) else None
        return self._variables.get(alone["var"]) if alone is not None and alone["var"] else value

    def _text(self, text: str) -> str | None:
        missing = False

        def put(found: re.Match[str]) -> str:
            nonlocal missing
            if found["uid"]:
                return self._uid
            if found["env"]:
                given = self._environment.get(found["env"]) or found["default"]
            else:
                inner = self.filled(self._variables.get(found["var"]))
                given = None if inner is None else str(inner)
            missing = missing or given is None
            return given or ""

        done = _VARIABLE.sub(put, text)
        return None if missing or "${" in done else done
