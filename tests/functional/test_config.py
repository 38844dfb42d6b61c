"""The operator's commands for keys and the configuration, as people type them."""

from __future__ import annotations

import json
import shutil
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from examples.keys import CONFIGURATION, ISSUER, key, pem
from shared.messages.configuration import public_x
from shared.rules.configuration import verified
from tests.command import whole_command
from tests.functional.launch import run

EXAMPLE = Path(__file__).parents[2] / "examples" / "config"
KEYS = {name: public_x(key(name)) for name in (CONFIGURATION, "second")}
CONFIG_KEYS = ",".join(f"{name}:{x}" for name, x in KEYS.items())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The example's folder, to be changed."""
    return Path(shutil.copytree(EXAMPLE, tmp_path / "config"))


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, Path]:
    """The files of private keys that may sign."""
    files = {name: tmp_path / f"{name}.pem" for name in KEYS}
    for name, file in files.items():
        file.write_text(pem(name), "utf-8")
    return files


def told(*words: object, **environment: str) -> Result:
    """What a command says."""
    return CliRunner(env=environment).invoke(whole_command(), [str(word) for word in words])


def signing(source: Path, name: str, keys: dict[str, Path], output: Path, *more: str, **environment: str) -> Result:
    """What signing says."""
    return told("config", "sign", source, "--key", keys[name], "--kid", name, "-o", output, *more, **environment)


# -- config ------------------------------------------------------------------------------------------------------------


def test_a_new_folder_has_nothing_wrong_with_it(tmp_path: Path) -> None:
    """It is written once: what is there is left alone, the schema apart, which is the code's."""
    folder = tmp_path / "deep" / "config"
    first = run("cli", "config", "init", str(folder))
    assert first.returncode == 0, first.stderr
    assert "wrote accounts.yaml, issuers.yaml, people.yaml, policy.cedar, policy.cedarschema in " in first.stdout
    assert told("config", "check", folder).output == (
        f"{folder}: 0 accounts, 0 routers, 0 issuers, 0 persons; nothing is wrong with it\n"
    )
    (folder / "accounts.yaml").write_text("version: 1\naccounts: {}\n# mine\n", "utf-8")
    (folder / "policy.cedarschema").write_text("// old\n", "utf-8")
    again = told("config", "init", folder, "--json")
    assert json.loads(again.stdout)["written"] == ["policy.cedarschema"]
    assert (folder / "accounts.yaml").read_text("utf-8").endswith("# mine\n")
    assert told("config", "init", folder).stdout == f"{folder} has all files: nothing was written\n"


def test_what_a_new_folder_shows_is_an_entry(tmp_path: Path) -> None:
    """Its commented lines, without their signs, are read as they are, once there is a key."""
    folder = tmp_path / "config"
    told("config", "init", folder)
    for name, empty in (("accounts", "accounts: {}\n"), ("issuers", "issuers: {}\n"), ("people", "")):
        path = folder / f"{name}.yaml"
        text = path.read_text("utf-8").replace(empty, empty.replace(" {}", ""))
        for kind in ("persons: {}", "groups: {}", "delegations: []"):
            text = text.replace(kind, kind.split(" ")[0])
        text = text.replace("\n#  ", "\n  ").replace("# regions:", "regions:").replace("x: ...", f"x: {KEYS['second']}")
        path.write_text(text.replace("requester, to: approver", "requester, to: approver"), "utf-8")
    people = folder / "people.yaml"
    text = people.read_text("utf-8").replace(
        "groups:\n", '  approver:\n    subjects: ["chat:a"]\ngroups:\n  network-leads: [approver]\n'
    )
    people.write_text(text, "utf-8")
    assert told("config", "check", folder).output == (
        f"{folder}: 1 account, 1 router, 1 issuer, 2 persons; nothing is wrong with it\n"
    )


