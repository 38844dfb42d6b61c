"""Settings: the environment is read once, as a type, and everything that is wrong with it is told at once."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared.errors import SettingsError
from shared.settings import (
    FUNCTIONS,
    DeskSettings,
    Settings,
    Signing,
    described,
    examined,
    read_desk,
    read_settings,
    read_signing,
    setting_names,
)
from tests.command import whole_command
from tests.configured import CONFIG_KEYS, CONFIG_KEYS_TEXT

PASSWORD = "a-password-nobody-may-see"
LEDGER = f"postgresql+psycopg://user:{PASSWORD}@db.example.com/ledger"
KEY = base64.b64encode(b"k" * 32).decode()
KINDS = (Settings, Signing, DeskSettings)
OF_THE_DESK = {
    "DESK_ADDRESS": "https://desk.example.com",
    "DESK_CLIENT_ID": "client",
    "DESK_KEYS": base64.b64encode(b"d" * 32).decode(),
}
REQUIRED = ("FC_REGION", "LEDGER_URL", "CONFIG_KEYS")
FIELDS = [str(field.validation_alias) for kind in KINDS for field in kind.model_fields.values()]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Only what must be there."""
    for name in FIELDS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FC_REGION", "cn-hangzhou")
    monkeypatch.setenv("LEDGER_URL", LEDGER)
    monkeypatch.setenv("CONFIG_KEYS", CONFIG_KEYS_TEXT)
    return monkeypatch


def test_region_ledger_and_keys_are_enough() -> None:
    """Everything else has a default, and a fresh deployment changes nothing on the cloud."""
    settings = read_settings()
    assert (settings.region, settings.ledger_url, settings.mode) == ("cn-hangzhou", LEDGER, "observe")
    assert (settings.config_keys, settings.config_quorum) == (CONFIG_KEYS, 1)
    assert settings.mns_endpoint.format(region="r", uid="1") == "https://1.mns.r.aliyuncs.com"
    assert (settings.timing.skew, settings.timing.warn, settings.timing.window) == (300_000, 86_400_000, None)


@pytest.mark.parametrize("name", [name for name in FIELDS if name not in REQUIRED])
def test_an_empty_variable_means_its_default(environment: pytest.MonkeyPatch, name: str) -> None:
    """The template hands every variable on, also those that nobody set."""
    default = read_settings()
    environment.setenv(name, "")
    assert read_settings() == default


@pytest.mark.parametrize("name", REQUIRED)
@pytest.mark.parametrize(
    "empty",
    [
        pytest.param(True, id="set, but empty"),
        pytest.param(False, id="not set at all"),
    ],
)
def test_what_must_be_there_is_missed_by_name(environment: pytest.MonkeyPatch, name: str, empty: bool) -> None:
    """Whether it is empty or not there at all."""
    if empty:
        environment.setenv(name, "")
    else:
        environment.delenv(name)
    with pytest.raises(SettingsError, match=f"{name} is missing"):
        read_settings()


