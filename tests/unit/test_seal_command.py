"""Sealing by hand: what is written opens, and whatever is wrong is said before it is sent."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from shared.messages.seal import read_seal
from shared.rules.sealing import judge
from tests.command import whole_command
from tests.seals import APPROVAL, DEPLOYMENT, KEYS, NOW, SKEW, compact, parts, private_key

KID = "self-service-1"


def pem(encryption: KeySerializationEncryption) -> bytes:
    """The key as its file has it."""
    return private_key(KID).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An approval and a key."""
    (tmp_path / "approval.json").write_text(json.dumps(APPROVAL, indent=2), "utf-8")
    (tmp_path / "key.pem").write_bytes(pem(NoEncryption()))
    return tmp_path


def sealed(folder: Path, *more: str, kid: str = KID, audience: str = DEPLOYMENT) -> Result:
    """What a person types."""
    words = [str(folder / "approval.json"), "--key", str(folder / "key.pem"), "--kid", kid, "--audience", audience]
    return CliRunner().invoke(whole_command(), ["seal", *words, *more])


def test_what_is_sealed_opens(folder: Path) -> None:
    """On standard output or in a file, at the time that was said."""
    told = sealed(folder, "--at", "2026-12-01T01:00:00+01:00")
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout) == parts(json.dumps(APPROVAL, sort_keys=True, separators=(",", ":")).encode()).form()
    approval = judge(read_seal(told.stdout), KEYS, deployment=DEPLOYMENT, now=NOW, skew=SKEW)
    assert approval.request_id == APPROVAL["request_id"]

    into = sealed(folder, "--at", "2026-12-01T00:00:00Z", "-o", str(folder / "sealed.json"))
    assert (into.exit_code, into.output) == (0, "")
    assert (folder / "sealed.json").read_text("utf-8") == told.stdout


def test_without_a_time_it_is_sealed_now(folder: Path) -> None:
    """By this machine's clock."""
    before = int(time.time())
    assert before * 1000 <= read_seal(sealed(folder).stdout).sealed_at <= time.time() * 1000


@pytest.mark.parametrize(
    ("approval", "told"),
    [
        pytest.param(compact(APPROVAL | {"reason": " "}), "approval.json: reason: must be", id="a faulty approval"),
        pytest.param(compact(APPROVAL)[:-1] + b',"reason":"x"}', "reason: is there twice", id="a field twice"),
        pytest.param(compact(parts().form()), "itself sealed", id="sealed already"),
        pytest.param(b"\xff", "is not UTF-8", id="no text"),
        pytest.param(b"no JSON", "not JSON", id="no JSON"),
        pytest.param(None, "cannot be read", id="no file"),
    ],
)
def test_a_faulty_approval_is_refused_with_its_field(folder: Path, approval: bytes | None, told: str) -> None:
    """As the functions would tell it, and nothing is written."""
    if approval is None:
        (folder / "approval.json").unlink()
    else:
        (folder / "approval.json").write_bytes(approval)
    refused = sealed(folder, "-o", str(folder / "sealed.json"))
    assert refused.exit_code == 2
    assert told in refused.stderr
    assert not (folder / "sealed.json").exists()


OTHER_KIND = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
PUBLIC = private_key(KID).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize(
    ("key", "told"),
    [
        pytest.param(pem(BestAvailableEncryption(b"not a secret")), "(it is encrypted)", id="encrypted"),
        pytest.param(OTHER_KIND, "(it is of another kind)", id="of another kind"),
        pytest.param(PUBLIC, "must be an Ed25519 private key", id="the public half"),
        pytest.param(pem(NoEncryption())[:-40], "must be an Ed25519 private key", id="half a file"),
        pytest.param(None, "cannot be read", id="no file"),
    ],
)
def test_a_key_that_is_none_is_not_shown(folder: Path, key: bytes | None, told: str) -> None:
    """What is in the file may be a secret all the same."""
    if key is None:
        (folder / "key.pem").unlink()
    else:
        (folder / "key.pem").write_bytes(key)
    refused = sealed(folder)
    assert refused.exit_code == 2
    assert told in refused.stderr
    for line in (key or b"").splitlines()[1:-1]:
        assert line.decode() not in refused.output


@pytest.mark.parametrize(
    ("words", "told"),
    [
        pytest.param({"kid": "a key"}, "--kid must be the name of a key", id="a name that is none"),
        pytest.param({"audience": ""}, "--audience must be the id of a deployment", id="no deployment"),
    ],
)
def test_a_name_that_is_none_is_refused(folder: Path, words: dict[str, str], told: str) -> None:
    """Before anything is signed."""
    refused = sealed(folder, **words)
    assert refused.exit_code == 2
    assert told in refused.stderr


@pytest.mark.parametrize("at", ["yesterday", "2026-12-01", "1796083200", "2026-12-01T00:00:00"])
def test_a_time_needs_its_zone(folder: Path, at: str) -> None:
    """As in messages."""
    refused = sealed(folder, "--at", at)
    assert refused.exit_code == 2
    assert "--at must be an ISO 8601 time with its zone" in refused.stderr


def test_a_place_that_cannot_be_written_is_said(folder: Path) -> None:
    """One line, no traceback."""
    refused = sealed(folder, "-o", str(folder / "nowhere" / "sealed.json"))
    assert refused.exit_code == 2
    assert "cannot be written" in refused.stderr
