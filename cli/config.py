"""The configuration: a folder to edit and check, and the bundles that are signed of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from cli.common import AsJson, NotSo, command, command_line, formed, troubles
from cli.config_bundle import counted, counts_of, facts_of, fit, opened_bundle, read_whole
from cli.config_folder import FILES, POLICY, SCHEMA
from cli.config_policy import POLICY as SHIPPED_POLICY
from cli.config_policy import SCHEMA as SHIPPED_SCHEMA
from cli.config_start import ACCOUNTS, ISSUERS, PEOPLE
from cli.keys import Directory, read_key
from cli.output import document, either, say
from shared.errors import BadInput, SettingsError
from shared.messages.configuration import payload, signed
from shared.messages.forms import Digest, KeyId
from shared.rules.configuration import stated
from shared.rules.consistency import Part

app = command_line("config", "Check, sign and apply the configuration: accounts, issuers, people, policy.")

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
        read = read_whole(folder)
        if as_json:
            document([vars(one) for one in read.faults])
        for one in read.faults if not as_json else ():
            say(one.text + (" (odd, but not refused)" if one.odd else ""))
        if read.configuration is None:
            raise NotSo(f"{folder}: {counted(len(read.refused), 'fault')}")
        if not as_json:
            say(f"{folder}: {counts_of(read.configuration)}; nothing is wrong with it")


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
            content = payload(*_successor(number, previous), fit(source).content)
        elif number is not None or previous is not None:
            raise SettingsError("--number and --previous belong to a folder: a bundle has them already")
        else:
            before = opened_bundle(source, keys)
            content = before.bundle.content
        try:
            made = signed(content, name, key, None if before is None else before.bundle)
        except BadInput as error:
            raise SettingsError(f"{source}: {error}") from None
        _write(output, made.text, over=source.exists() and output.exists() and source.samefile(output))
        facts = facts_of(made, stated(content)[0])
        told = f"{name} signed version {facts['number']} ({facts['digest']}, after {facts['previous'] or 'none'})"
        count = counted(len(made.signatures), "signature")
        either(f"{told}: {output} has {count}", as_json=as_json, **facts, file=str(output))


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
