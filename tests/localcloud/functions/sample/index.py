"""What the tests have functions do: say what they see, and misbehave on demand."""

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)
initialized: list[str] = []
calls = 0


def initialize(context: Any) -> None:
    """Remember that it ran, and for which request."""
    initialized.append(context.request_id)
    logger.info("initialized")


def goodbye(context: Any) -> None:
    """Leave a trace before the instance ends."""
    Path(os.environ["TRACE"]).write_text(f"stopped {context.request_id}")


def handler(event: bytes, context: Any) -> Any:
    """Do what the event asks for; whatever is no instruction is printed, so that it can be found in the log."""
    global calls  # noqa: PLW0603 - that globals survive between calls is what a test looks at
    calls += 1
    try:
        asked = json.loads(event)
    except ValueError:
        asked = None
    if not isinstance(asked, dict) or "do" not in asked:
        print(f"EVENT {event.decode()}", flush=True)
        failing = os.environ.get("FAIL_WHEN")
        if failing and Path(failing).exists():
            raise RuntimeError(f"asked to fail by {Path(failing).name}")
        return {"seen": event.decode()}
    return ACTIONS[asked["do"]](asked, context)


def _raise(asked: dict[str, Any], _context: Any) -> None:
    raise ValueError(asked.get("message", "no"))


def _sleep(asked: dict[str, Any], _context: Any) -> str:
    logger.info("sleeping")
    time.sleep(asked["seconds"])
    return "awake"


def _exit(asked: dict[str, Any], _context: Any) -> None:
    print("about to exit", flush=True)
    os._exit(asked.get("code", 3))


def _child(asked: dict[str, Any], _context: Any) -> int:
    """Leave a process behind that would run for long."""
    return subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({asked['seconds']})"]).pid


def _context_of(_asked: dict[str, Any], context: Any) -> dict[str, Any]:
    def shown(value: Any) -> Any:
        if isinstance(value, str | int | float | None):
            return value
        return {name: shown(part) for name, part in vars(value).items()} if hasattr(value, "__dict__") else repr(value)

    names = [name for name in dir(context) if not name.startswith("_")]
    return {name: shown(getattr(context, name)) for name in names if name not in {"getLogger", "logger"}} | {
        "has_logger": hasattr(context, "logger"),
        "logger_before": repr(getattr(context, "logger", None)),
        "getLogger": context.getLogger().name,
    }


ACTIONS: dict[str, Callable[[dict[str, Any], Any], Any]] = {
    "raise": _raise,
    "sleep": _sleep,
    "exit": _exit,
    "child": _child,
    "context": _context_of,
    "environment": lambda _asked, _context: dict(os.environ),
    "path": lambda _asked, _context: {"path": sys.path, "cwd": str(Path.cwd())},
    "calls": lambda _asked, _context: {"calls": calls, "initialized": len(initialized), "pid": os.getpid()},
    "unserializable": lambda _asked, _context: {"socket": object()},
    "text": lambda _asked, _context: "plain text",
    "bytes": lambda _asked, _context: b"\x00\xff",
    "loaded": lambda asked, _context: [name for name in asked["modules"] if name in sys.modules],
    "importable": lambda asked, _context: __import__(asked["module"]).__name__,
}
