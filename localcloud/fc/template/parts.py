"""How strictly a piece of a template is read: no key without meaning, no value bent into shape."""

from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator
from pydantic.alias_generators import to_camel, to_pascal

from localcloud.mistakes import meant, unknown_keys


class Part(BaseModel):
    """A piece of the template: no value is bent into shape, no key is silently ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, alias_generator=to_camel)
    not_emulated: ClassVar[frozenset[str]] = frozenset()
    """Documented keys whose effect this local cloud does not have."""

    @model_validator(mode="before")
    @classmethod
    def _spelling(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        known = {field.alias or name for name, field in cls.model_fields.items()}
        problems = []
        for key in given:
            if key in cls.not_emulated:
                problems.append((key, f"{key!r} is documented, but not emulated by this local cloud"))
            elif key not in known:
                problems.append((key, f"unknown key {key!r}{meant(str(key), known | cls.not_emulated)}"))
        if problems:
            raise unknown_keys(problems)
        return given


class PascalPart(Part):
    """A piece whose keys EventBridge spells with a capital."""

    model_config = ConfigDict(alias_generator=to_pascal)


def only(allowed: str, documented: Sequence[str] = ()) -> Any:
    """A field that may have one value here; the other documented values are refused by name."""

    def check(value: Any) -> Any:
        if value != allowed:
            why = "documented, but not emulated" if value in documented else "not known"
            raise ValueError(f"{value!r} is {why}; only {allowed!r} is emulated")
        return value

    return BeforeValidator(check)