def test_faults_are_the_answer_and_exit_code_1(folder: Path) -> None:
    """Each in one line; for programs as a list."""
    text = (folder / "people.yaml").read_text("utf-8")
    (folder / "people.yaml").write_text(text.replace("[network-lead, approver]", "[network-led]"), "utf-8")
    (folder / "other.yaml").write_text("", "utf-8")
    found = told("config", "check", folder)
    assert found.exit_code == 1
    assert found.stdout.splitlines() == [
        "other.yaml:1:1: no such file is read: other.yaml (odd, but not refused)",
        "people.yaml:17:18: groups.network-team: no person has the name network-led; meant was probably network-lead",
    ]
    assert found.stderr == f"ecr-grants: {folder}: 1 fault\n"
    as_json = told("config", "check", folder, "--json")
    assert as_json.exit_code == 1
    assert json.loads(as_json.stdout)[1] == {
        "file": "people.yaml",
        "line": 17,
        "column": 18,
        "found": "groups.network-team: no person has the name network-led",
        "meant": "network-lead",
        "odd": False,
    }


def test_a_policy_that_is_none_is_a_fault(folder: Path) -> None:
    """Whoever judges the policy is asked."""
    (folder / "policy.cedar").write_text("permit (", "utf-8")
    found = told("config", "check", folder)
    assert found.exit_code == 1
    assert found.stdout.startswith("policy.cedar:1:")


def test_a_version_is_signed_by_one_and_then_by_another(folder: Path, keys: dict[str, Path], tmp_path: Path) -> None:
    """And is one for whoever wants both; its successor names it."""
    first = tmp_path / "1.json"
    signed = signing(folder, CONFIGURATION, keys, first)
    assert signed.exit_code == 0, signed.output
    assert signed.stdout.startswith(f"{CONFIGURATION} signed version 1 (")
    assert signed.stdout.endswith(f", after none): {first} has 1 signature\n")
    second = signing(first, "second", keys, first, "--json", CONFIG_KEYS=CONFIG_KEYS)
    assert second.exit_code == 0, second.output
    facts = json.loads(second.stdout)
    assert facts["signatures"] == [CONFIGURATION, "second"]
    assert second.stderr == ""
    version = verified(first.read_text("utf-8"), KEYS, 2, None)
    assert (version.number, version.digest) == (1, facts["digest"])

    two = tmp_path / "2.json"
    more = ("--number", "2", "--previous", version.digest)
    assert signing(folder, CONFIGURATION, keys, two, *more).exit_code == 0
    assert verified(two.read_text("utf-8"), KEYS, 1, (1, version.digest)).number == 2


def test_a_bundle_is_not_written_over_by_another(folder: Path, keys: dict[str, Path], tmp_path: Path) -> None:
    """Others' signatures would be lost. Nothing is left behind beside it."""
    there = tmp_path / "there.json"
    there.write_text("mine", "utf-8")
    done = signing(folder, CONFIGURATION, keys, there)
    assert (done.exit_code, there.read_text("utf-8")) == (2, "mine")
    assert "is there already" in done.stderr
    assert signing(folder, CONFIGURATION, keys, tmp_path / "new.json").exit_code == 0
    assert not list(tmp_path.glob(".*"))
    assert "cannot be written" in signing(folder, CONFIGURATION, keys, tmp_path / "nowhere" / "new.json").stderr


def test_what_cannot_be_signed_is_told(folder: Path, keys: dict[str, Path], tmp_path: Path) -> None:
    """Before anything is written: exit code 2."""
    good, out = tmp_path / "good.json", tmp_path / "out.json"
    assert signing(folder, CONFIGURATION, keys, good).exit_code == 0
    bundle = json.loads(good.read_text("utf-8"))
    changed = tmp_path / "changed.json"
    changed.write_text(json.dumps(bundle | {"signatures": bundle["signatures"] * 2}), "utf-8")
    digest = "0" * 64
    for done, text in (
        (signing(good, CONFIGURATION, keys, out), f"{CONFIGURATION} has signed already"),
        (signing(good, "second", keys, out, "--number", "2"), "--number and --previous belong to a folder"),
        (signing(folder, "second", keys, out, "--number", "2"), "--number and --previous go together"),
        (signing(folder, "second", keys, out, "--previous", digest), "--number and --previous go together"),
        (signing(folder, "second", keys, out, "--previous", "abc"), "--previous must be a SHA-256"),
        (signing(folder, "second", keys, out, "--number", "0"), "--number and --previous go together"),
        (signing(tmp_path / "none.json", "second", keys, out), "none.json: cannot be read (No such file"),
        (signing(changed, "second", keys, out, CONFIG_KEYS=CONFIG_KEYS), f"{CONFIGURATION} has signed twice"),
        (signing(good, "second", keys, out, CONFIG_KEYS="x"), "--keys (CONFIG_KEYS) must be name:key"),
        (signing(keys["second"], "second", keys, out), "not a signed configuration"),
        (signing(folder, "second", {"second": good}, out), "must be a private key in PEM"),
        (signing(folder, "second", {"second": tmp_path / "no.pem"}, out), "no.pem: cannot be read"),
        (
            told("config", "sign", folder, "--key", keys["second"], "--kid", "a b", "-o", out),
            "--kid must be the name of a key",
        ),
    ):
        assert (done.exit_code, text in done.stderr) == (2, True), done.output
        assert not out.exists()
    (folder / "people.yaml").unlink()
    done = signing(folder, "second", keys, out)
    assert done.exit_code == 2
    assert "people.yaml:1:1: cannot be read" in done.stderr
    assert f"1 fault; see `ecr-grants config check {folder}`" in done.stderr