BAD = {
    "FC_REGION": "Hangzhou",
    "CONFIG_KEYS": "tests-1",
    "CONFIG_QUORUM": "0",
    "MNS_ENDPOINT": "ftp://somewhere",
    "STS_ENDPOINT": "https://",
    "KMS_ENDPOINT": "http://kms.example.com",
    "VPC_ENDPOINT": "http://host/with/a/path",
    "ECR_ENDPOINT": "/",
    "COMPLETIONS_TOPIC": "-starts-with-a-sign",
    "APPROVALS_QUEUE": "under_score",
    "WAKES_QUEUE": "a/b",
    "ASSOCIATIONS_QUEUE": "x" * 121,
    "EVENT_SUBJECT": "perhaps",
    "MODE": "sometimes",
    "SETTLE_SECONDS": "0",
    "CLOCK_SKEW_SECONDS": "-1",
    "WARN_SECONDS": "soon",
    "STUCK_SECONDS": "0",
    "QUOTA_SECONDS": "61",
    "CHANGE_WINDOW": "at night",
    "DRIFT_REPAIR": "everything",
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_variable_is_named(environment: pytest.MonkeyPatch, name: str) -> None:
    """With what was found in it, unless it may be a secret."""
    environment.setenv(name, BAD[name])
    with pytest.raises(SettingsError) as caught:
        read_settings()
    assert str(caught.value).startswith(f"the environment is not usable: {name}")
    assert BAD[name] in str(caught.value)


def test_every_fault_is_told_at_once(environment: pytest.MonkeyPatch) -> None:
    """Nobody deploys sixteen times to mend sixteen variables."""
    environment.delenv("LEDGER_URL")
    for name, value in BAD.items():
        environment.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        read_settings()
    told = str(caught.value).removeprefix("the environment is not usable: ").split("; ")
    assert [name for name in [*BAD, "LEDGER_URL"] if not any(line.startswith(name) for line in told)] == []


def test_no_secret_is_shown(environment: pytest.MonkeyPatch) -> None:
    """Neither in an error, nor where settings are printed."""
    environment.setenv("HEAD_KEY", KEY)
    assert PASSWORD not in repr(read_settings())
    assert KEY not in repr(Signing.model_validate({"HEAD_KEY": KEY}))
    environment.setenv("MODE", "sometimes")
    environment.setenv("HEAD_KEY", KEY[:-4])
    with pytest.raises(SettingsError) as caught:
        read_settings()
    assert PASSWORD not in str(caught.value)
    with pytest.raises(SettingsError, match="the environment is not usable: HEAD_KEY is not usable") as caught:
        read_signing()
    assert KEY[:-4] not in str(caught.value)


def test_a_secret_is_in_the_environment_or_by_name(environment: pytest.MonkeyPatch) -> None:
    """One of the two: nobody has to guess which one counts. Neither is shown."""
    environment.setenv("LEDGER_SECRET", "ecr-grants/ledger")
    with pytest.raises(SettingsError, match="LEDGER_URL has a password and LEDGER_SECRET names one") as caught:
        read_settings()
    assert PASSWORD not in str(caught.value)
    environment.setenv("LEDGER_URL", "postgresql+psycopg://ecr@db.example.com/ledger")
    assert read_settings().ledger_secret == "ecr-grants/ledger"

    environment.setenv("HEAD_KEY", KEY)
    environment.setenv("HEAD_KEY_SECRET", "ecr-grants/head-key")
    with pytest.raises(SettingsError, match="HEAD_KEY is a key and HEAD_KEY_SECRET names one") as caught:
        read_signing()
    assert KEY not in str(caught.value)
    environment.delenv("HEAD_KEY")
    assert read_signing().head_key_secret == "ecr-grants/head-key"


@pytest.mark.parametrize("name", ["acs:kms:cn-hangzhou:1000000000000001:secret/ledger", "a b", "x" * 193])
def test_a_secret_of_another_account_or_without_a_name_is_refused(environment: pytest.MonkeyPatch, name: str) -> None:
    """By name, of the functions' own account."""
    environment.setenv("LEDGER_SECRET", name)
    with pytest.raises(SettingsError, match="LEDGER_SECRET="):
        read_settings()


def test_only_who_signs_reads_the_key(environment: pytest.MonkeyPatch) -> None:
    """The other functions neither hold it nor mind what is in its place; without it heads go unsigned."""
    environment.setenv("HEAD_KEY", KEY)
    assert not hasattr(read_settings(), "head_key")
    assert isinstance(read_signing().head_key, Ed25519PrivateKey)
    environment.setenv("HEAD_KEY", "no key")
    read_settings()
    environment.setenv("HEAD_KEY", "")
    assert read_signing().head_key is None


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        pytest.param("sts.example.com", "https://sts.example.com", id="a bare host means TLS"),
        pytest.param("sts.example.com:8443", "https://sts.example.com:8443", id="a bare host with a port too"),
        pytest.param("http://127.0.0.1:8080", "http://127.0.0.1:8080", id="a stand-in says http itself"),
        pytest.param(
            "https://{region}.example.com/", "https://{region}.example.com", id="the region is put in where it is asked"
        ),
    ],
)
def test_an_address_may_be_a_host_or_a_url(environment: pytest.MonkeyPatch, given: str, meant: str) -> None:
    """A bare host means TLS; a stand-in says http itself."""
    environment.setenv("STS_ENDPOINT", given)
    assert read_settings().sts_endpoint == meant


ENDPOINTS = [name for name in FIELDS if name.endswith("_ENDPOINT")]


