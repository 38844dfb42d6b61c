"""The JSON Schemas of the public messages, made from their models.

An approval's is one object with rules by its action, not a choice between two: a validator that is given a choice tells of
the wrong one (whoever forgot an approver was told that 'revoke' was expected). Rules that compare two values (an end after
its approval, host bits of a prefix) are beyond a schema.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel

from shared.messages.approval import Action, GrantApproval, RevokeApproval
from shared.messages.completion import Completion
from shared.messages.forms import InstanceType
from shared.messages.seal import SealedForm, SealHeader

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_VPC, _VBR = InstanceType.VPC, InstanceType.VBR
_KINDS: dict[Action, type[BaseModel]] = {Action.GRANT: GrantApproval, Action.REVOKE: RevokeApproval}

Schema = dict[str, Any]


def _where(field: str, value: str) -> Schema:
    """The condition that a field has a value."""
    return {"properties": {field: {"const": value}}, "required": [field]}


def _of_a(kind: InstanceType) -> Schema:
    """The condition that the instance is of a kind."""
    return {"properties": {"instance": _where("type", kind)}, "required": ["instance"]}


# What the validators in the models check between fields, once more: a schema knows no Python.
_OF_AN_INSTANCE = [
    {"if": _where("type", kind), "then": {"properties": {"id": {"pattern": f"^{kind.lower()}-"}}}}
    for kind in InstanceType
]
_OF_A_GRANT = [
    {
        "if": _of_a(_VPC),
        "then": {"required": ["allowed_prefixes"], "properties": {"allowed_prefixes": {"minItems": 1}}},
    },
    {"if": _of_a(_VBR), "then": {"properties": {"allowed_prefixes": {"maxItems": 0}}}},
]
_RULES: dict[Action, list[Schema]] = {Action.GRANT: _OF_A_GRANT, Action.REVOKE: []}


def approval_schema() -> Schema:
    """What every approval must have, then what a grant or a revoke must have or must not."""
    kinds = {action: model.model_json_schema(by_alias=True) for action, model in _KINDS.items()}
    fields: Schema = {}
    defs: Schema = {}
    for kind in kinds.values():
        fields |= kind["properties"]
        defs |= kind.get("$defs", {})
    defs["Instance"] = defs["Instance"] | {"allOf": _OF_AN_INSTANCE}
    fields["action"] = {"enum": [action.value for action in kinds], "title": "Action", "type": "string"}
    common = [name for name in fields if all(name in kind["required"] for kind in kinds.values())]
    return {
        "$schema": _DRAFT,
        "$defs": defs,
        "title": "Approval",
        "description": " ".join(f"{action.value}: {kind['description']}" for action, kind in kinds.items()),
        "type": "object",
        "additionalProperties": False,
        "properties": fields,
        "required": common,
        "allOf": [_only(action, kind, common) for action, kind in kinds.items()],
    }


def _only(action: Action, kind: Schema, common: list[str]) -> Schema:
    """The rules of one action: the fields that it may have, those that it needs beside the common ones, its own rules."""
    rules: Schema = {
        "propertyNames": {"enum": list(kind["properties"])},  # says the name of a field that belongs to another action
        "required": [name for name in kind["required"] if name not in common],
        "allOf": _RULES[action],
    }
    return {"if": _where("action", action), "then": {name: rule for name, rule in rules.items() if rule}}


def sealed_schema() -> Schema:
    """A sealed approval, and what its two texts hold. A validator that does not look into Base64 checks the outside alone."""
    form = SealedForm.model_json_schema()
    base64 = {"contentEncoding": "base64url", "contentMediaType": "application/json"}
    form["properties"]["protected"] |= base64 | {"contentSchema": SealHeader.model_json_schema()}
    form["properties"]["payload"] |= base64 | {"contentSchema": {"$ref": "approval.json"}}
    return {"$schema": _DRAFT} | form


def completion_schema() -> Schema:
    """A completion, for its readers: a later version may tell more."""
    return {"$schema": _DRAFT} | Completion.model_json_schema(by_alias=True)


def message_schemas() -> dict[str, str]:
    """The JSON Schemas of the public messages, by file name, as text ready to be written."""
    public = {
        "approval.json": approval_schema(),
        "sealed.json": sealed_schema(),
        "completion.json": completion_schema(),
    }
    return {file: json.dumps(schema, indent=2, sort_keys=True) + "\n" for file, schema in public.items()}
