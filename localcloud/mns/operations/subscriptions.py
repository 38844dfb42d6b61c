"""Operations on subscriptions to topics (mns.md section 3)."""

from collections.abc import Mapping
from typing import TypeVar

from localcloud.mns.context import Context, Reply
from localcloud.mns.errors import out_of_range, refuse
from localcloud.mns.markup import Element, document, leaf
from localcloud.mns.names import address, endpoint_of
from localcloud.mns.operations.reading import page
from localcloud.mns.topics import FORMATS, MAX_TAG, STRATEGIES, Subscription

Known = TypeVar("Known")


def subscribe(context: Context) -> Reply:
    """PUT /topics/{t}/subscriptions/{s}"""
    element = context.asked.document("Subscription")
    endpoint = element.value("Endpoint")
    if endpoint is None:
        raise refuse("EndpointInvalid", "The endpoint is required.")
    new = context.store.subscribe(
        context.account,
        context.asked.topic,
        context.asked.subscription,
        target=address(endpoint, context.call.region),
        filter_tag=_filter_tag(element),
        strategy=_choice(element, "NotifyStrategy", STRATEGIES) or "BACKOFF_RETRY",
        content_format=_choice(element, "NotifyContentFormat", FORMATS) or "XML",
        now_ms=context.now_ms,
    )
    context.call.effect = new
    context.facts["Endpoint"] = endpoint
    return Reply(
        201 if new else 204, location=context.url(_subscription_path(context.asked.topic, context.asked.subscription))
    )


def set_subscription_attributes(context: Context) -> Reply:
    """PUT /topics/{t}/subscriptions/{s}?metaoverride=true; endpoint and format cannot change"""
    element = context.asked.optional_document("Subscription")
    current = context.store.subscription(context.account, context.asked.topic, context.asked.subscription)
    fixed = {
        "Endpoint": endpoint_of(current.target, context.call.region),
        "NotifyContentFormat": current.content_format,
    }
    for name, value in fixed.items():
        if element.value(name) not in {None, value}:
            raise refuse("InvalidArgument", f"{name} of a subscription cannot be changed.")
    context.store.set_subscription_attributes(
        context.account,
        context.asked.topic,
        context.asked.subscription,
        strategy=_choice(element, "NotifyStrategy", STRATEGIES),
        filter_tag=_filter_tag(element),
        now_ms=context.now_ms,
    )
    context.call.effect = True
    return Reply(204)


def get_subscription_attributes(context: Context) -> Reply:
    """GET /topics/{t}/subscriptions/{s}"""
    subscription = context.store.subscription(context.account, context.asked.topic, context.asked.subscription)
    return Reply(200, document("Subscription", _subscription_elements(context, subscription)))


def list_subscription_by_topic(context: Context) -> Reply:
    """GET /topics/{t}/subscriptions"""
    topic = context.store.topic(context.account, context.asked.topic)

    def entry(name: str) -> str:
        url = leaf("SubscriptionURL", context.url(_subscription_path(topic.name, name)))
        return url + leaf("SubscriptionName", name)

    return page(context, "Subscription", topic.subscriptions, entry)


def unsubscribe(context: Context) -> Reply:
    """DELETE /topics/{t}/subscriptions/{s}"""
    context.call.effect = context.store.unsubscribe(context.account, context.asked.topic, context.asked.subscription)
    if not context.call.effect and context.switches.delete_absent == "not_exist":
        raise refuse("SubscriptionNotExist", "The subscription you provided is not exist.")
    return Reply(204)


def _subscription_path(topic: str, subscription: str) -> str:
    return f"/topics/{topic}/subscriptions/{subscription}"


def _subscription_elements(context: Context, subscription: Subscription) -> str:
    elements = {
        "SubscriptionName": subscription.name,
        "Subscriber": context.account,
        "TopicOwner": context.account,
        "TopicName": context.asked.topic,
        "Endpoint": endpoint_of(subscription.target, context.call.region),
        "NotifyStrategy": subscription.strategy,
        "NotifyContentFormat": subscription.content_format,
        "CreateTime": subscription.created_ms // 1_000,
        "LastModifyTime": subscription.modified_ms // 1_000,
    }
    if subscription.filter_tag is not None:
        elements["FilterTag"] = subscription.filter_tag
    return "".join(leaf(name, value) for name, value in elements.items())


def _filter_tag(element: Element) -> str | None:
    tag = element.value("FilterTag")
    if tag is not None and len(tag) > MAX_TAG:
        raise out_of_range("FilterTag", 1, MAX_TAG, tag)
    return tag


def _choice(element: Element, name: str, known: Mapping[str, Known]) -> Known | None:
    text = element.value(name)
    if text is None:
        return None
    if text not in known:
        raise refuse("InvalidArgument", f"{name} should be one of {', '.join(known)}, found {text[:40]!r}.")
    return known[text]