def test_a_key_of_another_kind_signs_nothing(folder: Path, tmp_path: Path) -> None:
    """The curve of key agreement has keys of the same length."""
    other = tmp_path / "x25519.pem"
    made = X25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    other.write_bytes(made)
    done = signing(folder, "second", {"second": other}, tmp_path / "out.json")
    assert done.exit_code == 2
    assert "must be an Ed25519 key (found X25519)" in done.stderr


def test_a_difference_is_told_before_it_is_signed(folder: Path, keys: dict[str, Path], tmp_path: Path) -> None:
    """In words, against a bundle, of which it is said whether its signatures were checked."""
    bundle = tmp_path / "1.json"
    assert signing(folder, CONFIGURATION, keys, bundle).exit_code == 0
    same = told("config", "diff", folder, "--against", bundle, CONFIG_KEYS=CONFIG_KEYS)
    assert (same.exit_code, same.stdout, same.stderr) == (0, f"{folder} says what version 1 says\n", "")
    assert told("keys", "compromise", ISSUER, folder).exit_code == 0
    found = told("config", "diff", folder, "--against", bundle)
    assert found.stdout == f"key {ISSUER}: state is compromised, was active\n"
    assert "who signed it is not checked, since CONFIG_KEYS is not set" in found.stderr
    facts = json.loads(told("config", "diff", folder, "--against", bundle, "--json").stdout)
    assert facts["against"]["number"] == 1
    assert facts["difference"] == [f"key {ISSUER}: state is compromised, was active"]
    stranger = told("config", "diff", folder, "--against", bundle, CONFIG_KEYS=f"other:{KEYS['second']}")
    assert stranger.exit_code == 2
    assert f"{CONFIGURATION} is not one of the keys that may sign: other" in stranger.stderr


# -- keys --------------------------------------------------------------------------------------------------------------


def test_a_new_key_is_its_owners_alone(tmp_path: Path, folder: Path) -> None:
    """The file has the private half, which is printed nowhere; it signs, and is never written over."""
    file = tmp_path / "new.pem"
    made = told("keys", "new", "--name", "mine-1", "-o", file)
    assert made.exit_code == 0, made.output
    jwk = json.loads(made.stdout)
    assert {name: jwk[name] for name in ("kty", "crv", "kid", "state")} == {
        "kty": "OKP",
        "crv": "Ed25519",
        "kid": "mine-1",
        "state": "active",
    }
    assert f"mine-1:{jwk['x']}" in made.stderr
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    secret = file.read_text("utf-8").splitlines()[1]
    assert secret not in made.output
    again = told("keys", "new", "--name", "mine-1", "-o", file)
    assert again.exit_code == 2
    assert "a key is never written over" in again.stderr
    assert secret in file.read_text("utf-8")
    bundle = tmp_path / "1.json"
    assert signing(folder, "mine-1", {"mine-1": file}, bundle).exit_code == 0
    assert verified(bundle.read_text("utf-8"), {"mine-1": jwk["x"]}, 1, None).signers == ("mine-1",)
    assert told("keys", "new", "--name", "a b", "-o", tmp_path / "b.pem").exit_code == 2
    assert told("keys", "new", "--name", "b", "-o", tmp_path / "no" / "b.pem").exit_code == 2


