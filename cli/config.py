"""The configuration: a folder to edit and check, and the bundles that are signed of it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from cli.common import AsJson, NotSo, command, command_line, formed, troubles
from cli.config_folder import FILES, POLICY, SCHEMA, Folder, read_folder
from cli.config_policy import POLICY as SHIPPED_POLICY
from cli.config_policy import SCHEMA as SHIPPED_SCHEMA
from cli.config_policy import policy_faults
from cli.config_start import ACCOUNTS, ISSUERS, PEOPLE
from cli.keys import Directory, read_key
from cli.output import document, either, remark, say
from shared.errors import BadInput, SettingsError
from shared.messages.configuration import Bundle, parse_keys, payload, read_bundle, signed, signers
from shared.messages.forms import Digest, KeyId
from shared.rules.configuration import Configuration, Statement, digest_of, stated
from shared.rules.consistency import Part
from shared.rules.difference import difference

app = command_line("config", "Check, compare and sign the configuration: accounts, issuers, people, policy.")

_START = {
    FILES[Part.INVENTORY]: ACCOUNTS,
    FILES[Part.ISSUERS]: ISSUERS,
    FILES[Part.PEOPLE]: PEOPLE,
    POLICY: SHIPPED_POLICY,
    SCHEMA: SHIPPED_SCHEMA,
}

Keys = Annotated[
    str,
    typer.Option(
        envvar="CONFIG_KEYS",
        help="The keys that may sign, name:x,name:x; without them a bundle's signatures are not checked.",
        show_default=False,
    ),
]


@command(app, "init")
def init(folder: Directory, as_json: AsJson = False) -> None:
    """Write the files of a configuration that are not there yet, and the schema of policy as this version has it."""
    with troubles():
        written = []
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name, text in _START.items():
                path = folder / name
                if not path.exists() or (name == SCHEMA and path.read_text("utf-8", errors="replace") != text):
                    path.write_text(text, "utf-8")
                    written.append(name)
        except OSError as error:
            raise SettingsError(f"{folder}: cannot be written ({error.strerror})") from None
        told = f"wrote {', '.join(written)} in {folder}" if written else f"{folder} has all files: nothing was written"
        either(told, as_json=as_json, folder=str(folder), written=written)


@command(app, "check")
def check(folder: Directory, as_json: AsJson = False) -> None:
    """Read the whole folder, and tell every fault with its file, line and column. Exit code 1 when there is one."""
    with troubles():
        read = _read(folder)
        if as_json:
            document([vars(one) for one in read.faults])
        for one in read.faults if not as_json else ():
            say(one.text + (" (odd, but not refused)" if one.odd else ""))
        if read.configuration is None:
            raise NotSo(f"{folder}: {_count(len(read.refused), 'fault')}")
        if not as_json:
            say(f"{folder}: {_counts(read.configuration)}; nothing is wrong with it")


@command(app, "diff")
def diff(
    folder: Directory,
    against: Annotated[Path, typer.Option(metavar="BUNDLE", help="The bundle to compare with.", show_default=False)],
    keys: Keys = "",
    as_json: AsJson = False,
) -> None:
    """Say in words what is different in the folder from a bundle."""
    with troubles():
        new = _fit(folder)
        before = _opened(against, keys)
        lines = difference(before.configuration, new)
        if as_json:
            document({"against": before.facts, "difference": lines})
        elif not lines:
            say(f"{folder} says what version {before.said.number} says")
        for line in lines if not as_json else ():
            say(line)


@command(app, "sign")
def sign(
    source: Annotated[Path, typer.Argument(metavar="DIR|BUNDLE", help="A folder, or a bundle that others signed.")],
    key_file: Annotated[Path, typer.Option("--key", metavar="FILE", help="The private key, as `keys new` wrote it.")],
    kid: Annotated[str, typer.Option(help="The key's name, as CONFIG_KEYS has it.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="BUNDLE", help="Where the bundle is written.")],
    number: Annotated[
        int | None, typer.Option(help="Of a folder: which version it is to be. Default: the first.", show_default=False)
    ] = None,
    previous: Annotated[
        str | None, typer.Option(metavar="DIGEST", help="Of a folder: the version before it.", show_default=False)
    ] = None,
    keys: Keys = "",
    as_json: AsJson = False,
) -> None:
    """Sign a folder as a version, or add a signature to a bundle.

    What is signed is the content with its number and the digest of the version before it. A bundle may be written over itself;
    any other file that is there is left alone.
    """
    with troubles():
        name = formed(KeyId, kid, "--kid")
        key = read_key(key_file)
        if source.is_dir():
            before = None
            content = payload(*_successor(number, previous), _fit(source).content)
        elif number is not None or previous is not None:
            raise SettingsError("--number and --previous belong to a folder: a bundle has them already")
        else:
            before = _opened(source, keys)
            content = before.bundle.content
        try:
            made = signed(content, name, key, None if before is None else before.bundle)
        except BadInput as error:
            raise SettingsError(f"{source}: {error}") from None
        _write(output, made.text, over=source.exists() and output.exists() and source.samefile(output))
        facts = _facts(made, stated(content)[0])
        told = f"{name} signed version {facts['number']} ({facts['digest']}, after {facts['previous'] or 'none'})"
        count = _count(len(made.signatures), "signature")
        either(f"{told}: {output} has {count}", as_json=as_json, **facts, file=str(output))


@dataclass(frozen=True)
class _Opened:
    """What a bundle in a file says."""

    bundle: Bundle
    said: Statement
    configuration: Configuration

    @property
    def facts(self) -> dict[str, object]:
        return _facts(self.bundle, self.said)


def _facts(bundle: Bundle, said: Statement) -> dict[str, object]:
    """A version's name, for programs. ``signatures``: whose there are, as they say themselves."""
    return {
        "number": said.number,
        "digest": digest_of(bundle.content),
        "previous": said.previous,
        "signatures": [one.kid for one in bundle.signatures],
    }


