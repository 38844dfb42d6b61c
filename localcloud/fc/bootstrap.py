"""What runs inside the worker process of a function on a built-in Python runtime: the runtime contract, nothing else.

The local cloud starts this file as a script and talks to it over one socket whose number is the only argument. It
must not import anything of the local cloud: a function sees its own code folder first on the path, then the
interpreter's packages, as on the platform (function-compute.md sections 4.1 to 4.4). Only the standard library is
used, and little of it, because every cold start pays for it.

A frame on the socket is two big-endian 32-bit lengths, a JSON head and raw bytes (the event, the answer).
"""

import faulthandler
import importlib
import importlib.util
import json
import logging
import os
import signal
import socket
import struct
import sys
import time
import traceback
import types
from collections.abc import Callable
from typing import Any

_LENGTHS = struct.Struct(">II")
_OWN_FILE = __file__

current_request_id = ""


class Record:
    """An object with the attributes it was given: credentials, function, service."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


class Context:
    """What both runtimes' contexts share; the rest depends on the runtime."""

    def __init__(self, start: dict[str, Any], call: dict[str, Any]) -> None:
        function = start["function"]
        self.request_id = call["request_id"]
        self.region = start["region"]
        self.account_id = start["account_id"]
        self.logger: logging.Logger | None = None
        if start["modern"]:
            self.function = Record(
                name=function["name"],
                handler=function["handler"],
                memory=function["memory"],
                timeout=function["timeout"],
                version_id="",
                qualifier="LATEST",
            )
            self.log_project = start["log_project"]
            self.log_store = start["log_store"]
        else:
            del self.logger
            key = call.get("credentials") or ["", "", ""]
            self.credentials = Record(access_key_id=key[0], access_key_secret=key[1], security_token=key[2])
            self.function = Record(
                name=function["name"],
                handler=function["handler"],
                memory=function["memory"],
                timeout=function["timeout"],
            )
            self.service = Record(
                name=start["service"],
                log_project=start["log_project"],
                log_store=start["log_store"],
                qualifier="LATEST",
                version_id="",
            )
            self.tracing = Record(span_context=None, span_baggages=None, jaeger_endpoint=None)
            self.retry_count = call.get("retry_count", 0)

    def getLogger(self) -> logging.Logger:  # noqa: N802 - the platform's name
        """The logger whose lines carry the request id."""
        logger = logging.getLogger()
        if hasattr(self, "logger"):
            self.logger = logger
        return logger


class HandlerError(Exception):
    """The handler the template names cannot be found."""


def find_handler(path: str, code: str) -> Callable[..., Any]:
    """The function a handler path means: ``pkg.sub.main.func``, or ``pkg/sub/main.func``."""
    module_path, dot, name = path.rpartition(".")
    if not dot or not module_path or not name:
        raise HandlerError(f"handler {path!r} is not of the form file.function")
    module = _from_folder(module_path, code) if "/" in module_path else _from_packages(module_path)
    found = getattr(module, name, None)
    if not callable(found):
        there = sorted(
            key
            for key, value in vars(module).items()
            if getattr(value, "__module__", "") == module.__name__ and not key.startswith("_")
        )
        raise HandlerError(f"module {module_path!r} has no function {name!r}; it has: {', '.join(there) or 'none'}")
    return found  # type: ignore[no-any-return]


def _from_packages(module_path: str) -> types.ModuleType:
    try:
        module = importlib.import_module(module_path)
    except ModuleNotFoundError as missing:
        if missing.name is not None and (module_path == missing.name or module_path.startswith(f"{missing.name}.")):
            raise HandlerError(f"there is no module {missing.name!r} in the code folder") from missing
        raise
    parent = module_path.rpartition(".")[0]
    while parent:
        # Older runtimes find a folder by its __init__.py only, and what newer ones do is not documented (section 4.2).
        if getattr(sys.modules[parent], "__file__", None) is None:
            raise HandlerError(f"package {parent!r} has no __init__.py")
        parent = parent.rpartition(".")[0]
    return module


def _from_folder(module_path: str, code: str) -> types.ModuleType:
    file = os.path.join(code, *module_path.split("/")) + ".py"  # noqa: PTH118 - a cold start does without pathlib
    spec = importlib.util.spec_from_file_location(module_path.rpartition("/")[2], file)
    if spec is None or spec.loader is None or not os.path.isfile(file):  # noqa: PTH113 - as above
        raise HandlerError(f"there is no file {module_path + '.py'!r} in the code folder")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def encode(value: Any) -> bytes:
    """What a handler returned, as the platform sends it: text and bytes as they are, the rest as JSON (section 4.1)."""
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    if isinstance(value, str):
        return value.encode()
    return json.dumps(value, sort_keys=True, indent=2, default=_encode_other).encode()


