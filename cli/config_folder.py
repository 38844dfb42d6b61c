"""The folder of a configuration, read at once: every fault of every file, with its place and what was probably meant."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from cli.places import Fault, Places, scalars
from shared.errors import SettingsError
from shared.messages.texts import fault, name
from shared.rules.configuration import Configuration
from shared.rules.consistency import Inconsistency, Part, inconsistencies
from shared.rules.inventory import Inventory
from shared.rules.issuers import Issuers
from shared.rules.people import People

POLICY, SCHEMA = "policy.cedar", "policy.cedarschema"
FILES = {Part.INVENTORY: "accounts.yaml", Part.ISSUERS: "issuers.yaml", Part.PEOPLE: "people.yaml", Part.POLICY: POLICY}
_MODELS: dict[Part, type[BaseModel]] = {Part.INVENTORY: Inventory, Part.ISSUERS: Issuers, Part.PEOPLE: People}
_KNOWN = {*FILES.values(), SCHEMA}
_SUFFIXES = {".yaml", ".yml", ".cedar", ".cedarschema", ".json"}

M = TypeVar("M", bound=BaseModel)


PolicyCheck = Callable[[str], Iterable[Fault]]
"""What says whether a policy's text can be used."""


@dataclass
class Folder:
    """What was read. ``configuration`` is there where nothing but oddities was found."""

    configuration: Configuration | None = None
    faults: list[Fault] = field(default_factory=list)

    @property
    def refused(self) -> list[Fault]:
        """The faults that are more than odd."""
        return [one for one in self.faults if not one.odd]


def read_folder(folder: Path, policy_check: PolicyCheck, schema: str) -> Folder:
    """Read all of it. ``policy_check`` judges the policy's text; the copy of its schema must equal ``schema``.

    Raises SettingsError where there is no such folder.
    """
    if not folder.is_dir():
        raise SettingsError(f"{folder}: is not a folder; `ecr-grants config init {folder}` makes one")
    faults: list[Fault] = []
    places = {part: _places(folder, FILES[part], faults) for part in _MODELS}
    read: dict[Part, Any] = {part: _model(part, at, faults) for part, at in places.items() if at is not None}
    inventory, issuers, people = (read.get(part) for part in _MODELS)
    found = inconsistencies(inventory, None if issuers is None else issuers.issuers, people)
    faults += [_placed(one, at) for one in found if (at := places[one.part]) is not None]
    policy = _policy(folder, policy_check, schema, faults)
    faults += _strangers(folder)
    faults.sort()
    made = Folder(faults=faults)
    if issuers is not None and not made.refused:
        made.configuration = Configuration(inventory=inventory, issuers=issuers.issuers, people=people, policy=policy)
    return made


def read_accounts(folder: Path) -> Inventory | None:
    """Its accounts alone, whatever the other files say; None where there are none. Raises SettingsError with every fault."""
    file, faults = FILES[Part.INVENTORY], list[Fault]()
    if not (folder / file).exists():
        return None
    places = _places(folder, file, faults)
    found = None if places is None or faults else _model(Part.INVENTORY, places, faults)
    if not isinstance(found, Inventory):
        raise SettingsError(f"{folder}: {'; '.join(one.text for one in faults)}")
    return found


def _text(folder: Path, file: str, faults: list[Fault]) -> str | None:
    try:
        return (folder / file).read_text("utf-8")
    except OSError as error:
        faults.append(Fault(file, 1, 1, f"cannot be read ({error.strerror})"))
    except UnicodeDecodeError as error:
        before = error.object[: error.start].split(b"\n")
        faults.append(Fault(file, len(before), len(before[-1]) + 1, f"is not UTF-8 (byte {error.start})"))
    return None


def _places(folder: Path, file: str, faults: list[Fault]) -> Places | None:
    """The file as YAML; None where it is none, or nothing."""
    text = _text(folder, file, faults)
    if text is None:
        return None
    places = Places(file, text)
    faults += places.faults
    if places.root is None and not places.faults:
        faults.append(Fault(file, 1, 1, "is empty"))
    return places if places.root is not None else None


