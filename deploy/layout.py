"""What a function's code folder holds of ours: one module per function at its root, and ``shared`` beside them.

The platform documents ``file.method`` as the form of a handler, and no dots before it (function-compute.md section 4.2). The
desk is a program of its own: a custom runtime starts it by a command.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parent.parent
_HANDLED = ("handler", "initialize")
FUNCTIONS = {
    "associate": _HANDLED,
    "desk": ("main",),
    "grant": _HANDLED,
    "preflight": _HANDLED,
    "reconcile": _HANDLED,
}
"""The modules at the root of the folder, and what each must have: what the runtime calls, or the command starts."""
PARTS: tuple[tuple[Path, str], ...] = (
    *((ROOT / "functions" / f"{name}.py", f"{name}.py") for name in FUNCTIONS),
    (ROOT / "shared", "shared"),
)
"""(where it lies in the checkout, what it is called in the folder)."""


def linked(folder: Path) -> Path:
    """Lay a code folder out with links into the checkout: what runs there is what lies here, edits included. The
    dependencies are whatever the interpreter has. Returns the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for source, name in PARTS:
        place = folder / name
        if not place.is_symlink():
            place.symlink_to(source)
    return folder
