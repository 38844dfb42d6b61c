"""Endpoints outside the message service that a topic can push to (mns.md section 3): how each kind is written."""

import re
from collections.abc import Mapping
from typing import Final, Literal

Kind = Literal["HTTP", "HTTPS", "mail", "SMS"]

LONGEST: Final = 1_024

_WEB: Final = r"://[A-Za-z0-9._~%!$&'()*+,;=:@\[\]-]+(?:[/?][^\s<>\x00-\x1f]*)?"
_FORMS: Final[Mapping[Kind, re.Pattern[str]]] = {
    "HTTP": re.compile(f"http{_WEB}", re.IGNORECASE),
    "HTTPS": re.compile(f"https{_WEB}", re.IGNORECASE),
    "mail": re.compile(r"mail:directmail:[^\s@:<>]+@[^\s@:<>]+"),
    "SMS": re.compile(r"sms:directsms:(?:anonymous|\+?[0-9]{5,20})"),
}


def push_kind(endpoint: str) -> Kind | None:
    """Which kind an endpoint is; None when it is none of these, or too long."""
    if len(endpoint) > LONGEST:
        return None
    return next((kind for kind, form in _FORMS.items() if form.fullmatch(endpoint)), None)
