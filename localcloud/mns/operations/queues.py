"""Operations on queues as such: their life and their attributes (mns.md section 2.1)."""

from localcloud.mns.attributes import QueueAttributes
from localcloud.mns.context import Context, Reply
from localcloud.mns.errors import refuse
from localcloud.mns.markup import document, leaf
from localcloud.mns.operations.reading import given_attributes, page
from localcloud.mns.queues import Counts, Queue


def create_queue(context: Context) -> Reply:
    """PUT /queues/{q}"""
    given = given_attributes(context.asked.optional_document("Queue"), QueueAttributes.names())
    new = context.store.create_queue(context.account, context.asked.queue, given, context.now_ms)
    context.call.effect = new
    return Reply(201 if new else 204, location=context.url(f"/queues/{context.asked.queue}"))


def set_queue_attributes(context: Context) -> Reply:
    """PUT /queues/{q}?metaoverride=true"""
    given = given_attributes(context.asked.optional_document("Queue"), QueueAttributes.names())
    context.store.set_queue_attributes(context.account, context.asked.queue, given, context.now_ms)
    context.call.effect = True
    return Reply(204)


def get_queue_attributes(context: Context) -> Reply:
    """GET /queues/{q}"""
    return Reply(200, document("Queue", _queue_elements(context, context.queue)))


def list_queue(context: Context) -> Reply:
    """GET /queues"""
    with_meta = context.asked.headers.get("x-mns-with-meta", "").lower() == "true"
    queues = context.store.queues(context.account)

    def entry(name: str) -> str:
        url = leaf("QueueURL", context.url(f"/queues/{name}"))
        return url + (_queue_elements(context, queues[name]) if with_meta else leaf("QueueName", name))

    return page(context, "Queue", queues, entry)


def delete_queue(context: Context) -> Reply:
    """DELETE /queues/{q}"""
    context.call.effect = context.store.delete_queue(context.account, context.asked.queue)
    if not context.call.effect and context.switches.delete_absent == "not_exist":
        raise refuse("QueueNotExist")
    return Reply(204)


def _queue_elements(context: Context, queue: Queue) -> str:
    """Every attribute; one official decoder demands all of them."""
    counts = queue.counts(context.now_ms) if context.switches.message_counts == "real" else Counts(0, 0, 0)
    return "".join(
        leaf(name, value)
        for name, value in {
            "QueueName": queue.name,
            "CreateTime": queue.created_ms // 1_000,
            "LastModifyTime": queue.modified_ms // 1_000,
            **queue.attributes.wire(),
            "ActiveMessages": counts.active,
            "InactiveMessages": counts.inactive,
            "DelayMessages": counts.delayed,
        }.items()
    )
