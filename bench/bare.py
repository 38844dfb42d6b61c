"""The peer of the desk's benches: a bare FastAPI handler that runs one plain SELECT of the newest 100 leases, and answers as JSON
or as a page of a given size.

python bare.py PORT        with LEDGER_URL in the environment
"""

from __future__ import annotations

import os
import sys
from typing import Any

import sqlalchemy as sql
import uvicorn
from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from jinja2 import Environment

QUERY = sql.text(
    "SELECT grants.grant_id, ecr_id, grants.ecr_owner_uid, instance_type, instance_id, instance_region,"
    " grants.instance_owner_uid, issuer, request_id, open, allowed_prefixes, approved_at, admitted_at, ends_at, on_end"
    " FROM approvals JOIN grants ON grants.grant_id = approvals.grant_id"
    " WHERE action = 'grant' AND open ORDER BY admitted_at DESC, approval_id DESC LIMIT 100"
)


PAGE = Environment(autoescape=True).from_string(
    "<!doctype html><title>leases</title><table>{% for row in rows %}"
    "<tr><td>{{ row.grant_id }}<td>{{ row.instance_id }}<td>{{ row.issuer }}<td>{{ row.request_id }}{% endfor %}</table>"
)


def made() -> FastAPI:
    """The app."""
    app, engine = FastAPI(), sql.create_engine(os.environ["LEDGER_URL"])

    @app.get("/leases")
    def leases() -> list[dict[str, Any]]:
        with engine.connect() as connection:
            return [dict(row) for row in connection.execute(QUERY).mappings()]

    @app.get("/page/{size}")
    def page(size: int) -> HTMLResponse:
        with engine.connect() as connection:
            rows = connection.execute(QUERY).mappings().all()
        text = PAGE.render(rows=rows)
        while len(text) < size:  # a larger page has more rows
            text += PAGE.render(rows=rows)
        return HTMLResponse(text[:size])

    return app


if __name__ == "__main__":
    uvicorn.run(made(), port=int(sys.argv[1]), log_config=None, access_log=False)