def _encode_other(value: Any) -> Any:
    if hasattr(value, "to_json"):
        return value.to_json()
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if type(value).__name__ == "Decimal":
        return float(value)
    raise TypeError(f"an object of type {type(value).__name__} cannot be returned as JSON")


def error_of(problem: BaseException) -> dict[str, Any]:
    """An exception as callers and logs see it."""
    frames = traceback.extract_tb(problem.__traceback__)
    return {
        "errorMessage": str(problem),
        "errorType": type(problem).__name__,
        "stackTrace": [
            [frame.filename, frame.lineno, frame.name, frame.line or ""]
            for frame in frames
            if frame.filename != _OWN_FILE
        ],
    }


def _print(problem: BaseException) -> None:
    """The traceback of an exception into the log, from where the function's own code begins."""
    begin = problem.__traceback__
    while begin is not None and begin.tb_frame.f_code.co_filename == _OWN_FILE:
        begin = begin.tb_next
    traceback.print_exception(type(problem), problem, begin)


class Worker:
    """One instance: started once, then one request at a time."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._start: dict[str, Any] = {}
        self._handler: Callable[..., Any] | None = None

    def run(self) -> None:
        """Serve until told to stop, or until the other end is gone."""
        while (frame := self._receive()) is not None:
            head, body = frame
            if head["do"] == "stop":
                self._stop(head)
                return
            _credentials(head["credentials"])
            try:
                answer = self._do(head, body)
                reply: dict[str, Any] = {"ok": True}
            except Exception as problem:  # noqa: BLE001 - whatever the function raises is its answer
                reply, answer = {"ok": False}, json.dumps(error_of(problem)).encode()
                _print(problem)
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            self._send(reply, answer)

    def _do(self, head: dict[str, Any], body: bytes) -> bytes:
        global current_request_id  # noqa: PLW0603 - one request at a time is the contract
        current_request_id = head["request_id"]
        if head["do"] == "start":
            self._start = head
            sys.path.insert(0, head["code"])
            self._handler = find_handler(head["function"]["handler"], head["code"])
            return b""
        context = Context(self._start, head)
        if "handler" in head:  # the initializer, or the hook before the end
            find_handler(head["handler"], self._start["code"])(context)
            return b""
        if self._handler is None:
            raise HandlerError("the instance was not started")
        return encode(self._handler(body, context))

    def _stop(self, head: dict[str, Any]) -> None:
        if "handler" in head:
            try:
                self._do(head, b"")
            except Exception as problem:  # noqa: BLE001 - the instance ends either way
                _print(problem)

    def _receive(self) -> tuple[dict[str, Any], bytes] | None:
        lengths = self._exactly(_LENGTHS.size)
        if lengths is None:
            return None
        head_length, body_length = _LENGTHS.unpack(lengths)
        head, body = self._exactly(head_length), self._exactly(body_length)
        return None if head is None or body is None else (json.loads(head), body)

    def _exactly(self, length: int) -> bytes | None:
        """So many bytes, or None when the local cloud is gone."""
        parts = bytearray()
        while len(parts) < length:
            try:
                part = self._connection.recv(min(length - len(parts), 1 << 20))
            except ConnectionError:
                return None
            if not part:
                return None
            parts += part
        return bytes(parts)

    def _send(self, head: dict[str, Any], body: bytes) -> None:
        text = json.dumps(head).encode()
        self._connection.sendall(_LENGTHS.pack(len(text), len(body)) + text + body)


def _credentials(key: list[str] | None) -> None:
    """Fresh temporary credentials, where libraries look for them."""
    if key:
        os.environ["ALIBABA_CLOUD_ACCESS_KEY_ID"] = key[0]
        os.environ["ALIBABA_CLOUD_ACCESS_KEY_SECRET"] = key[1]
        os.environ["ALIBABA_CLOUD_SECURITY_TOKEN"] = key[2]


class _Format(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = f"{moment}.{int(record.msecs):03d}Z {current_request_id} [{record.levelname}] {record.getMessage()}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def _terminate(_signal: int, _frame: object) -> None:
    """On a time-out the platform asks first; the stacks show where the time went."""
    faulthandler.dump_traceback()
    raise SystemExit(143)


def main() -> None:
    """Wire logging and signals the way the runtime does, then serve."""
    connection = socket.socket(fileno=int(sys.argv[1]))
    os.set_inheritable(connection.fileno(), False)
    output = logging.StreamHandler(sys.stdout)
    output.setFormatter(_Format())
    logging.basicConfig(level=logging.INFO, handlers=[output])
    signal.signal(signal.SIGTERM, _terminate)
    sys.argv = [""]
    Worker(connection).run()


if __name__ == "__main__":
    main()
