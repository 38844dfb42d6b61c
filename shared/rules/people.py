"""People: who is behind a name that a system or a sign-in says, and the groups that answer for accounts. `people.yaml`."""

from __future__ import annotations

from datetime import datetime
from functools import cached_property
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from shared.messages.approval import DESK
from shared.messages.forms import Form, Instant
from shared.messages.forms import Person as Said

_NAMED = TypeAdapter(Said)


def _subject(value: str) -> str:
    provider, _, name = value.partition(":")
    try:
        same = _NAMED.validate_python(name) == name
    except ValidationError:
        same = False
    if not same:
        raise ValueError(f"must have a name after {provider}: that can all be seen, without blanks around it")
    return value


# Names are keys: what looks the same must be the same, so no blanks and no marks that join to a letter.
Name = Annotated[str, Form(r"\w[\w.@+-]{0,99}", "must be a name: 1 to 100 letters, digits or . _ @ + -", 100)]
Subject = Annotated[
    str,
    Form(
        r"[a-z0-9][a-z0-9._-]{0,63}:[^\x00-\x1f]{1,200}",
        "must be provider:name, such as self-service:requester@example.com",
        265,
    ),
    AfterValidator(_subject),
]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Entry(_Model):
    """One person, by all the names that systems and sign-ins have for them: ``provider:name``."""

    subjects: Annotated[list[Subject], Field(min_length=1)]


class Delegation(_Model):
    """For a time one person decides for another."""

    of: Name
    to: Name
    from_: Instant = Field(alias="from")
    until: Instant

    @model_validator(mode="after")
    def _is_one(self) -> Delegation:
        if self.of == self.to:
            raise ValueError(f"{self.of} cannot delegate to {self.to}, who is the same person")
        if self.until <= self.from_:
            raise ValueError("until must be later than from")
        return self

    def holds(self, now: datetime) -> bool:
        """Whether it is in force."""
        return self.from_ <= now < self.until


class People(_Model):
    """The file: persons with their subjects, groups of persons, delegations between persons."""

    version: Literal[1]
    persons: dict[Name, Entry] = Field(default_factory=dict)
    groups: dict[Name, Annotated[list[Name], Field(min_length=1)]] = Field(default_factory=dict)
    delegations: list[Delegation] = Field(default_factory=list)

    @cached_property
    def _by_subject(self) -> dict[str, str]:
        return {subject: who for who, entry in self.persons.items() for subject in entry.subjects}

    def person(self, provider: str, name: str) -> str | None:
        """Who is behind a name that an issuer or a sign-in says, letter by letter; None where nobody is listed with it.

        The desk knows people by their names here: who they are was settled when they signed in.
        """
        if provider == DESK:
            return name if name in self.persons else None
        return self._by_subject.get(f"{provider}:{name}")

    def members(self, group: str | None) -> frozenset[str]:
        """The persons of a group; nobody for one that is not listed."""
        return frozenset(self.groups.get(group, ())) if group is not None else frozenset()
