"""GetSecretValue through the vendor's own transport: what a secret holds, who may read it, and what is refused by name."""

import json
from typing import Any

import pytest
from alibabacloud_tea_openapi.client import Client
from alibabacloud_tea_openapi.utils_models import OpenApiRequest, Params
from darabonba.runtime import RuntimeOptions

from localcloud.client import AdminError
from tests.localcloud.conftest import RunCloud
from tests.localcloud.harness import HANGZHOU, Key, LocalCloud, allow, new_account, refused, user

NAME = "ecr-grants/ledger"
FIRST, SECOND, THIRD = "example-value-one", "example-value-two", "example-value-three"

GET_SECRET_VALUE = Params(
    action="GetSecretValue",
    version="2016-01-20",
    protocol="HTTP",
    pathname="/",
    method="POST",
    auth_type="AK",
    style="RPC",
    req_body_type="formData",
    body_type="json",
)


class Vault:
    """One account with a secret, a user who may read it, and one who may read another one only."""

    def __init__(self, run_cloud: RunCloud) -> None:
        self.uid = new_account()
        arn = f"acs:kms:{HANGZHOU}:{self.uid}:secret/"
        reader, self.reader = user("reader", allow("kms:GetSecretValue", arn + NAME))
        stranger, self.stranger = user("stranger", allow("kms:GetSecretValue", arn + "another"))
        account = {"users": {"reader": reader, "stranger": stranger}, "secrets": {NAME: {"value": FIRST}}}
        self.cloud: LocalCloud = run_cloud({"accounts": {self.uid: account}})

    def get(self, key: Key | None = None, /, **query: str) -> dict[str, Any]:
        """The answer's body."""
        config = (key or self.reader).config
        config.endpoint, config.protocol, config.region_id = self.cloud.address, "HTTP", HANGZHOU
        request = OpenApiRequest(query={"SecretName": NAME, **query})
        answer: dict[str, Any] = Client(config).call_api(GET_SECRET_VALUE, request, RuntimeOptions(autoretry=False))
        return dict(answer["body"])

    def put(self, value: str) -> None:
        """The secret's next value."""
        self.cloud.admin.put_secret(self.uid, NAME, value)


@pytest.fixture
def vault(run_cloud: RunCloud) -> Vault:
    """Fresh for each test."""
    return Vault(run_cloud)


def test_a_secret_is_what_was_put_into_it_last(vault: Vault) -> None:
    """With the one before it as ACSPrevious, and nothing older."""
    first = vault.get()
    assert (first["SecretData"], first["VersionId"], first["SecretDataType"]) == (FIRST, "v1", "text")
    assert first["VersionStages"] == {"VersionStage": ["ACSCurrent"]}
    assert refused(lambda: vault.get(VersionStage="ACSPrevious")) == (404, "Forbidden.ResourceNotFound")

    vault.put(SECOND)
    vault.put(THIRD)
    assert (vault.get()["SecretData"], vault.get()["VersionId"]) == (THIRD, "v3")
    assert vault.get(VersionStage="ACSPrevious")["SecretData"] == SECOND


def test_who_may_read_it_is_said_secret_by_secret(vault: Vault) -> None:
    """A permission on another secret is none; and a secret that is not there is not found by whoever may read it."""
    assert refused(lambda: vault.get(vault.stranger)) == (403, "Forbidden.NoPermission")
    assert vault.cloud.journal()[-1]["decision"]["action"] == "kms:GetSecretValue"
    assert refused(lambda: vault.get(vault.stranger, SecretName="another")) == (404, "Forbidden.ResourceNotFound")


@pytest.mark.parametrize(
    ("query", "says"),
    [
        pytest.param({"SecretName": f"acs:kms:{HANGZHOU}:1:secret/{NAME}"}, "another account", id="of another account"),
        pytest.param({"VersionId": "v1"}, "VersionId", id="by version"),
        pytest.param({"VersionStage": "Custom"}, "VersionStage Custom", id="a stage of one's own"),
        pytest.param({"FetchExtendedConfig": "true"}, "FetchExtendedConfig", id="managed secrets"),
        pytest.param({"DryRun": "true"}, "DryRun", id="a dry run"),
    ],
)
def test_what_is_not_there_is_refused_by_name(vault: Vault, query: dict[str, str], says: str) -> None:
    """Nobody takes it for an answer."""
    assert refused(lambda: vault.get(None, **query)) == (501, "NotEmulated")
    assert says in vault.cloud.journal()[-1]["message"]


def test_the_admin_side_changes_what_is_there_and_shows_no_value(vault: Vault) -> None:
    """Neither does the journal."""
    vault.put(SECOND)
    vault.get()
    for body in ({"name": "another", "value": "x"}, {"name": NAME, "value": ""}):
        with pytest.raises(AdminError, match=r"no secret 'another'|must not be empty"):
            vault.cloud.admin.put_secret(vault.uid, **body)
    with pytest.raises(AdminError, match="the body must be"):
        vault.cloud.admin.call("PUT", "secrets", {"name": NAME})

    world = vault.cloud.admin.world()
    assert world["accounts"][vault.uid]["secrets"] == [{"name": NAME, "version": "v2"}]
    told = json.dumps([world, vault.cloud.journal()])
    assert [value for value in (FIRST, SECOND) if value in told] == []
