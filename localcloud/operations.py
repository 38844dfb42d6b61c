"""What an emulated RPC operation is: one function, found by its name.

The function reads its parameters (raising Refusal when their form is wrong) and returns ``Work``: which permissions
are needed, and ``check``, which looks at the state of the cloud when the call really happens. A check of a changing
operation returns the change as a function that cannot fail, so a dry run is simply a check whose change is not made.
A product is a table of operations together with the customs of its wire; the server registers it with ``rpc``.
"""

import base64
import binascii
import hashlib
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, TypeVar

from localcloud.call import Call, Caller
from localcloud.kernel import Cloud
from localcloud.ordered import Shelf
from localcloud.params import Params
from localcloud.refusal import Refusal

Reply = dict[str, Any]
Change = Callable[[], Reply]


class Work(NamedTuple):
    """What has to be done for one request whose parameters are well formed."""

    permissions: Sequence[tuple[str, str]]
    look: Callable[[Call], Reply] | None = None
    """For reads: the answer."""
    check: Callable[[Call], Change] | None = None
    """For changes: raise Refusal, or return the change."""
    conditions: Mapping[str, str] = MappingProxyType({})
    account: str = ""
    """The account that owns what is asked about, when that is not the caller's."""
    region: str = ""
    """The region asked about, when that is not the world's."""


Operation = Callable[[Cloud, Caller, Params], Work]


class BusinessRefusal(Refusal):
    """A business error of a product with an envelope: HTTP 4xx, or Success:false inside 200, by switch."""


@dataclass(frozen=True, slots=True)
class Product:
    """The emulated operations of one API version, and the customs of its wire."""

    service: str
    name: str
    version: str
    methods: frozenset[str]
    operations: Mapping[str, Operation]
    form_only: bool = False
    """Whether business parameters travel in the body alone."""
    params: type[Params] = Params
    envelope: bool = False
    """Whether answers carry Success, Code and Message beside their data; refusals are then ``BusinessRefusal``."""
    client_token: bool = False
    """Whether a ClientToken makes a change happen once."""
    dry_run: Literal["unknown", "error", "switch"] = "unknown"
    """How a dry run that passed is answered: not at all because there is none, by an error code, or by switch."""


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TokenPage:
    """A page addressed by an opaque token: the place after the last item seen, bound to the question asked."""

    size: int
    token: str
    question: str

    def cut(
        self,
        params: Params,
        shelf: Shelf[T],
        place: Callable[[T], tuple[float, str]],
        wanted: Callable[[T], bool] | None = None,
    ) -> tuple[list[T], str, int]:
        """The items of this page, the token of the next one (empty on the last) and how many there are in all.

        Looking stops behind the page. Only a filter makes counting look at all that could match.
        """
        after = self._open(params) if self.token else None
        rest = shelf.after(after) if wanted is None else filter(wanted, shelf.after(after))
        page = list(itertools.islice(rest, self.size))
        more = len(page) == self.size and next(rest, None) is not None
        total = len(shelf) if wanted is None else sum(1 for _ in filter(wanted, shelf))
        return page, self._seal(place(page[-1])) if more else "", total

    def _seal(self, place: tuple[float, str]) -> str:
        return base64.urlsafe_b64encode(json.dumps([*place, self.question]).encode()).decode().rstrip("=")

    def _open(self, params: Params) -> tuple[float, str]:
        try:
            padded = self.token + "=" * (-len(self.token) % 4)
            when, name, question = json.loads(base64.urlsafe_b64decode(padded.encode()))
            found = (float(when), str(name))
        except (ValueError, TypeError, binascii.Error, RecursionError) as error:
            raise params.illegal("NextToken") from error
        if question != self.question:
            raise params.illegal("NextToken")
        return found


def token_page(params: Params, operation: str, default: int, most: int) -> TokenPage:
    """Read MaxResults and NextToken (sections 1.1 and 2.4)."""
    ignored = {"MaxResults", "NextToken", "ClientToken", "DryRun"}
    asked = sorted((key, value) for key, value in params.values.items() if key not in ignored)
    question = hashlib.sha256(repr((operation, asked)).encode()).hexdigest()[:12]
    size = params.integer("MaxResults", 1, most)
    return TokenPage(default if size is None else size, params.text("NextToken"), question)
