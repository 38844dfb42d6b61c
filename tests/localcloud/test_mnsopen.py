"""The control API of the message service: where dead letters go, through the transport that the vendor's SDKs share."""

from typing import Any

import pytest
from alibabacloud_tea_openapi.client import Client
from alibabacloud_tea_openapi.exceptions import AlibabaCloudException, ClientException
from alibabacloud_tea_openapi.utils_models import Config, OpenApiRequest, Params
from darabonba.runtime import RuntimeOptions

from tests.localcloud.conftest import RunCloud
from tests.localcloud.harness import HANGZHOU, Key, LocalCloud, allow, new_account, user

ACCOUNT = new_account()
LOOKS, LOOKS_KEY = user("looks", allow("mns:Get*"))
NOBODY, NOBODY_KEY = user("nobody", allow("mns:Send*"))


@pytest.fixture
def cloud(run_cloud: RunCloud) -> LocalCloud:
    """Queues and subscriptions with and without a dead-letter queue."""
    work: dict[str, Any] = {"VisibilityTimeout": 60, "dead_letter": {"queue": "dead", "max_receives": 16}}
    subscriptions = {"kept": {"queue": "work", "filter_tag": "a", "dead_letter": "dead"}, "lost": {"queue": "work"}}
    account = {
        "name": "control",
        "enterprise": "1",
        "users": {"looks": LOOKS, "nobody": NOBODY},
        "queues": {"work": work, "dead": {}},
        "topics": {"news": {"subscriptions": subscriptions}},
    }
    return run_cloud({"region": HANGZHOU, "accounts": {ACCOUNT: account}})


def read(cloud: LocalCloud, action: str, key: Key = LOOKS_KEY, **query: str) -> Any:
    """One call, as an SDK makes it."""
    params = Params(
        action=action,
        version="2022-01-19",
        protocol="HTTPS",
        pathname="/",
        method="POST",
        auth_type="AK",
        style="RPC",
        req_body_type="formData",
        body_type="json",
    )
    config = Config(access_key_id=key.id, access_key_secret=key.secret, endpoint=cloud.address, protocol="http")
    return Client(config).call_api(params, OpenApiRequest(query=query), RuntimeOptions(autoretry=False))["body"]


def test_a_queue_shows_where_its_dead_letters_go(cloud: LocalCloud) -> None:
    """With its attributes; the most receives as text, as the vendor's SDKs read it."""
    told = read(cloud, "GetQueueAttributes", QueueName="work")
    assert told["Success"] is True
    assert told["Data"]["VisibilityTimeout"] == 60
    assert told["Data"]["DlqPolicy"] == {"Enabled": True, "DeadLetterTargetQueue": "dead", "MaxReceiveCount": "16"}
    assert read(cloud, "GetQueueAttributes", QueueName="dead")["Data"]["DlqPolicy"] == {"Enabled": False}


def test_a_subscription_shows_where_its_dead_letters_go(cloud: LocalCloud) -> None:
    """With its attributes."""
    told = read(cloud, "GetSubscriptionAttributes", TopicName="news", SubscriptionName="kept")["Data"]
    assert told["DlqPolicy"] == {"Enabled": True, "DeadLetterTargetQueue": "dead"}
    assert (told["FilterTag"], told["Endpoint"]) == ("a", f"acs:mns:{HANGZHOU}:{ACCOUNT}:queues/work")
    lost = read(cloud, "GetSubscriptionAttributes", TopicName="news", SubscriptionName="lost")["Data"]
    assert lost["DlqPolicy"] == {"Enabled": False}


@pytest.mark.parametrize(
    ("action", "query", "status", "code"),
    [
        ("GetQueueAttributes", {"QueueName": "nothing"}, 404, "QueueNotExist"),
        ("GetQueueAttributes", {}, 400, "MissingQueueName"),
        ("GetSubscriptionAttributes", {"TopicName": "news", "SubscriptionName": "no"}, 404, "SubscriptionNotExist"),
        ("CreateQueue", {"QueueName": "one"}, 501, "NotEmulated"),
    ],
)
def test_what_cannot_be_read_is_refused(
    cloud: LocalCloud, action: str, query: dict[str, str], status: int, code: str
) -> None:
    """By name; and nothing can be changed here."""
    with pytest.raises(AlibabaCloudException, match=code) as refused:
        read(cloud, action, LOOKS_KEY, **query)
    assert refused.value.status_code == status


def test_the_same_rights_are_needed_as_in_the_queue_api(cloud: LocalCloud) -> None:
    """On the same resources."""
    with pytest.raises(ClientException):
        read(cloud, "GetQueueAttributes", NOBODY_KEY, QueueName="work")
    decision = cloud.journal()[-1]["decision"]
    assert (decision["action"], decision["allowed"]) == ("mns:GetQueueAttributes", False)
    assert decision["resource"] == f"acs:mns:{HANGZHOU}:{ACCOUNT}:/queues/work"
