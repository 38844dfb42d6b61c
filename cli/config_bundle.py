"""What a folder and a bundle say, for the commands of the configuration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cli.config_folder import Folder, read_folder
from cli.config_policy import SCHEMA, policy_faults
from cli.output import remark
from shared.errors import BadInput, SettingsError
from shared.messages.configuration import Bundle, parse_keys, read_bundle, signers
from shared.rules.configuration import Configuration, Statement, digest_of, stated


@dataclass(frozen=True)
class Opened:
    """What a bundle in a file says."""

    bundle: Bundle
    said: Statement
    configuration: Configuration

    @property
    def facts(self) -> dict[str, object]:
        """For programs."""
        return facts_of(self.bundle, self.said)


def facts_of(bundle: Bundle, said: Statement) -> dict[str, object]:
    """A version's name, for programs. ``signatures``: whose there are, as they say themselves."""
    return {
        "number": said.number,
        "digest": digest_of(bundle.content),
        "previous": said.previous,
        "signatures": [one.kid for one in bundle.signatures],
    }


def bundle_text(path: Path) -> str:
    """What is in a bundle's file. Raises SettingsError."""
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: is not UTF-8 (byte {error.start})") from None


def opened_bundle(path: Path, keys: str) -> Opened:
    """A bundle and what it says; its signatures are checked where it is known who may sign. Raises SettingsError."""
    text = bundle_text(path)
    try:
        bundle = read_bundle(text)
        if keys:
            signers(bundle, parse_keys(keys))
        else:
            remark(f"{path}: who signed it is not checked, since CONFIG_KEYS is not set")
        return Opened(bundle, *stated(bundle.content))
    except BadInput as error:
        raise SettingsError(f"{path}: {error}") from None
    except ValueError as error:
        raise SettingsError(f"--keys (CONFIG_KEYS) {error}") from None


def read_whole(folder: Path) -> Folder:
    """The folder with every fault of it. Raises SettingsError where there is none."""
    return read_folder(folder, policy_faults, SCHEMA)


def fit(folder: Path) -> Configuration:
    """The configuration in a folder. Raises SettingsError, after telling every fault."""
    read = read_whole(folder)
    if read.configuration is None:
        for one in read.refused:
            remark(one.text)
        raise SettingsError(f"{folder}: {counted(len(read.refused), 'fault')}; see `ecr-grants config check {folder}`")
    return read.configuration


def counts_of(configuration: Configuration) -> str:
    """How much of everything is in it."""
    inventory, people = configuration.inventory, configuration.people
    return ", ".join(
        [
            counted(len(inventory.accounts), "account"),
            counted(sum(len(one.ecrs) for one in inventory.accounts.values()), "router"),
            counted(len(configuration.issuers), "issuer"),
            counted(len(people.persons), "person"),
        ]
    )


def counted(number: int, what: str) -> str:
    """So many of them, in words."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
