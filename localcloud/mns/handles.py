"""Receipt handles of one queue: who may still delete a message or change its visibility (mns.md section 2.4)."""

import re
from typing import Final

from localcloud.mns.errors import no_message, refuse
from localcloud.mns.messages import Message, new_handle

# Shapes seen in the wild may hold + / = (mns.md section 2.4); ours do not, but a foreign one is not malformed.
_HANDLE: Final = re.compile(r"(?:[0-9]{1,4}-)?[A-Za-z0-9+/=_-]{16,256}")


class ReceiptHandles:
    """The handles that were given out, each with its message."""

    def __init__(self) -> None:
        self._handles: dict[str, Message] = {}

    def __len__(self) -> int:
        return len(self._handles)

    def clear(self) -> None:
        """Nobody holds anything any longer."""
        self._handles.clear()

    def issue(self, message: Message) -> str:
        """A new handle, which counts until the message becomes visible again."""
        handle = new_handle()
        message.handles[handle] = message.visible_ms
        self._handles[handle] = message
        return handle

    def void(self, message: Message) -> None:
        """None of a message's handles counts any longer."""
        for handle in message.handles:
            del self._handles[handle]
        message.handles.clear()

    def held_by(self, handle: str, now_ms: int) -> Message:
        """The message that a handle names; malformed handles and lapsed ones are told apart."""
        message = self._handles.get(handle)
        if message is None:
            if not _HANDLE.fullmatch(handle):
                raise refuse("ReceiptHandleError", "The receipt handle you provided is not valid.")
            raise no_message()
        if message.handles[handle] <= now_ms:
            raise no_message()
        return message
