"""The codes of queues and topics, as the vendor documents them (MNS error table). A table of data, part of the catalogue."""

from __future__ import annotations

from shared.errors import CloudTrouble, NeedsSomebody, PermanentError, PermissionMissing, TemporaryError, Throttled
from shared.messages.codes import NOBODY, OPERATOR, Entry, Section

QUEUES = Section(
    "Message Service (MNS)",
    (
        Entry("TooManyRequests", Throttled, NOBODY, "the queue service is busy", "消息服务请求过多"),
        Entry("QpsLimitExceeded", Throttled, NOBODY, "the queue service is busy", "消息服务请求过多"),
        Entry("InternalServerError", CloudTrouble, NOBODY, "the queue service failed inside", "消息服务内部错误"),
        Entry(
            "AccessDenied",
            PermissionMissing,
            OPERATOR,
            "whoever asked may not do this on the queue or topic",
            "调用者无权对该队列或主题执行此操作",
        ),
        Entry("InvalidAccessKeyId", NeedsSomebody, OPERATOR, "the access key is not known", "AccessKey 不存在"),
        Entry("QueueNotExist", NeedsSomebody, OPERATOR, "the queue does not exist", "队列不存在"),
        Entry("TopicNotExist", NeedsSomebody, OPERATOR, "the topic does not exist", "主题不存在"),
        Entry(
            "MessageNotExist",
            TemporaryError,
            NOBODY,
            "the queue is empty, or the message is gone",
            "队列为空或消息已不存在",
        ),
        Entry(
            "ReceiptHandleError",
            TemporaryError,
            NOBODY,
            "the message's receipt is no longer valid",
            "消息句柄已失效",
        ),
        Entry(
            "TimeExpired",
            TemporaryError,
            OPERATOR,
            "the clocks differ by more than 15 minutes",
            "时钟偏差超过 15 分钟",
        ),
        Entry(
            "InvalidArgument",
            PermanentError,
            OPERATOR,
            "a queue operation got a wrong argument",
            "消息服务参数错误",
        ),
        Entry("MalformedXML", PermanentError, OPERATOR, "a message could not be written as XML", "消息 XML 格式错误"),
        Entry(
            "InvalidAuthorizationHeader",
            NeedsSomebody,
            OPERATOR,
            "the queue service does not accept the signature",
            "消息服务未接受签名",
        ),
        Entry(
            "MissingAuthorizationHeader",
            NeedsSomebody,
            OPERATOR,
            "the signature is missing",
            "缺少签名",
        ),
        Entry("InvalidDateHeader", TemporaryError, OPERATOR, "the date is not well formed", "日期格式错误"),
        Entry(
            "InvalidDegist",  # the service's own spelling
            TemporaryError,
            NOBODY,
            "a message was damaged on its way",
            "消息在传输中损坏",
        ),
        Entry("InvalidDigest", TemporaryError, NOBODY, "a message was damaged on its way", "消息在传输中损坏"),
        Entry("InvalidRequestURL", NeedsSomebody, OPERATOR, "the address is not MNS's", "消息服务地址错误"),
        Entry("InvalidQueryString", PermanentError, OPERATOR, "a queue operation is not well formed", "请求参数错误"),
        Entry("InvalidVersionHeader", PermanentError, OPERATOR, "the version is not supported", "版本不受支持"),
        Entry("InvalidContentType", PermanentError, OPERATOR, "the content type is not XML", "内容类型错误"),
        Entry("InvalidQueueName", NeedsSomebody, OPERATOR, "the queue's name is not possible", "队列名称无效"),
        Entry("QueueNameLengthError", NeedsSomebody, OPERATOR, "the queue's name is too long", "队列名称过长"),
        Entry("QueueDeletedRecently", NeedsSomebody, OPERATOR, "the queue was deleted a moment ago", "队列刚刚被删除"),
        Entry("QueueAlreadyExist", NeedsSomebody, OPERATOR, "the queue exists otherwise", "同名队列已存在"),
        Entry("QueueNumExceededLimit", NeedsSomebody, OPERATOR, "there are too many queues", "队列数量超过配额"),
        Entry("TopicNameInvalid", NeedsSomebody, OPERATOR, "the topic's name is not possible", "主题名称无效"),
        Entry("TopicNameLengthError", NeedsSomebody, OPERATOR, "the topic's name is too long", "主题名称过长"),
        Entry("TopicDeletedRecently", NeedsSomebody, OPERATOR, "the topic was deleted a moment ago", "主题刚刚被删除"),
        Entry("TopicAlreadyExist", NeedsSomebody, OPERATOR, "the topic exists otherwise", "同名主题已存在"),
        Entry("SubscriptionNotExist", NeedsSomebody, OPERATOR, "the subscription does not exist", "订阅不存在"),
        Entry("SubscriberNotExist", NeedsSomebody, OPERATOR, "the subscriber does not exist", "订阅者不存在"),
        Entry(
            "SubscriptionNameInvalid",
            NeedsSomebody,
            OPERATOR,
            "the subscription's name is not possible",
            "订阅名称无效",
        ),
        Entry(
            "SubscriptionNameLengthError",
            NeedsSomebody,
            OPERATOR,
            "the subscription's name is too long",
            "订阅名称过长",
        ),
        Entry(
            "SubscriptionAlreadyExist",
            NeedsSomebody,
            OPERATOR,
            "the subscription exists otherwise",
            "同名订阅已存在",
        ),
        Entry("EndpointInvalid", NeedsSomebody, OPERATOR, "the subscriber's address is not valid", "订阅地址无效"),
    ),
)
