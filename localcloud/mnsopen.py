"""The control API of the message service (Mns-open 2022-01-19), as far as the queue API does not show a thing: dead letters.

Two reads (mns.md section 9); everything else of it is refused by name.
"""

from collections.abc import Mapping

from localcloud.call import Call, Caller
from localcloud.kernel import Cloud
from localcloud.mns.attributes import QueueAttributes
from localcloud.mns.names import endpoint_of
from localcloud.mns.store import Store
from localcloud.operations import Operation, Product, Reply, Work
from localcloud.params import Params

_NAME = r"[A-Za-z0-9-]{1,256}"


def product(store: Store) -> Product:
    """The operations over the queues and topics there are. Answers carry what the vendor's SDKs read."""

    def get_queue_attributes(cloud: Cloud, caller: Caller, params: Params) -> Work:
        name = params.required("QueueName", _NAME)

        def look(call: Call) -> Reply:
            queue = store.queue(call.account, name)
            target = queue.dead_letter
            policy = (
                {"Enabled": False}
                if target is None
                else {
                    "Enabled": True,
                    "DeadLetterTargetQueue": target.queue,
                    "MaxReceiveCount": str(target.max_receives),
                }
            )
            return _enveloped({"QueueName": name, **_shown(queue.attributes), "DlqPolicy": policy})

        return Work((_permission(cloud, caller, "GetQueueAttributes", f"/queues/{name}"),), look=look)

    def get_subscription_attributes(cloud: Cloud, caller: Caller, params: Params) -> Work:
        topic, name = params.required("TopicName", _NAME), params.required("SubscriptionName", _NAME)

        def look(call: Call) -> Reply:
            found = store.subscription(call.account, topic, name)
            policy = (
                {"Enabled": False}
                if found.dead_letter is None
                else {"Enabled": True, "DeadLetterTargetQueue": found.dead_letter}
            )
            data = {
                "TopicName": topic,
                "TopicOwner": call.account,
                "SubscriptionName": name,
                "Endpoint": endpoint_of(found.target, call.region),
                "NotifyStrategy": found.strategy,
                "NotifyContentFormat": found.content_format,
                "FilterTag": found.filter_tag or "",
                "DlqPolicy": policy,
            }
            return _enveloped(data)

        path = f"/topics/{topic}/subscriptions/{name}"
        return Work((_permission(cloud, caller, "GetSubscriptionAttributes", path),), look=look)

    operations: dict[str, Operation] = {
        "GetQueueAttributes": get_queue_attributes,
        "GetSubscriptionAttributes": get_subscription_attributes,
    }
    return Product("mns", "Mns-open", "2022-01-19", frozenset({"GET", "POST"}), operations)


def _permission(cloud: Cloud, caller: Caller, action: str, path: str) -> tuple[str, str]:
    """The same actions and resources as in the queue API (mns.md section 9)."""
    return f"mns:{action}", f"acs:mns:{cloud.world.region}:{caller.account}:{path}"


def _shown(attributes: QueueAttributes) -> dict[str, int]:
    return {
        "DelaySeconds": attributes.delay_seconds,
        "MaximumMessageSize": attributes.maximum_message_size,
        "MessageRetentionPeriod": attributes.message_retention_period,
        "VisibilityTimeout": attributes.visibility_timeout,
        "PollingWaitSeconds": attributes.polling_wait_seconds,
    }


def _enveloped(data: Mapping[str, object]) -> Reply:
    return {"Code": 200, "Status": "Success", "Message": "operation success", "Success": True, "Data": dict(data)}
