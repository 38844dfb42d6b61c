"""What the commands share: how they are told about the ledger and about who types, and how they say what went wrong."""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

import typer
from pydantic import TypeAdapter, ValidationError

from cli.output import complain
from shared.errors import GrantError, LedgerError, SettingsError
from shared.ledger.schema import check_schema
from shared.ledger.transactions import Ledger
from shared.messages.cells import safe

EXITS = (
    "Exit codes: 0 fine; 1 what was asked is not so, or trouble (the line on standard error says which);"
    " 2 the command line, a setting or a file given to it cannot be used; 130 interrupted."
)
PLAIN = {"max_content_width": 120}
"""How help is laid out."""

LedgerUrl = Annotated[
    str,
    typer.Option(
        envvar="LEDGER_URL", help="Database address: postgresql+psycopg://… or sqlite:///…", show_default=False
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
As = Annotated[
    str | None,
    typer.Option(
        "--as",
        metavar="NAME",
        envvar="ECR_GRANTS_USER",
        help="Who does this, for the record: a claim, not a proof. Default: the login name of this process's user.",
        show_default=False,
    ),
]

MnsEndpoint = Annotated[
    str | None,
    typer.Option(
        envvar="MNS_ENDPOINT",
        help="Queues: https://{uid}.mns.{region}.aliyuncs.com; without it only the ledger is looked at.",
        show_default=False,
    ),
]

F = TypeVar("F", bound=Callable[..., Any])

_LONGEST_NAME = 200


class NotSo(Exception):
    """What was asked for is not there, or not as it was asked. The text says what was found."""


def command_line(name: str, summary: str) -> typer.Typer:
    """A group of commands. Plain texts: boxes would break ids in two, and are of no use in a pipe."""
    return typer.Typer(
        name=name,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings=PLAIN,
        help=summary,
        short_help=summary,
        epilog=EXITS,
    )


def command(app: typer.Typer, name: str) -> Callable[[F], F]:
    """A command that explains itself: the first line of its text stands whole in the list of commands."""

    def add(function: F) -> F:
        summary = (function.__doc__ or "").strip().split("\n")[0]
        return app.command(name, epilog=EXITS, short_help=summary)(function)

    return add


def operator_name(claimed: str | None) -> str:
    """Who does this, as the record will have it: what was claimed, else who the operating system says runs this process.

    The variables LOGNAME and USER are not asked: whoever types may set them without noticing. Raises SettingsError.
    """
    if claimed is not None:
        name = claimed.strip()
        if not name or len(name) > _LONGEST_NAME or safe(name) != name:
            raise SettingsError(
                f"--as (ECR_GRANTS_USER) must be a name of 1 to {_LONGEST_NAME} visible letters (found {name[:80]!r})"
            )
        return name
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container may run as a number that has no name
        return f"uid {os.getuid()}"


def reachable(endpoint: str, option: str) -> str:
    """An address of the cloud as the vendor's SDKs take it, https unless it says otherwise. Raises SettingsError.

    Traffic to this very machine is kept away from a proxy: the SDKs ask the environment for one, and know no exceptions.
    """
    address = endpoint if "://" in endpoint else f"https://{endpoint}"
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname or "", parts.port  # a port that is none raises ValueError
    except ValueError:
        host, parts = "", urlsplit("")
    rest = parts.path.strip("/") or parts.query or parts.fragment or parts.username
    if parts.scheme not in ("http", "https") or not re.fullmatch(r"[A-Za-z0-9._:%-]+", host) or rest:
        raise SettingsError(
            f"{option} must be an address such as https://host or http://host:port (found {endpoint!r})"
        )
    if _is_near(host):
        for name in [one for one in os.environ if one.lower().endswith("_proxy")]:
            del os.environ[name]
    return address.rstrip("/")


def _is_near(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def formed(form: Any, value: str, what: str) -> str:
    """A text given on the command line, if it has one of the messages' forms. Raises SettingsError that says what it must be."""
    try:
        value.encode()
        return str(TypeAdapter(form).validate_python(value))
    except UnicodeEncodeError:  # bytes of the command line that are no text
        raise SettingsError(f"{what} must be UTF-8 (found {value[:80]!r})") from None
    except ValidationError as error:
        [fault, *_] = error.errors(include_url=False)
        must = fault.get("ctx", {}).get("error", fault["msg"])
        raise SettingsError(f"{what} {must} (found {value[:80]!r})") from None


def fits(form: Any, value: str) -> bool:
    """Whether a text has such a form; else nothing of that name can be in the ledger."""
    try:
        formed(form, value, "")
    except SettingsError:
        return False
    return True


@contextmanager
def troubles() -> Iterator[None]:
    """One line that says what is wrong, and the exit code for it, for everything that can be expected to go wrong."""
    try:
        yield
    except SettingsError as error:
        complain(error)
        raise typer.Exit(2) from None
    except (LedgerError, GrantError, NotSo) as error:
        complain(error)
        raise typer.Exit(1) from None


@contextmanager
def addressed(url: str) -> Iterator[Ledger]:
    """The ledger at an address, whatever is in it."""
    with troubles():
        try:
            ledger = Ledger(url)
        except LedgerError as error:  # not an address
            raise SettingsError(str(error)) from None
        try:
            yield ledger
        finally:
            ledger.close()


@contextmanager
def opened(url: str) -> Iterator[Ledger]:
    """The ledger at an address, with the schema this version wants."""
    with addressed(url) as ledger:
        check_schema(ledger)
        yield ledger