@pytest.mark.parametrize("name", ENDPOINTS)
@pytest.mark.parametrize(
    "address",
    [
        pytest.param("http://sts.cn-hangzhou.aliyuncs.com", id="the vendor's own"),
        pytest.param("http://sts-vpc.cn-hangzhou.aliyuncs.com", id="the vendor's own in a private network"),
        pytest.param("http://10.0.0.1:8080", id="a machine nearby"),
        pytest.param("http://0.0.0.0:8080", id="every machine"),
        pytest.param("http://127.0.0.1.example.com", id="a name that begins like this machine"),
        pytest.param("http://localhost.example.com", id="a name that begins like localhost"),
        pytest.param("http://[2001:db8::1]:80", id="a machine by IPv6"),
        pytest.param("http://{region}.example.com", id="a name that is filled in"),
        pytest.param("http://2130706433", id="this machine as one number, which few read so"),
    ],
)
def test_plain_http_is_for_this_machine_only(environment: pytest.MonkeyPatch, name: str, address: str) -> None:
    """Keys and tokens would travel where anybody on the way can read them."""
    environment.setenv(name, address)
    with pytest.raises(SettingsError) as caught:
        read_settings()
    assert f"{name}={address!r}" in str(caught.value)
    assert "must be https: plain http is only for this machine" in str(caught.value)


@pytest.mark.parametrize(
    "address",
    ["http://127.0.0.1:8080", "http://127.9.9.9", "http://[::1]:8080", "http://localhost:8080", "http://LOCALHOST"],
)
def test_a_stand_in_on_this_machine_needs_no_tls(environment: pytest.MonkeyPatch, address: str) -> None:
    """By any of its own names."""
    environment.setenv("STS_ENDPOINT", address)
    assert read_settings().sts_endpoint == address


@pytest.mark.parametrize(
    "address",
    [
        pytest.param("http://127.0.0.1@example.com", id="a user whose name is this machine's"),
        pytest.param("https://user:password@example.com", id="a password"),
        pytest.param("https://example.com?x=1", id="a query"),
        pytest.param("https://example.com#x", id="a fragment"),
        pytest.param("https://exam ple.com", id="a blank"),
        pytest.param("https://example.com\n", id="a line end"),
        pytest.param("HTTP://127.0.0.1", id="a scheme in capitals"),
        pytest.param("//example.com", id="no scheme"),
    ],
)
def test_an_address_is_scheme_host_and_port(environment: pytest.MonkeyPatch, address: str) -> None:
    """Nothing in it can be read in two ways."""
    environment.setenv("STS_ENDPOINT", address)
    with pytest.raises(SettingsError, match="must be an address such as"):
        read_settings()


@pytest.mark.parametrize(
    "name", ["SETTLE_SECONDS", "QUOTA_SECONDS", "CLOCK_SKEW_SECONDS", "WARN_SECONDS", "STUCK_SECONDS"]
)
@pytest.mark.parametrize("value", ["inf", "nan", "-1", "1e12", ""])
def test_a_time_is_a_number_of_seconds_with_an_end(environment: pytest.MonkeyPatch, name: str, value: str) -> None:
    """Empty means its default; nothing endless starts and fails at its first use."""
    environment.setenv(name, value)
    if value:
        with pytest.raises(SettingsError, match=name):
            read_settings()
    else:
        assert read_settings().timing.skew == 300_000


@pytest.mark.parametrize(
    "window", ["22:00-22:01", "00:00-24:59", "\u0662\u0662:\u0660\u0660-\u0662\u0663:\u0660\u0660"]
)
def test_a_window_nobody_can_mean_is_refused(environment: pytest.MonkeyPatch, window: str) -> None:
    """With what was found."""
    environment.setenv("CHANGE_WINDOW", window)
    with pytest.raises(SettingsError) as caught:
        read_settings()
    assert f"CHANGE_WINDOW={window!r}" in str(caught.value)


ROWS = list(described())


def test_every_setting_is_described_once() -> None:
    """With what it means; which functions go by it are functions of ours."""
    assert [variable for variable, *_ in ROWS] == FIELDS
    for variable, _, meaning, functions in ROWS:
        assert meaning, variable
        assert functions
        assert set(functions) <= set(FUNCTIONS)


def test_the_document_of_settings_is_current() -> None:
    """`make documents` was run."""
    done = CliRunner().invoke(whole_command(), ["settings", "--check"])
    assert done.exit_code == 0, done.output
    text = (Path(__file__).parents[2] / "docs" / "settings.md").read_text("utf-8")
    assert re.findall(r"^\| `([A-Z_]+)` \|", text, re.MULTILINE) == FIELDS


