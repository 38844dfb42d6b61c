"""The description of the API (OpenAPI 3.1): what FastAPI knows of it, and what it does not: problems, and who may call."""

from __future__ import annotations

import json
from typing import Any

from starlette.routing import BaseRoute

from shared.desk.admits import table
from shared.desk.callers import CallerKind
from shared.desk.parts import COOKIE
from shared.desk.problems import Problem

_SCHEMES = {
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": COOKIE,
        "description": "a browser's, from /sign-in; what changes something must come from the desk's own pages",
    },
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "a person's, from POST /api/v1/tokens, as `ecr-grants login` gets it",
    },
    "system": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "a system's, signed with its issuer's key, for one call",
    },
}
_SHOWN_BY = {CallerKind.PERSON: ("session", "bearer"), CallerKind.SYSTEM: ("system",)}


def completed(document: dict[str, Any], routes: list[BaseRoute]) -> dict[str, Any]:
    """The document with the problems that answers refer to, and with who is admitted to each call."""
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas["Problem"] = Problem.model_json_schema()
    components["securitySchemes"] = _SCHEMES
    for method, path, kinds in table(routes):
        operation = document["paths"].get(path, {}).get(method.lower())
        if operation is not None and kinds is not None:
            operation["security"] = security(kinds)
    return document


def security(kinds: frozenset[CallerKind]) -> list[dict[str, list[str]]]:
    """What a caller of these kinds shows; nothing where strangers are admitted."""
    if CallerKind.STRANGER in kinds:
        return []
    return [{name: []} for kind, names in _SHOWN_BY.items() if kind in kinds for name in names]


def text(document: dict[str, Any]) -> str:
    """As it is kept."""
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
