"""Names, addresses and resource names of queues and topics."""

import re
from functools import lru_cache
from typing import Final

from localcloud.call import Caller
from localcloud.mns.errors import refuse
from localcloud.mns.topics import QueueAddress
from localcloud.refusal import not_emulated

MAX_NAME: Final = 120

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
_HOST: Final = re.compile(r"[A-Za-z0-9._-]{1,255}(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,64}\](?::[0-9]{1,5})?")
_ACCOUNT_HOST: Final = re.compile(
    r"([0-9]{15,20})(?:\.mns\.([a-z0-9-]+?)(?:-internal(?:-vpc)?)?\.aliyuncs\.com)?(?:[.:].*)?"
)
_QUEUE_ENDPOINT: Final = re.compile(r"acs:mns:([a-z0-9-]+):([0-9]{15,20}):queues/([^/]+)")

_INVALID: Final = {"queue": "InvalidQueueName", "topic": "TopicNameInvalid", "subscription": "SubscriptionNameInvalid"}
_LENGTH: Final = {
    "queue": "QueueNameLengthError",
    "topic": "TopicNameLengthError",
    "subscription": "SubscriptionNameLengthError",
}


def check_name(kind: str, name: str) -> str:
    """A name as documented: letters, digits and hyphens, a letter or digit first, at most 120 characters."""
    if not 1 <= len(name) <= MAX_NAME:
        raise refuse(_LENGTH[kind], f"The length of the {kind} name should be between 1 and {MAX_NAME}.")
    if not _NAME.fullmatch(name):
        raise refuse(_INVALID[kind], f"The {kind} name {name[:40]!r} is invalid.")
    return name


@lru_cache(maxsize=256)
def check_host(host: str) -> str:
    """The host a client addressed; answers build URLs from it, so it has to look like one."""
    if not _HOST.fullmatch(host):
        raise refuse("InvalidRequestURL", f"The host {host[:40]!r} is invalid.")
    return host


@lru_cache(maxsize=256)
def owner_of(host: str, region: str) -> str | None:
    """The account that the first label of the host names, if it does (mns.md section 1)."""
    matched = _ACCOUNT_HOST.fullmatch(host)
    if matched is None:
        return None
    account, elsewhere = matched.groups()
    if elsewhere is not None and elsewhere != region:
        raise not_emulated(f"Region {elsewhere} of MNS")
    return account


def queue_address(endpoint: str, region: str) -> QueueAddress:
    """The queue behind a subscription's endpoint; other kinds of endpoints are refused by name."""
    for prefix, kind in (("http:", "HTTP"), ("https:", "HTTPS"), ("mail:", "mail"), ("sms:", "SMS")):
        if endpoint.lower().startswith(prefix):
            raise not_emulated(f"A topic subscription with an {kind} endpoint")
    matched = _QUEUE_ENDPOINT.fullmatch(endpoint)
    if matched is None:
        raise refuse("EndpointInvalid", f"The endpoint {endpoint[:80]!r} is invalid.")
    elsewhere, account, queue = matched.groups()
    if elsewhere != region:
        raise not_emulated(f"A topic subscription to a queue of another region ({elsewhere})")
    return QueueAddress(account, check_name("queue", queue))


def queue_endpoint(address: QueueAddress, region: str) -> str:
    """How a subscription names its queue: no slash before ``queues``, unlike resource names in policies."""
    return f"acs:mns:{region}:{address.account}:queues/{address.queue}"


def platform_caller(account: str) -> Caller:
    """As whom the platform itself acts."""
    return Caller(account, "service", "mns", None, f"acs:ram::{account}:service/mns", "", "")
