"""Keys that seal and sign: a new one, which ones are listed, and taking one out of use in the folder of a configuration."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
import yaml
from pydantic import ValidationError

from cli.common import AsJson, NotSo, command, command_line, formed, troubles
from cli.config_folder import FILES
from cli.output import document, either, remark, say
from cli.places import Places
from shared.errors import SettingsError
from shared.messages.configuration import KeyState, public_x
from shared.messages.forms import KeyId
from shared.messages.texts import faults
from shared.rules.consistency import Part
from shared.rules.issuers import Issuers

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

app = command_line("keys", "Make keys, list them, and take them out of use.")
_FILE = FILES[Part.ISSUERS]

Kid = Annotated[str, typer.Argument(metavar="KID", help="The key's name.")]
Directory = Annotated[Path, typer.Argument(metavar="DIR", help="The folder of the configuration.")]


def read_key(path: Path) -> Ed25519PrivateKey:
    """The private key in a file: PEM, PKCS8, Ed25519, without a password. Raises SettingsError, which shows nothing of it."""
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415  # only where somebody signs
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise SettingsError(f"{path}: must be a private key in PEM (PKCS8) without a password") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise SettingsError(f"{path}: must be an Ed25519 key (found {type(key).__name__.removesuffix('PrivateKey')})")
    return key


@command(app, "new")
def new(
    name: Annotated[str, typer.Option("--name", metavar="KID", help="What the key is called.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where the private key is written.")],
) -> None:
    """Make a key: the private half into a file that only you can read, the public half, as a JWK for issuers.yaml, printed."""
    with troubles():
        from cryptography.hazmat.primitives import serialization as form  # noqa: PLC0415  # only here
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415

        kid = formed(KeyId, name, "--name")
        key = Ed25519PrivateKey.generate()
        pem = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
        try:
            with os.fdopen(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(pem)
        except FileExistsError:
            raise SettingsError(f"{output}: is there already, and a key is never written over") from None
        except OSError as error:
            raise SettingsError(f"{output}: cannot be written ({error.strerror})") from None
        x = public_x(key)
        remark(f"{output} has the private key: who has the file is {kid}. In CONFIG_KEYS it is {kid}:{x}")
        document({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x, "state": KeyState.ACTIVE})


@command(app, "list")
def list_keys(folder: Directory, as_json: AsJson = False) -> None:
    """List the keys of all issuers, with their states."""
    with troubles():
        places = _places(folder, _read(folder))
        try:
            issuers = Issuers.model_validate(places.value).issuers
        except ValidationError as error:
            raise SettingsError(f"{folder / _FILE}: {faults(error)}") from None
        keys = [key for name, rights in issuers.items() for key in rights.seal_keys(name)]
        if as_json:
            document([vars(key) for key in keys])
            return
        for key in keys:
            say(f"{key.kid}  {key.state}  {key.issuer}  {key.x}")
        if not keys:
            say("no issuer has a key")


@command(app, "retire")
def retire(kid: Kid, folder: Directory, as_json: AsJson = False) -> None:
    """Take a key out of use: what it sealed stands, and nothing more is taken that it seals, revokes apart.

    Changes one word of issuers.yaml. It holds once that version is signed and applied.
    """
    with troubles():
        _become(KeyState.RETIRED, kid, folder, as_json=as_json)


@command(app, "compromise")
def compromise(kid: Kid, folder: Directory, as_json: AsJson = False) -> None:
    """Say that somebody else may have a key: nothing that it seals is taken, and of what it sealed nothing is made any more.

    Changes one word of issuers.yaml. It holds once that version is signed and applied.
    """
    with troubles():
        _become(KeyState.COMPROMISED, kid, folder, as_json=as_json)


def _become(state: KeyState, kid: str, folder: Path, *, as_json: bool) -> None:
    text = _read(folder)
    issuer, node = _state_of(kid, _places(folder, text), folder)
    line = node.start_mark.line + 1
    where = f"{folder / _FILE}, line {line}"
    if node.value == state:
        either(f"{kid} of {issuer} is {state} already", as_json=as_json, kid=kid, issuer=issuer, state=state)
        return
    if node.value == KeyState.COMPROMISED:
        raise NotSo(f"{kid} of {issuer} is {node.value}, which is more than {state} ({where})")
    changed = text[: node.start_mark.index] + state + text[node.end_mark.index :]
    after = Places(_FILE, changed)
    if (
        after.faults
        or _state_of(kid, after, folder)[1].value != state
        or len(changed.split("\n")) != len(text.split("\n"))
    ):
        raise NotSo(f"the word cannot be changed in place: set the state of {kid} to {state} in {where}")
    _write(folder / _FILE, changed)
    either(f"{kid} of {issuer} is {state} in {where}", as_json=as_json, kid=kid, issuer=issuer, state=state, line=line)
    remark(f"it holds once it is signed and applied: see `ecr-grants config sign {folder}`")


def _state_of(kid: str, places: Places, folder: Path) -> tuple[str, yaml.ScalarNode]:
    """Whose a key is, and where the file says its state. Other faults do not matter: this may be urgent. Raises NotSo."""
    found = list(_keys_named(kid, places))
    if len(found) != 1:
        how = "no key has that name" if not found else f"{len(found)} keys have that name"
        raise NotSo(f"{kid}: {how} in {folder / _FILE}; see `ecr-grants keys list {folder}`")
    [(issuer, key, state)] = found
    if not isinstance(state, yaml.ScalarNode):
        raise NotSo(
            f"{kid}: has no state in {folder / _FILE}; set it where the key stands, line {key.start_mark.line + 1}"
        )
    return issuer, state


def _keys_named(kid: str, places: Places) -> Iterator[tuple[str, yaml.Node, yaml.Node | None]]:
    document_ = places.value if isinstance(places.value, dict) else {}
    for issuer, rights in (document_.get("issuers") or {}).items():
        keys = rights.get("keys") if isinstance(rights, dict) else None
        listed = keys.get("keys") if isinstance(keys, dict) else None
        for place, key in enumerate(listed if isinstance(listed, list) else ()):
            if isinstance(key, dict) and key.get("kid") == kid:
                path = ("issuers", issuer, "keys", "keys", place)
                walked, state = places.walk((*path, "state"))
                yield issuer, places.walk(path)[1], state if walked[-1] == "state" else None


def _read(folder: Path) -> str:
    """The file letter by letter, its line ends included. Raises SettingsError."""
    path = folder / _FILE
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: is not UTF-8 (byte {error.start})") from None


def _places(folder: Path, text: str) -> Places:
    places = Places(_FILE, text)
    if places.faults:
        raise SettingsError(f"{folder}: {'; '.join(one.text for one in places.faults)}")
    return places


def _write(path: Path, text: str) -> None:
    """All of it or nothing, with the rights that the file has. Raises SettingsError."""
    path = path.resolve()
    try:
        handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(text.encode())
            Path(beside).chmod(path.stat().st_mode & 0o777)
            Path(beside).replace(path)
        except BaseException:
            Path(beside).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise SettingsError(f"{path}: cannot be written ({error.strerror})") from None
