"""What `ecr-grants doctor` says, and the rules that decide it: is what was seen as it should be, and what is to be done."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import StrEnum

MOST_CLOCK_SECONDS = 60
"""Clocks that differ by more are wrong: ends of leases go by them, and the cloud refuses calls at fifteen minutes."""

# A name this much like a setting's is meant to be one. Endpoints are not judged: other tools' names differ by a letter.
_LIKE = 0.85
_LEGIBLE = 20


class Verdict(StrEnum):
    """What became of one look."""

    OK = "ok"
    WRONG = "wrong"
    UNKNOWN = "unknown"


class Check(StrEnum):
    """What is looked at, in the order in which it is told."""

    SETTINGS = "settings"
    CONFIGURATION = "configuration"
    SECRETS = "secrets"
    CREDENTIALS = "credentials"
    CLOCK = "clock"
    LEDGER = "ledger"
    TLS = "tls"
    SCHEMA = "schema"
    CHAIN = "chain"
    QUEUES = "queues"
    TOPIC = "topic"
    SUBSCRIPTIONS = "subscriptions"
    DEAD_LETTERS = "dead-letters"
    TRIGGERS = "triggers"
    CONCURRENCY = "concurrency"
    ASYNCHRONOUS = "asynchronous"
    FUNCTIONS = "functions"
    ENVIRONMENT = "environment"
    LOG = "log"
    ROLES = "roles"


@dataclass(frozen=True)
class Finding:
    """One look: at what, what was seen or why nothing was, and what to do where something is wrong."""

    check: Check
    about: str
    verdict: Verdict
    text: str
    remedy: str = ""

    def facts(self) -> dict[str, str]:
        """For programs."""
        facts = {"check": self.check.value, "about": self.about, "verdict": self.verdict.value, "text": self.text}
        return facts | ({"do": self.remedy} if self.remedy else {})


def ok(check: Check, about: str, text: str) -> Finding:
    """All is well."""
    return Finding(check, about, Verdict.OK, text)


def wrong(check: Check, about: str, text: str, remedy: str) -> Finding:
    """What was seen is not as it should be."""
    return Finding(check, about, Verdict.WRONG, text, remedy)


def unknown(check: Check, about: str, why: str, remedy: str = "") -> Finding:
    """Nothing was seen, or not enough."""
    return Finding(check, about, Verdict.UNKNOWN, why, remedy)


@dataclass(frozen=True)
class Difference:
    """One value that is not as it should be; ``found`` is None where there is none."""

    name: str
    wanted: object
    found: object

    def __str__(self) -> str:
        found = "is not set" if self.found is None else f"is {_shown(self.found)}"
        return f"{self.name} {found}, should be {_shown(self.wanted)}"


def differences(wanted: Mapping[str, object], found: Mapping[str, object], at: str = "") -> Iterator[Difference]:
    """Every value that is wanted and found otherwise; what is found beside it is nobody's business.

    Names of roles are compared without their case: the deployment tool writes them small.
    """
    for name, value in wanted.items():
        place, there = f"{at}{name}", found.get(name)
        if isinstance(value, Mapping):
            yield from differences(value, there if isinstance(there, Mapping) else {}, f"{place}.")
        elif _plain(name, value) != _plain(name, there):
            yield Difference(place, value, there)


def _plain(name: str, value: object) -> object:
    return value.lower() if name == "role" and isinstance(value, str) else value


def _shown(value: object) -> str:
    text = "true" if value is True else "false" if value is False else str(value)
    return text or "empty"


def clock_finding(about: str, difference: float) -> Finding:
    """``difference``: by how many seconds the other clock is ahead of this machine's."""
    if abs(difference) <= MOST_CLOCK_SECONDS:
        return ok(Check.CLOCK, about, f"differs from this machine's by at most {MOST_CLOCK_SECONDS} s")
    which = "ahead of" if difference > 0 else "behind"
    return wrong(
        Check.CLOCK,
        about,
        f"is {abs(difference):.0f} s {which} this machine's clock",
        f"set this machine's clock by NTP; if it is right, the clock of {about} is not",
    )


@dataclass(frozen=True)
class Transport:
    """How the database is reached: ``here`` on this machine; ``mode`` is libpq's sslmode, ``used`` whether TLS is in use."""

    here: bool
    mode: str
    used: bool


def tls_finding(about: str, transport: Transport) -> Finding:
    """Whether what goes to the database can be read or answered by somebody else on the way (libpq, "SSL Support")."""
    if transport.here:
        return ok(Check.TLS, about, "on this machine: nothing leaves it")
    certificate = "sslmode=verify-full and sslrootcert=FILE (the certificate that the database's console gives)"
    if not transport.used:
        remedy = f"switch TLS on at the database, and add {certificate} to LEDGER_URL"
        return wrong(Check.TLS, about, "the connection is not encrypted, password included", remedy)
    if transport.mode not in ("verify-ca", "verify-full"):
        text = f"the connection is encrypted, but nobody checks whose it is (sslmode={transport.mode})"
        return wrong(Check.TLS, about, text, f"add {certificate} to LEDGER_URL")
    return ok(Check.TLS, about, f"encrypted, and the server is checked (sslmode={transport.mode})")


def misspelt(names: Iterable[str], settings: Iterable[str]) -> list[tuple[str, str]]:
    """(name, setting that it is probably meant to be) for each name that is no setting and nearly one that is not there."""
    there = set(names)
    absent = [one for one in settings if one not in there]
    found = []
    for name in sorted(there - set(settings)):
        if name.endswith("_ENDPOINT"):
            continue
        likeness, nearest = max(((SequenceMatcher(None, name, one).ratio(), one) for one in absent), default=(0.0, ""))
        if likeness >= _LIKE:
            found.append((name, nearest))
    return found


_REGION = re.compile(r"([a-z]{2}-[a-z]+(?:-\d)?)(?:-internal)?(?:-vpc)?")
_UID = re.compile(r"\d{15,20}")


def elsewhere(addresses: Mapping[str, str], region: str, uid: str | None = None) -> Iterator[tuple[str, str]]:
    """(setting, what its address names instead) of each address of the vendor's that names another region or account."""
    for name, address in addresses.items():
        host = address.partition("://")[2].partition(":")[0]
        if not host.endswith(".aliyuncs.com"):
            continue
        labels = host.split(".")
        regions = [found[1] for found in map(_REGION.fullmatch, labels) if found]
        if regions and region not in regions:
            yield name, f"region {regions[0]}"
        elif uid is not None and _UID.fullmatch(labels[0]) and labels[0] != uid:
            yield name, f"account {labels[0]}"


def dead_letters_finding(queue: str, seen: int, *, more: bool) -> Finding:
    """What waits in a dead-letter queue. ``more``: as many were seen as can be seen at once."""
    if not seen:
        return ok(Check.DEAD_LETTERS, queue, "no message can be seen in it")
    waits = "1 message waits" if seen == 1 else f"{seen}{' or more' if more else ''} messages wait"
    return wrong(Check.DEAD_LETTERS, queue, f"{waits} in it", "`ecr-grants dead list`, mend, `ecr-grants dead redrive`")


def named(names: Iterable[str]) -> str:
    """Names for a sentence; of many only the first."""
    listed = sorted(names)
    more = f" and {len(listed) - _LEGIBLE} more" if len(listed) > _LEGIBLE else ""
    return ", ".join(listed[:_LEGIBLE]) + more
