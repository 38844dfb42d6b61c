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

TEXTS: Final = {
    "InvalidAuthorizationHeader": "The Authorization header format is invalid.",
    "InvalidDateHeader": "The Date header format is invalid.",
    "InvalidDegist": "The Content-MD5 you specified is invalid.",
    "InvalidRequestURL": "Http request URL format invalid.",
    "MalformedXML": "The XML you provided was not well-formed.",
    "MissingAuthorizationHeader": "Authorization header is required.",
    "MissingDateHeader": "Date header is required.",
    "MissingReceiptHandle": "ReceiptHandle is required.",
    "MissingVisibilityTimeout": "VisibilityTimeout is required.",
    "ReceiptHandleError": "The receipt handle you provide is not valid.",
    "AccessDenied": "The OwnerId that your Access Key Id associated to is forbidden for this operation.",
    "InvalidAccessKeyId": "The AccessKey Id you provided is not exist.",
    "SignatureDoesNotMatch": "The request signature we calculated does not match the signature you provided. "
    "Check your key and signing method.",
    "InvalidQueueName": "The queue name you provided is invalid. QueueName should start with alpha and contain only "
    "alpha, digit or - .",
    "QueueNotExist": "The queue name you provided is not exist.",
    "QueueAlreadyExist": "The queue you want to create is already exist.",
    "MessageNotExist": "Message not exist.",
    "TimeExpired": "The http request you sent is expired.",
    "InternalError": "Interal error.",  # the service's own spelling
}
"""The service's own words, letter by letter, for codes that always come with the same ones; clients compare them."""


def refuse(code: str, detail: str = "") -> Refusal:
    """A refusal with the status and the words that the service gives to this code.

    Where its words are always the same, what they leave out stands in the journal.
    """
    text = TEXTS.get(code)
    if text is None:
        return Refusal(STATUS[code], code, detail)
    return Refusal(STATUS[code], code, text, note="" if detail == text else detail)


def out_of_range(name: str, low: int, high: int, found: object) -> Refusal:
    """The service names the offending element and its bounds; what was found stands in the journal."""
    text = f"The value of {name} should between {low} and {high} seconds/bytes."
    return Refusal(400, "InvalidArgument", text, note=f"found {str(found)[:40]!r}")


def unknown_parameter(name: str, detail: str) -> Refusal:
    """The service names the parameter that it does not take."""
    return Refusal(
        400, "InvalidQueryString", f'Http request URL contains invalid querystring item "{name}".', note=detail
    )


def no_message() -> Refusal:
    """An empty receive is an error, not an empty list (mns.md section 0, fact 18)."""
    return refuse("MessageNotExist", "Message not exist.")
