"""Operations on the messages of a queue, one at a time and in batches (mns.md sections 2.2 to 2.4)."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from localcloud.mns.context import Context, Reply
from localcloud.mns.drafts import read_draft
from localcloud.mns.errors import no_message, out_of_range, refuse
from localcloud.mns.markup import branch, document, leaf
from localcloud.mns.messages import MAX_BATCH, Draft, Message, Property, Receipt
from localcloud.refusal import Refusal

LONGEST_WAIT: Final = 30


def send_message(context: Context) -> Reply:
    """POST /queues/{q}/messages with one message"""
    draft = read_draft(context.asked.document("Message"))
    message, handle = context.store.send(context.account, context.asked.queue, draft, context.now_ms)
    context.call.effect = True
    context.facts["MessageId"] = message.id
    return Reply(201, document("Message", _sent(message, handle)))


def batch_send_message(context: Context) -> Reply:
    """POST /queues/{q}/messages with up to sixteen messages, each with its own outcome (section 5.2)"""
    elements = list(context.asked.document("Messages").all("Message"))
    _check_batch("Message", len(elements))
    drafts: list[Draft | Refusal] = []
    for element in elements:
        try:
            drafts.append(read_draft(element))
        except Refusal as refusal:
            if refusal.code == "NotEmulated":
                raise
            drafts.append(refusal)
    outcomes = context.store.send_many(context.account, context.asked.queue, drafts, context.now_ms)
    sent = [outcome[0].id for outcome in outcomes if not isinstance(outcome, Refusal)]
    context.call.effect = bool(sent)
    context.facts["MessageId"] = sent
    failed = len(sent) < len(outcomes)

    def item(outcome: tuple[Message, str | None] | Refusal) -> str:
        if isinstance(outcome, Refusal):
            return _unsent(outcome)
        # Beside a failure one official client accepts exactly two children, so the handle has to stay away.
        return _sent(outcome[0], None if failed else outcome[1])

    inner = "".join(branch("Message", item(outcome)) for outcome in outcomes)
    return Reply(int(context.switches.batch_send_failure) if failed else 201, document("Messages", inner))


def _sent(message: Message, handle: str | None) -> str:
    ids = f"<MessageId>{message.id}</MessageId>\n<MessageBodyMD5>{message.md5}</MessageBodyMD5>\n"
    return ids if handle is None else f"{ids}<ReceiptHandle>{handle}</ReceiptHandle>\n"


def _unsent(refusal: Refusal) -> str:
    return leaf("ErrorCode", refusal.code) + leaf("ErrorMessage", refusal.message)


def receive_message(context: Context) -> Reply | Awaitable[Reply]:
    """GET /queues/{q}/messages"""
    return _receive(context, 1, lambda receipts: document("Message", _received(receipts[0])))


def batch_receive_message(context: Context) -> Reply | Awaitable[Reply]:
    """GET /queues/{q}/messages?numOfMessages=n; the root is Messages even for one"""
    return _receive(context, _batch_size(context), lambda receipts: _messages(_received(each) for each in receipts))


def _receive(context: Context, count: int, render: Callable[[list[Receipt]], str]) -> Reply | Awaitable[Reply]:
    """Answer at once when there is something; hold the request when there is not and the client wants to wait."""
    wait = context.asked.number("waitseconds", 0, LONGEST_WAIT)
    if wait is None:
        wait = context.queue.attributes.polling_wait_seconds

    def reply(receipts: list[Receipt]) -> Reply:
        context.call.effect = True
        context.facts["MessageId"] = [each.message.id for each in receipts]
        return Reply(200, render(receipts))

    receipts = context.receiver.try_receive(context.call, context.account, context.asked.queue, count)
    if receipts:
        return reply(receipts)
    if wait == 0 or context.switches.long_poll == "immediate":
        raise no_message()

    async def poll() -> Reply:
        found = await context.receiver.poll(
            context.call, context.account, context.asked.queue, count=count, seconds=wait, gone=context.gone
        )
        if not found:
            raise no_message()
        return reply(found)

    return poll()


def _received(receipt: Receipt) -> str:
    message = receipt.message
    return (
        f"<MessageId>{message.id}</MessageId>\n<ReceiptHandle>{receipt.handle}</ReceiptHandle>\n"
        f"<NextVisibleTime>{receipt.next_visible_ms}</NextVisibleTime>\n{_content(message, receipt.dequeue_count)}"
    )


def peek_message(context: Context) -> Reply:
    """GET /queues/{q}/messages?peekonly=true"""
    return Reply(200, document("Message", _peeked(_peek(context, 1)[0])))


def batch_peek_message(context: Context) -> Reply:
    """GET /queues/{q}/messages?peekonly=true&numOfMessages=n"""
    return Reply(200, _messages(_peeked(message) for message in _peek(context, _batch_size(context))))


def _peek(context: Context, count: int) -> list[Message]:
    messages = context.queue.peek(count, context.now_ms)
    if not messages:
        raise no_message()
    return messages


def _peeked(message: Message) -> str:
    return f"<MessageId>{message.id}</MessageId>\n{_content(message, message.dequeue_count)}"


def _content(message: Message, dequeue_count: int) -> str:
    """What receive and peek have in common; user properties last, since one client reads nothing behind them."""
    return (
        f"{leaf('MessageBody', message.body)}<MessageBodyMD5>{message.md5}</MessageBodyMD5>\n"
        f"<EnqueueTime>{message.enqueued_ms}</EnqueueTime>\n"
        f"<FirstDequeueTime>{message.first_dequeued_ms}</FirstDequeueTime>\n"
        f"<DequeueCount>{dequeue_count}</DequeueCount>\n<Priority>{message.priority}</Priority>\n"
        f"{_properties('SystemProperties', 'SystemPropertyValue', message.system_properties)}"
        f"{_properties('UserProperties', 'PropertyValue', message.user_properties)}"
    )


def _properties(root: str, item: str, properties: tuple[Property, ...]) -> str:
    if not properties:
        return ""
    inner = "".join(
        branch(item, f"{leaf('Name', each.name)}{leaf('Value', each.value)}<Type>{each.type}</Type>\n")
        for each in properties
    )
    return branch(root, inner)


def _messages(inner: Iterable[str]) -> str:
    return document("Messages", "".join(branch("Message", each) for each in inner))


def delete_message(context: Context) -> Reply:
    """DELETE /queues/{q}/messages?ReceiptHandle=h"""
    queue = context.queue
    try:
        queue.delete(_handle(context), context.now_ms)
    except Refusal as refusal:
        raise _lapsed(context, refusal) from refusal
    context.call.effect = True
    return Reply(204)


def batch_delete_message(context: Context) -> Reply:
    """DELETE /queues/{q}/messages with handles in the body; an answer other than 204 lists the failures only"""
    queue = context.queue
    handles = [element.scalar() for element in context.asked.document("ReceiptHandles").all("ReceiptHandle")]
    _check_batch("ReceiptHandle", len(handles))
    failures = queue.delete_many(handles, context.now_ms)
    context.call.effect = len(failures) < len(handles)
    if not failures:
        return Reply(204)
    inner = "".join(
        branch("Error", _unsent(_lapsed(context, refusal)) + leaf("ReceiptHandle", handle))
        for handle, refusal in failures
    )
    return Reply(404, document("Errors", inner))


def change_message_visibility(context: Context) -> Reply:
    """PUT /queues/{q}/messages?ReceiptHandle=h&VisibilityTimeout=s"""
    queue = context.queue
    handle = _handle(context)
    seconds = context.asked.number("VisibilityTimeout", 1, 43_200)
    if seconds is None:
        raise refuse("MissingVisibilityTimeout", "VisibilityTimeout is required.")
    try:
        fresh, next_visible_ms = queue.change_visibility(
            handle, seconds, context.now_ms, keep=context.switches.old_receipt == "valid"
        )
    except Refusal as refusal:
        raise _lapsed(context, refusal) from refusal
    context.call.effect = True
    inner = leaf("ReceiptHandle", fresh) + leaf("NextVisibleTime", next_visible_ms)
    return Reply(200, document("ChangeVisibility", inner))


def _handle(context: Context) -> str:
    handle = context.asked.query.get("receipthandle")
    if not handle:
        raise refuse("MissingReceiptHandle", "ReceiptHandle is required.")
    return handle


def _lapsed(context: Context, refusal: Refusal) -> Refusal:
    """What a well-formed handle that no longer counts is answered with is documented in two ways (section 2.4)."""
    if refusal.code == "MessageNotExist" and context.switches.lapsed_receipt == "receipt_handle_error":
        return refuse("ReceiptHandleError", "The receipt handle you provided has expired.")
    return refusal


def _batch_size(context: Context) -> int:
    count = context.asked.number("numOfMessages", 1, MAX_BATCH)
    if count is None:
        raise out_of_range("numOfMessages", 1, MAX_BATCH, None)
    return count


def _check_batch(name: str, count: int) -> None:
    if not 1 <= count <= MAX_BATCH:
        raise refuse("InvalidArgument", f"A batch has 1 to {MAX_BATCH} {name} elements, found {count}.")