def _opened(path: Path, keys: str) -> _Opened:
    """A bundle and what it says; its signatures are checked where it is known who may sign. Raises SettingsError."""
    try:
        bundle = read_bundle(path.read_text("utf-8"))
        if keys:
            signers(bundle, parse_keys(keys))
        else:
            remark(f"{path}: who signed it is not checked, since CONFIG_KEYS is not set")
        return _Opened(bundle, *stated(bundle.content))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: is not UTF-8 (byte {error.start})") from None
    except BadInput as error:
        raise SettingsError(f"{path}: {error}") from None
    except ValueError as error:
        raise SettingsError(f"--keys (CONFIG_KEYS) {error}") from None


def _read(folder: Path) -> Folder:
    return read_folder(folder, policy_faults, SHIPPED_SCHEMA)


def _fit(folder: Path) -> Configuration:
    """The configuration in a folder. Raises SettingsError, after telling every fault."""
    read = _read(folder)
    if read.configuration is None:
        for one in read.refused:
            remark(one.text)
        raise SettingsError(f"{folder}: {_count(len(read.refused), 'fault')}; see `ecr-grants config check {folder}`")
    return read.configuration


def _successor(number: int | None, previous: str | None) -> tuple[int, str]:
    """The number of a new version and the digest before it. Raises SettingsError where they cannot go together."""
    chosen, digest = 1 if number is None else number, formed(Digest, previous or "", "--previous")
    if chosen < 1 or (chosen == 1) != (digest == ""):
        raise SettingsError("--number and --previous go together: version 1 has none before it, every other has one")
    return chosen, digest


def _write(path: Path, text: str, *, over: bool) -> None:
    try:
        if path.exists() and not over:
            raise SettingsError(f"{path}: is there already; another name, or sign {path} itself")
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        beside.write_text(text, "utf-8")
        beside.replace(path)
    except OSError as error:
        raise SettingsError(f"{path}: cannot be written ({error.strerror})") from None


def _counts(configuration: Configuration) -> str:
    inventory, people = configuration.inventory, configuration.people
    return ", ".join(
        [
            _count(len(inventory.accounts), "account"),
            _count(sum(len(one.ecrs) for one in inventory.accounts.values()), "router"),
            _count(len(configuration.issuers), "issuer"),
            _count(len(people.persons), "person"),
        ]
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
