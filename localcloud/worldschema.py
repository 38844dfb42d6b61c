"""The world file's keys, for editors as a JSON Schema and for people as one line each."""

from collections.abc import Iterator
from typing import Any

from localcloud.quotas import PUBLISHED, Quota
from localcloud.switches import Switches
from localcloud.worldspec import REGIONS, WorldFile

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema() -> dict[str, Any]:
    """A JSON Schema of the whole file, switches and quotas by name included."""
    found = WorldFile.model_json_schema()
    properties = found["properties"]
    for name, field in WorldFile.model_fields.items():
        # The library loses some descriptions beside references.
        properties[name].setdefault("description", field.description)
    switches = Switches.model_json_schema()["properties"]
    told = properties["switches"]["description"]
    properties["switches"] = {
        "type": "object",
        "description": told,
        "properties": switches,
        "additionalProperties": False,
        "default": {},
    }
    quota = {"anyOf": [{"$ref": "#/$defs/Quota"}, {"type": "null"}]}
    named = {
        name: {**quota, "description": f"Published: {limit.limit} in {limit.seconds:g} seconds; null lifts it."}
        for name, limit in PUBLISHED.items()
    }
    properties["quotas"] = {
        "type": "object",
        "description": properties["quotas"]["description"],
        "properties": named,
        "additionalProperties": False,
        "default": {},
    }
    found["$defs"].setdefault("Quota", Quota.model_json_schema())
    properties["region"]["enum"] = sorted(REGIONS)
    return {
        "$schema": DIALECT,
        "title": "A world file of localcloud",
        **{k: v for k, v in found.items() if k != "title"},
    }


def outline() -> Iterator[str]:
    """Each key with what it may be and what it means; <uid> and <name> stand for names of the file's own."""
    whole = schema()
    yield from _keys(whole, whole, "")


def _keys(whole: dict[str, Any], part: dict[str, Any], where: str) -> Iterator[str]:
    required = part.get("required", [])
    for key, value in part.get("properties", {}).items():
        inner, wrapped = _inside(whole, value)
        path = f"{where}{key}{wrapped}"
        default = "" if value.get("default") in (None, "", [], {}) else f", {value['default']} when not given"
        must = ", required" if key in required else default
        yield f"{path}: {_kind(whole, value)}{must}. {value.get('description') or inner.get('description', '')}".rstrip()
        if "properties" in inner and where != "quotas.":  # each of them has the same keys
            yield from _keys(whole, inner, f"{path}.")


def _inside(whole: dict[str, Any], value: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """What a key holds, and how its own names or positions are written."""
    here = _resolved(whole, value)
    if here.get("type") == "array":
        inner, wrapped = _inside(whole, here.get("items", {}))
        return inner, f"[]{wrapped}"
    many = here.get("patternProperties") or here.get("additionalProperties")
    if isinstance(many, dict) and many:
        name = "<uid>" if here.get("patternProperties") and any(r"\d" in pattern for pattern in many) else "<name>"
        inner, wrapped = _inside(whole, next(iter(many.values())) if here.get("patternProperties") else many)
        return inner, f".{name}{wrapped}"
    return here, ""


def _resolved(whole: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    """A reference followed, and the null of an optional value left out."""
    for each in value.get("anyOf", ()):
        if each.get("type") != "null":
            return _resolved(whole, each)
    if "$ref" in value:
        found: dict[str, Any] = whole["$defs"][value["$ref"].rpartition("/")[2]]
        return found
    return value


def _kind(whole: dict[str, Any], value: dict[str, Any]) -> str:
    here = _resolved(whole, value)
    if "enum" in here:
        return "one of " + ", ".join(map(str, here["enum"]))
    if "const" in here:
        return str(here["const"])
    bounds = [f"{word} {here[key]}" for key, word in (("minimum", "from"), ("maximum", "to")) if key in here]
    return " ".join(
        [{"object": "mapping", "array": "list"}.get(here.get("type", ""), here.get("type", "any")), *bounds]
    )
