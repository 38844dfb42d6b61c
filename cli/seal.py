"""Sealing an approval by hand: for rehearsals, emergencies, and to see what a system of one's own should make."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.common import formed, troubles
from cli.output import say
from shared.errors import BadInput, SettingsError
from shared.messages.bodies import decoded
from shared.messages.forms import DeploymentId, Instant, KeyId
from shared.messages.seal import seal

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def seal_file(
    file: Annotated[Path, typer.Argument(help="The approval, as a JSON file.")],
    key: Annotated[Path, typer.Option(help="The issuer's private key: Ed25519, PEM (PKCS #8), not encrypted.")],
    kid: Annotated[str, typer.Option(help="The key's name, as issuers.yaml has it.")],
    audience: Annotated[str, typer.Option(help="The id of the deployment that the approval is for.")],
    at: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="When it is sealed, such as 2026-01-31T12:00:00Z. Default: now."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where it is written. Default: standard output."),
    ] = None,
) -> None:
    """Seal an approval with an issuer's key, as it is then put on the queue.

    The approval is checked as the functions would check it, but not whether the key, the accounts or a policy let it pass.
    """
    with troubles():
        kid, audience = formed(KeyId, kid, "--kid"), formed(DeploymentId, audience, "--audience")
        private, approval = _private_key(key), _read(file)
        try:
            sealed = seal(decoded(approval), private, kid=kid, audience=audience, at=_second(at))
        except BadInput as error:
            raise SettingsError(f"{file}: {error}") from None
        if output is None:
            say(sealed)
        else:
            _write(output, sealed + "\n")


def _second(at: str | None) -> int:
    """A time given on the command line, in epoch seconds; else the present."""
    if at is None:
        return int(time.time())
    return int(datetime.fromisoformat(formed(Instant, at, "--at")).timestamp())


def _private_key(path: Path) -> Ed25519PrivateKey:
    """The key in a file. Raises SettingsError, which shows nothing of what is in it."""
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    must = "must be an Ed25519 private key, PEM (PKCS #8), not encrypted"
    try:
        found = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror})") from None
    except TypeError:
        raise SettingsError(f"{path}: {must} (it is encrypted)") from None
    except (ValueError, UnsupportedAlgorithm):
        raise SettingsError(f"{path}: {must}") from None
    if not isinstance(found, Ed25519PrivateKey):
        raise SettingsError(f"{path}: {must} (it is of another kind)")
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path}: is not UTF-8") from None


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise SettingsError(f"{path}: cannot be written ({error.strerror})") from None
