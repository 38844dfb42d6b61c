"""What an operation gets to work with, and what it answers before that becomes HTTP."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from localcloud.call import Call
from localcloud.mns.publishing import Publisher
from localcloud.mns.queues import Queue
from localcloud.mns.receiving import Receiver
from localcloud.mns.store import Store
from localcloud.mns.wire import Asked
from localcloud.switches import Switches


class Reply(NamedTuple):
    """An answer before it becomes HTTP."""

    status: int
    body: str = ""
    location: str | None = None


@dataclass(slots=True)
class Context:
    """What an operation works with: the state of the service, the request, and the call it is performed as."""

    store: Store
    """The queues and topics."""
    switches: Switches
    """What the vendor does not document."""
    receiver: Receiver
    publisher: Publisher
    asked: Asked
    call: Call
    host: str
    facts: dict[str, Any]
    """The call's parameters; operations add what the journal should show."""
    gone: Callable[[], bool]
    """Whether the client hung up meanwhile."""

    @property
    def account(self) -> str:
        """The account that owns what is asked for."""
        return self.call.account

    @property
    def now_ms(self) -> int:
        """The time of the call."""
        return int(self.call.now * 1_000)

    @property
    def queue(self) -> Queue:
        """The queue that is asked for."""
        return self.store.queue(self.account, self.asked.queue)

    def url(self, path: str) -> str:
        """A URL that this client can reach."""
        return f"http://{self.host}{path}"


Operation = Callable[[Context], Reply | Awaitable[Reply]]
