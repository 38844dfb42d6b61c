"""The error codes of the message service and the HTTP status that goes with each (mns.md section 5.3)."""

from typing import Final

from localcloud.refusal import Refusal

STATUS: Final = {
    "InvalidArgument": 400,
    "MalformedXML": 400,
    "InvalidAuthorizationHeader": 400,
    "InvalidDateHeader": 400,
    "InvalidDegist": 400,  # the service's own spelling
    "InvalidRequestURL": 400,
    "InvalidQueryString": 400,
    "InvalidQueueName": 400,
    "QueueNameLengthError": 400,
    "QueueNumExceededLimit": 400,
    "MissingAuthorizationHeader": 400,
    "MissingDateHeader": 400,
    "MissingVersionHeader": 400,
    "InvalidVersionHeader": 400,
    "MissingReceiptHandle": 400,
    "MissingVisibilityTimeout": 400,
    "ReceiptHandleError": 400,
    "TopicNameInvalid": 400,
    "TopicNameLengthError": 400,
    "SubscriptionNameInvalid": 400,
    "SubscriptionNameLengthError": 400,
    "EndpointInvalid": 400,
    "AccessDenied": 403,
    "InvalidAccessKeyId": 403,
    "SignatureDoesNotMatch": 403,
    "QueueNotExist": 404,
    "TopicNotExist": 404,
    "SubscriptionNotExist": 404,
    "MessageNotExist": 404,
    "TimeExpired": 408,
    "QueueAlreadyExist": 409,
    "TopicAlreadyExist": 409,
    "SubscriptionAlreadyExist": 409,
    "TooManyRequests": 429,
    "InternalError": 500,
}


def refuse(code: str, message: str) -> Refusal:
    """A refusal with the status that the service gives to this code."""
    return Refusal(STATUS[code], code, message)


def out_of_range(name: str, low: int, high: int, found: object) -> Refusal:
    """The service names the offending element and its bounds; what was found is ours to add."""
    return refuse(
        "InvalidArgument", f"The value of {name} should be between {low} and {high}, found {str(found)[:40]!r}."
    )


def no_message() -> Refusal:
    """An empty receive is an error, not an empty list (mns.md section 0, fact 18)."""
    return refuse("MessageNotExist", "Message not exist.")
