"""Names, addresses and resource names of queues and topics."""

import re
from functools import lru_cache
from typing import Final

from localcloud.call import Caller
from localcloud.endpoints import push_kind
from localcloud.mns.errors import refuse
from localcloud.mns.topics import PushAddress, QueueAddress
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


def account_in(host: str) -> str | None:
    """The account that the first label of a host names, in whatever region."""
    matched = _ACCOUNT_HOST.fullmatch(host)
    return None if matched is None else matched[1]


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


def address(endpoint: str, region: str) -> QueueAddress | PushAddress:
    """What is behind a subscription's endpoint, of all kinds that the vendor documents (mns.md section 3)."""
    kind = push_kind(endpoint)
    if kind is not None:
        return PushAddress(kind, endpoint)
    matched = _QUEUE_ENDPOINT.fullmatch(endpoint)
    if matched is None:
        raise refuse("EndpointInvalid", f"The endpoint {endpoint[:80]!r} is invalid.")
    elsewhere, account, queue = matched.groups()
    if elsewhere != region:
        raise not_emulated(f"A topic subscription to a queue of another region ({elsewhere})")
    return QueueAddress(account, check_name("queue", queue))


def endpoint_of(target: QueueAddress | PushAddress, region: str) -> str:
    """How a subscription names its target: no slash before ``queues``, unlike resource names in policies."""
    if isinstance(target, PushAddress):
        return target.endpoint
    return f"acs:mns:{region}:{target.account}:queues/{target.queue}"


def platform_caller(account: str) -> Caller:
    """As whom the platform itself acts."""
    return Caller(account, "service", "mns", None, f"acs:ram::{account}:service/mns", "", "")
