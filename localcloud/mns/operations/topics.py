"""Operations on topics, publishing included (mns.md section 3)."""

from localcloud.mns.attributes import TOPIC_RETENTION_SECONDS, TopicAttributes
from localcloud.mns.context import Context, Reply
from localcloud.mns.drafts import read_draft
from localcloud.mns.errors import out_of_range, refuse
from localcloud.mns.markup import document, leaf
from localcloud.mns.operations.reading import given_attributes, page
from localcloud.mns.topics import MAX_TAG, Topic


def create_topic(context: Context) -> Reply:
    """PUT /topics/{t}"""
    given = given_attributes(context.asked.optional_document("Topic"), TopicAttributes.names())
    new = context.store.create_topic(context.account, context.asked.topic, given, context.now_ms)
    context.call.effect = new
    return Reply(201 if new else 204, location=context.url(f"/topics/{context.asked.topic}"))


def set_topic_attributes(context: Context) -> Reply:
    """PUT /topics/{t}?metaoverride=true"""
    given = given_attributes(context.asked.optional_document("Topic"), TopicAttributes.names())
    context.store.set_topic_attributes(context.account, context.asked.topic, given, context.now_ms)
    context.call.effect = True
    return Reply(204)


def get_topic_attributes(context: Context) -> Reply:
    """GET /topics/{t}"""
    topic = context.store.topic(context.account, context.asked.topic)
    return Reply(200, document("Topic", _topic_elements(context, topic)))


def list_topic(context: Context) -> Reply:
    """GET /topics"""
    with_meta = context.asked.headers.get("x-mns-with-meta", "").lower() == "true"
    topics = context.store.topics(context.account)

    def entry(name: str) -> str:
        url = leaf("TopicURL", context.url(f"/topics/{name}"))
        return url + (_topic_elements(context, topics[name]) if with_meta else leaf("TopicName", name))

    return page(context, "Topic", topics, entry)


def delete_topic(context: Context) -> Reply:
    """DELETE /topics/{t}"""
    context.call.effect = context.store.delete_topic(context.account, context.asked.topic)
    if not context.call.effect and context.switches.delete_absent == "not_exist":
        raise refuse("TopicNotExist", "The topic you provided is not exist.")
    return Reply(204)


def _topic_elements(context: Context, topic: Topic) -> str:
    return "".join(
        leaf(name, value)
        for name, value in {
            "TopicName": topic.name,
            "MessageCount": context.store.pending(topic),
            "CreateTime": topic.created_ms // 1_000,
            "LastModifyTime": topic.modified_ms // 1_000,
            "MessageRetentionPeriod": TOPIC_RETENTION_SECONDS,
            **topic.attributes.wire(),
        }.items()
    )


def publish_message(context: Context) -> Reply:
    """POST /topics/{t}/messages; attributes for mail and SMS are ignored, since nothing is sent there"""
    element = context.asked.document("Message")
    draft, tag = read_draft(element), element.value("MessageTag")
    if tag is not None and len(tag) > MAX_TAG:
        raise out_of_range("MessageTag", 1, MAX_TAG, tag)
    publication = context.publisher.publish(context.account, context.asked.topic, draft, tag, context.now_ms)
    context.call.effect = True
    context.facts["MessageId"] = publication.id
    if tag is not None:
        context.facts["MessageTag"] = tag
    inner = leaf("MessageId", publication.id) + leaf("MessageBodyMD5", publication.md5)
    return Reply(201, document("Message", inner))
