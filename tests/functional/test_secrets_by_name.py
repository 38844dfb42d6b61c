"""Secrets by name, as the functions read them: kept a while, read anew when asked, and in nothing that is told."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared.cloud.keys import Keys
from shared.cloud.secrets import Secrets
from shared.errors import CloudUnreachable, GrantError, NeedsSomebody, PermissionMissing, Throttled
from shared.log import configure
from shared.loop.signing import Signer
from tests.functional.deployment import Deployment, deployment
from tests.functional.world import HUB, REGION, Key, Stage

READER, STRANGER = (Key(f"LTAI-example-{name}", f"example-secret-of-the-{name}") for name in ("reader", "stranger"))
NAME, BROKEN, HEAD_KEY = "ecr-grants/ledger", "ecr-grants/broken", "ecr-grants/head-key"
VALUES = ["hush-one", "hush-two", "hush-three"]


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A local cloud with secrets, and somebody who may read them."""
    stage = Stage()
    stage.hub["secrets"] = {NAME: {"value": VALUES[0]}, BROKEN: {"value": "hush\nhush"}, HEAD_KEY: {"value": "hush"}}
    may = {"Effect": "Allow", "Action": ["kms:GetSecretValue"], "Resource": [f"acs:kms:*:{HUB}:secret/ecr-grants/*"]}
    for key, statements in ((READER, [may]), (STRANGER, [{**may, "Effect": "Deny"}])):
        stage.hub["users"][key.id.lower()] = {
            "access_key": {"id": key.id, "secret": key.secret},
            "policies": {"secrets": {"Version": "1", "Statement": statements}},
        }
    with deployment(stage, tmp_path_factory.mktemp("secrets"), template=None) as made:
        yield made


def secrets(cloud: Deployment, key: Key = READER, clock: list[float] | None = None) -> Secrets:
    """The gate, with somebody's keys and a clock that is turned by hand."""
    now = clock if clock is not None else [0.0]
    return Secrets(cloud.url, REGION, HUB, lambda: Keys(key.id, key.secret, ""), clock=lambda: now[0])


def asked(cloud: Deployment) -> int:
    """How often KMS was asked so far."""
    return len(cloud.journal(service="kms"))


def test_a_value_is_kept_until_it_is_asked_for_anew_or_is_old(cloud: Deployment) -> None:
    """One call for a whole warm life of ten minutes; a turned secret is seen after that, or at once by who knows better."""
    clock = [0.0]
    gate = secrets(cloud, clock=clock)
    before = asked(cloud)
    assert [gate.read(NAME) for _ in range(3)] == VALUES[:1] * 3
    assert asked(cloud) == before + 1

    cloud.admin.put_secret(HUB, NAME, VALUES[1])
    assert gate.read(NAME) == VALUES[0]
    assert (gate.read(NAME, anew=True), gate.read(NAME)) == (VALUES[1], VALUES[1])
    cloud.admin.put_secret(HUB, NAME, VALUES[2])
    clock[0] += 600
    assert gate.read(NAME) == VALUES[2]
    assert asked(cloud) == before + 3


def test_what_is_wrong_with_a_secret_is_told_without_it(cloud: Deployment, capsys: pytest.CaptureFixture[str]) -> None:
    """Not there, not to be read, more than one line, KMS in trouble: each is one of our errors, and nothing shows a value."""
    configure()
    told = [repr(secrets(cloud)), str(vars(secrets(cloud)))]
    gate = secrets(cloud)
    cases: list[tuple[Secrets, str, type[GrantError], str]] = [
        (gate, "ecr-grants/nowhere", NeedsSomebody, "there is no such secret"),
        (secrets(cloud, STRANGER), NAME, PermissionMissing, f"kms:GetSecretValue is missing in account {HUB}"),
        (gate, BROKEN, NeedsSomebody, f"the secret {BROKEN} is not one line of text"),
    ]
    for by, name, kind, says in cases:
        with pytest.raises(kind, match=says) as caught:
            by.read(name)
        told += [str(caught.value), caught.value.text_zh, repr(caught.value)]
    for trouble, error in (("throttle", Throttled), ("cut_before", CloudUnreachable)):
        cloud.admin.plan(kind=trouble, service="kms")
        with pytest.raises(error) as met:
            gate.read(NAME)
        told.append(str(met.value))
    gate.read(NAME)
    told += [str(vars(gate)), capsys.readouterr().out]
    assert '"secret.read"' in told[-1]
    assert "hush" not in "\n".join(told)


def test_the_signing_key_by_name_is_turned_without_a_start(
    cloud: Deployment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is no key leaves heads unsigned, and is an error in the log; the pass goes on. The next one signs with the new key."""
    configure()
    monkeypatch.delenv("HEAD_KEY", raising=False)
    monkeypatch.setenv("HEAD_KEY_SECRET", HEAD_KEY)
    clock = [0.0]
    gate, signer = secrets(cloud, clock=clock), Signer()
    assert signer.key(gate) is None
    line = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (line["event"], line["level"], line["secret"]) == ("head.unsigned", "error", HEAD_KEY)

    key = Ed25519PrivateKey.generate()
    text = base64.b64encode(key.private_bytes_raw()).decode()
    cloud.admin.put_secret(HUB, HEAD_KEY, text)
    clock[0] += 600
    found = signer.key(gate)
    assert found is not None
    assert found.public_key() == key.public_key()
    assert text not in capsys.readouterr().out + str(vars(gate)) + str(vars(signer))