def _model(part: Part, places: Places, faults: list[Fault]) -> BaseModel | None:
    model = _MODELS[part]
    try:
        return model.model_validate(places.value)
    except ValidationError as error:
        faults += [_located(one, places, model) for one in error.errors(include_url=False)]
        return None


def _located(one: Any, places: Places, model: type[BaseModel]) -> Fault:
    """A fault of a field at its place: the field's own, or for one that is missing that of what lacks it."""
    loc, kind = list(one["loc"]), one["type"]
    walked, node = places.walk([part for part in loc if part != "[key]"])
    if kind == "missing":
        return places.fault(places.key(walked), fault({**one, "loc": [*walked, loc[-1]]}))
    text = fault({**one, "loc": walked}, hidden="external_id")
    if loc[-1:] == ["[key]"]:
        return places.fault(places.key(walked), text)
    if kind == "extra_forbidden":
        if walked[-1] == "d":
            text = f"{text}: it is a private key, which belongs in no configuration; take it for compromised"
        known = sorted(model.model_fields if len(walked) == 1 else _fields(model.model_json_schema()))
        return places.fault(places.key(walked), text, _nearest(str(walked[-1]), known))
    found = one["input"]
    if kind == "string_type" and isinstance(found, int | float):
        return places.fault(node, text, f'"{getattr(node, "value", found)}", in quotes')
    expected = re.findall(r"'([^']+)'", str(one.get("ctx", {}).get("expected", "")))
    return places.fault(node, text, _nearest(found, expected) if isinstance(found, str) else "")


def _fields(schema: Any) -> Iterator[str]:
    """All names of fields in a JSON Schema."""
    if isinstance(schema, dict):
        yield from schema.get("properties", {})
        for one in schema.values():
            yield from _fields(one)
    elif isinstance(schema, list):
        for one in schema:
            yield from _fields(one)


def _nearest(found: str, known: Sequence[str], alike: float = 0.6) -> str:
    same = [one for one in known if one.casefold() == found.casefold()]
    return next(iter(same or get_close_matches(found, known, n=1, cutoff=alike)), "")


def _placed(one: Inconsistency, places: Places) -> Fault:
    """At the name that was found: it is the key at the path's end, the value, or one of a list."""
    walked, node = places.walk(one.path)
    inner = next((each for each in scalars(node) if each.value == one.found), None)
    if inner is not None:
        node = inner
    elif walked and walked[-1] == one.found:
        node = places.key(walked)
    where = ".".join(str(part) for part in one.path)
    return places.fault(node, f"{where}: {one.text}", _nearest(one.found, sorted(one.known)), odd=not one.refused)


def _policy(folder: Path, check: PolicyCheck, schema: str, faults: list[Fault]) -> str:
    policy, copy = _text(folder, POLICY, faults), _text(folder, SCHEMA, faults)
    if policy is not None and not policy.strip():
        faults.append(Fault(POLICY, 1, 1, "is empty: what nothing permits is refused"))
    elif policy is not None:
        faults += check(policy)
    if copy is not None and copy != schema:
        lines = zip(f"{copy}\0".split("\n"), f"{schema}\0".split("\n"), strict=False)
        line = next(number for number, (ours, theirs) in enumerate(lines, 1) if ours != theirs)
        text = "is not the schema of this version, which alone counts; `ecr-grants config init` writes it anew"
        faults.append(Fault(SCHEMA, line, 1, text))
    return policy or ""


def _strangers(folder: Path) -> Iterator[Fault]:
    """Files that look as if they were read."""
    for path in sorted(folder.iterdir()):
        if path.name not in _KNOWN and path.suffix in _SUFFIXES and not path.name.startswith("."):
            meant = _nearest(path.name, sorted(_KNOWN), alike=0.8)
            yield Fault(path.name, 1, 1, f"no such file is read: {name(path.name)}", meant, odd=True)
