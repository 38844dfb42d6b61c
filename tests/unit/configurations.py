"""A configuration for the unit tests to vary, and who signs it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from examples.keys import key
from shared.errors import BadInput
from shared.messages.configuration import Bundle, payload, public_x, signed
from shared.rules.configuration import verified

A, B, ECR = "1000000000000001", "2000000000000002", "ecr-7vrbqv9lcgvzqbwwkm"
ONE, TWO, THREE = ({name: public_x(key(name))} for name in ("one", "two", "three"))
Document = dict[str, Any]


def jwk(kid: str, state: str = "active") -> Document:
    """A key as issuers.yaml has it."""
    return {"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": public_x(key(kid)), "state": state}


def account(**more: Any) -> Document:
    """An account as accounts.yaml has it."""
    return {"name": "n", "owner": "team", "environment": "e", "role": "r", "external_id": "SECRET-1"} | more


def content(**parts: Any) -> Document:
    """A configuration that holds together, with some parts replaced."""
    rights = {"keys": {"keys": [jwk("k1")]}, "accounts": [B], "ecrs": [ECR], "kinds": ["VPC"], "longest_days": 90}
    return {
        "inventory": {"version": 1, "accounts": {A: account(ecrs={ECR: {}}), B: account(supernets=["10.0.0.0/8"])}},
        "issuers": {"tickets": rights},
        "people": {
            "version": 1,
            "persons": {
                "ann": {"subjects": ["tickets:ann@example.com"]},
                "bo": {"subjects": ["tickets:bo@example.com"]},
            },
            "groups": {"team": ["ann", "bo"]},
        },
        "policy": '@id("all")\npermit (principal, action, resource);\n',
    } | parts


def changed(change: Callable[[Document], object]) -> Document:
    """The same with one change."""
    document = copy.deepcopy(content())
    change(document)
    return document


def bundle(*names: str, document: Document | None = None, number: int = 1, previous: str = "") -> Bundle:
    """A bundle that some keys have signed."""
    made, raw = None, payload(number, previous, document or content())
    for name in names:
        made = signed(raw, name, key(name), made)
    assert made is not None
    return made


def refused(text: str, keys: Document | None = None, quorum: int = 1, previous: tuple[int, str] | None = None) -> str:
    """The code and the text with which it is refused."""
    with pytest.raises(BadInput) as error:
        verified(text, ONE if keys is None else keys, quorum, previous)
    return f"{error.value.code}: {error.value}"
