"""The way to the provider of sign-ins: it may be slow, huge, wrong or down, and keeps nobody waiting longer than this says."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError

from shared.desk.problems import ProviderTrouble

SECONDS = 10.0
"""For one question: the name, the connection, and the answer to its last byte."""
LARGEST = 200_000
"""Bytes of an answer."""
AT_ONCE = 8
"""Questions that wait at once: a provider that hangs keeps no more threads than that."""
_READ_SECONDS = 5.0

T = TypeVar("T")
_waiting = threading.BoundedSemaphore(AT_ONCE)


class _Bounded(HTTPAdapter):
    """Reads an answer whole, and no more of it than can be meant."""

    def send(self, request: requests.PreparedRequest, *args: Any, **how: Any) -> requests.Response:
        """Raises requests.RequestException, also for an answer that is too large."""
        found = super().send(request, *args, **{**how, "stream": True, "timeout": _READ_SECONDS})
        try:
            raw = found.raw.read(LARGEST + 1, decode_content=True)
        except HTTPError as error:  # of the library beneath, which requests itself turns into its own as it reads
            raise requests.ConnectionError(type(error).__name__) from None
        finally:
            found.close()
        if len(raw) > LARGEST:
            raise requests.exceptions.ContentDecodingError("the answer is too large")
        found.raw = io.BytesIO(raw)
        return found


def bounded(session: requests.Session) -> requests.Session:
    """The session, which reads bounded answers from now on."""
    for scheme in ("https://", "http://"):
        session.mount(scheme, _Bounded())
    return session


def in_time(ask: Callable[[], T]) -> T:
    """What it answers. Raises ProviderTrouble where that takes too long, and for everything that can be wrong with an answer;
    errors of ours pass. A question that hangs is left to itself.
    """
    if not _waiting.acquire(blocking=False):
        raise ProviderTrouble("too many questions wait for the provider of sign-ins")
    answered: SimpleQueue[tuple[T | None, Exception | None]] = SimpleQueue()

    def asking() -> None:
        try:
            answered.put((ask(), None))
        except Exception as error:  # noqa: BLE001  # raised again by whoever waits
            answered.put((None, error))
        finally:
            _waiting.release()

    threading.Thread(target=asking, daemon=True, name="sign-in").start()
    try:
        found, error = answered.get(timeout=SECONDS)
    except Empty:
        raise ProviderTrouble(f"the provider of sign-ins did not answer within {SECONDS:.0f} s") from None
    if error is None:
        return found  # type: ignore[return-value]  # without an error it is what was answered
    if isinstance(error, requests.RequestException | ValueError | KeyError | OSError | RecursionError):
        raise ProviderTrouble(f"the provider of sign-ins gave no usable answer ({type(error).__name__})") from None
    raise error


def document(address: str) -> dict[str, Any]:
    """The JSON object at an address, from there and from nowhere else. Raises ProviderTrouble."""

    def ask() -> Any:
        with bounded(requests.Session()) as session:
            answer = session.get(address, allow_redirects=False)
            return json.loads(answer.content) if answer.status_code == 200 else answer.status_code

    found = in_time(ask)
    if not isinstance(found, dict):
        told = f"status {found}" if isinstance(found, int) else "no JSON object"
        raise ProviderTrouble(f"the provider of sign-ins answered a question for {address[:200]} with {told}")
    return found