def test_keys_are_listed_with_their_states(folder: Path) -> None:
    """For people and for programs."""
    x = public_x(key(ISSUER))
    assert told("keys", "list", folder).stdout == f"{ISSUER}  active  self-service  {x}\n"
    listed = json.loads(told("keys", "list", folder, "--json").stdout)
    assert listed == [{"kid": ISSUER, "issuer": "self-service", "x": x, "state": "active"}]
    (folder / "issuers.yaml").write_text("version: 1\nissuers: {}\n", "utf-8")
    assert told("keys", "list", folder).stdout == "no issuer has a key\n"
    for text, fault in (("version: 2\nissuers: {}\n", "version: "), ("a: [\n", "is not YAML"), ("\x00", "is not YAML")):
        (folder / "issuers.yaml").write_text(text, "utf-8")
        done = told("keys", "list", folder)
        assert (done.exit_code, fault in done.stderr) == (2, True), done.output
    (folder / "issuers.yaml").write_bytes(b"\xff")
    assert "is not UTF-8 (byte 0)" in told("keys", "list", folder).stderr
    assert "cannot be read" in told("keys", "list", folder / "nowhere").stderr


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("form", ["active", '"active"', "'active'"])
def test_a_key_goes_out_of_use_by_one_word(folder: Path, form: str, end: str) -> None:
    """Comments, order, line ends and the file's rights stay as they are."""
    file = folder / "issuers.yaml"
    before = file.read_text("utf-8").replace("state: active", f"state: {form}").replace("\n", end)
    file.write_bytes(before.encode())
    file.chmod(0o640)
    done = told("keys", "retire", ISSUER, folder)
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{ISSUER} of self-service is retired in {file}, line 8\n"
    assert file.read_bytes().decode() == before.replace(f"state: {form}", "state: retired")
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert {path.name for path in folder.iterdir()} == {path.name for path in EXAMPLE.iterdir()}
    assert told("keys", "retire", ISSUER, folder).stdout == f"{ISSUER} of self-service is retired already\n"
    bad = told("keys", "compromise", ISSUER, folder, "--json")
    assert json.loads(bad.stdout) == {"kid": ISSUER, "issuer": "self-service", "state": "compromised", "line": 8}
    back = told("keys", "retire", ISSUER, folder)
    assert back.exit_code == 1
    assert "is compromised, which is more than retired" in back.stderr
    assert file.read_bytes().decode() == before.replace(f"state: {form}", "state: compromised")


def test_a_key_goes_bad_though_other_things_are_wrong(folder: Path) -> None:
    """It may be urgent: neither another file nor another field is in the way."""
    (folder / "people.yaml").unlink()
    file = folder / "issuers.yaml"
    file.write_text(file.read_text("utf-8").replace("kinds:", "kind:"), "utf-8")
    assert told("keys", "compromise", ISSUER, folder).exit_code == 0
    assert "state: compromised" in file.read_text("utf-8")


@pytest.mark.parametrize(
    ("old", "new", "told_"),
    [
        pytest.param("kid: self-service-1", "kid: other", "no key has that name", id="no such key"),
        pytest.param(
            "        - {",
            "        - {kid: self-service-1, state: active}\n        - {",
            "2 keys have that name",
            id="two of that name",
        ),
        pytest.param(", state: active", "", "has no state in ", id="no state"),
        pytest.param("state: active", "state: [active]", "has no state in ", id="a state that is no word"),
        pytest.param(
            "state: active}",
            "state: 'ac\n           tive'}",
            "cannot be changed in place: set the state",
            id="two lines",
        ),
        pytest.param("issuers:\n", "others:\n", "no key has that name", id="no issuers"),
        pytest.param("    keys:\n      keys:", "    keys:\n      others:", "no key has that name", id="no keys"),
    ],
)
def test_where_it_is_not_one_word_somebody_has_to_edit(folder: Path, old: str, new: str, told_: str) -> None:
    """It is said where, and nothing is changed."""
    file = folder / "issuers.yaml"
    text = file.read_text("utf-8").replace(old, new, 1)
    assert new in text
    file.write_text(text, "utf-8")
    done = told("keys", "compromise", ISSUER, folder)
    assert (done.exit_code, told_ in done.stderr) == (1, True), done.output
    assert file.read_text("utf-8") == text


def test_the_files_of_the_examples_keys_are_printed() -> None:
    """As a command takes them."""
    assert run("examples.keys", CONFIGURATION).stdout == pem(CONFIGURATION)