@pytest.mark.parametrize(("variable", "default"), [row[:2] for row in ROWS], ids=FIELDS)
def test_a_default_is_written_as_one_would_write_it(
    environment: pytest.MonkeyPatch, variable: str, default: str
) -> None:
    """Into the environment, where it changes nothing."""
    if default in ("must be given", "none"):
        secret = ("LEDGER_SECRET", "HEAD_KEY", "HEAD_KEY_SECRET", "DESK_CLIENT_SECRET", "DESK_CLIENT_SECRET_NAME")
        by_provider = ("DESK_WITHOUT_NONCE", "DESK_SIGNED_IN_BY")
        assert variable in (*REQUIRED, *OF_THE_DESK, *secret, *by_provider, "CHANGE_WINDOW")
        return
    for name, value in {**OF_THE_DESK, "DESK_CLIENT_SECRET": "example-secret"}.items():
        environment.setenv(name, value)
    before = read_settings(), read_desk()
    environment.setenv(variable, default)
    assert (read_settings(), read_desk()) == before


def test_the_signing_key_is_said_to_be_where_it_is() -> None:
    """In one function, which is the one that the template gives it to."""
    by = {variable: functions for variable, _, _, functions in ROWS}
    deployed = yaml.safe_load((Path(__file__).parents[2] / "s.yaml").read_text("utf-8"))["resources"]
    for name, resource in deployed.items():
        variables = resource["props"]["environmentVariables"]
        assert (name in by["HEAD_KEY"]) is ("HEAD_KEY" in variables)


def test_what_is_set_is_used(environment: pytest.MonkeyPatch) -> None:
    """Times in seconds, lists with commas, a window, a key."""
    for name, value in {
        "MODE": "full",
        "SETTLE_SECONDS": "2.5",
        "CLOCK_SKEW_SECONDS": "0",
        "WARN_SECONDS": "60",
        "CHANGE_WINDOW": "Sat 22:00-04:00",
        "DRIFT_REPAIR": "grant-missing,foreign-grant",
    }.items():
        environment.setenv(name, value)
    settings = read_settings()
    assert (settings.mode, settings.settle_seconds) == ("full", 2.5)
    assert (settings.timing.skew, settings.timing.warn) == (0, 60_000)
    assert settings.timing.window is not None
    assert settings.timing.window.days == frozenset({5})
    assert settings.drift_repair == {"grant-missing", "foreign-grant"}


def test_what_is_wrong_is_told_beside_what_can_be_used(environment: pytest.MonkeyPatch) -> None:
    """For whoever looks at a deployment: a fault of one variable hides no other. No value is told."""
    for name, value in {"MODE": PASSWORD, "SETTLE_SECONDS": "-1", "MNS_ENDPOINT": "https://one.example.com"}.items():
        environment.setenv(name, value)
    for name in ("LEDGER_URL", "CONFIG_KEYS"):
        environment.delenv(name)
    settings, told = examined("cn-shanghai")
    assert set(told) == {"MODE", "SETTLE_SECONDS", "LEDGER_URL", "CONFIG_KEYS"}
    assert settings.config_keys == {}
    assert told["LEDGER_URL"] == "is missing"
    assert PASSWORD not in str(told)
    assert (settings.region, settings.mode, settings.settle_seconds) == ("cn-shanghai", "observe", 60)
    assert (settings.ledger_url, settings.mns_endpoint) == ("", "https://one.example.com")


def test_a_deployment_has_to_give_the_ledger_and_the_keys() -> None:
    """The desk's own where there is one. The region is the platform's to give, and everything else has a default."""
    assert setting_names(required=True) == {"LEDGER_URL", "CONFIG_KEYS", *OF_THE_DESK}
    assert setting_names() == set(FIELDS)


@pytest.mark.parametrize("address", ["https://{uid}.example.com", "https://a.{region}.example.com"])
def test_an_address_may_leave_account_and_region_open(environment: pytest.MonkeyPatch, address: str) -> None:
    """They are filled in at the call."""
    environment.setenv("MNS_ENDPOINT", address)
    assert read_settings().mns_endpoint == address


@pytest.mark.parametrize("address", ["https://{zone}.example.com", "https://{.example.com", "https://{uid.example.com"])
def test_an_address_leaves_nothing_else_open(environment: pytest.MonkeyPatch, address: str) -> None:
    """Or the first call would fail for it."""
    environment.setenv("MNS_ENDPOINT", address)
    with pytest.raises(SettingsError, match="MNS_ENDPOINT"):
        read_settings()
