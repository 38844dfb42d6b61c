"""The page's few fixed files: its style, its script, and htmx. Each has an address that changes with what is in it.

Read once, so that a file costs neither the disk nor the ledger anything, and nobody is counted for it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from fastapi import APIRouter, Response
from starlette.exceptions import HTTPException

_FOLDER = Path(__file__).parent / "static"
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
_FILES = {file.name: file.read_bytes() for file in sorted(_FOLDER.iterdir()) if file.suffix in _TYPES}
_MARKS = {name: hashlib.sha256(content).hexdigest()[:16] for name, content in _FILES.items()}

statics = APIRouter()


def address_of(name: str) -> str:
    """Where a file is to be had, for as long as it stays as it is."""
    return f"/static/{_MARKS[name]}/{name}"


@statics.get("/static/{mark}/{name}", include_in_schema=False)
async def static(mark: str, name: str) -> Response:
    """A fixed file. Anybody may have it: it is the same for everybody, and public."""
    if _MARKS.get(name) != mark:
        raise HTTPException(404)
    return Response(
        _FILES[name],
        media_type=_TYPES[Path(name).suffix],
        headers={"Cache-Control": "public, max-age=31536000, immutable"},
    )
