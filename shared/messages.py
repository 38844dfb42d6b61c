"""Messages: strict with ours, lenient with the platform's envelope.

What arrives on a queue is an approval, a completion (a wake from the other side) or a wake of our own. What leaves is a
completion or a wake. Uids are strings: 18-digit ones do not survive JSON readers that use doubles
(openapi-ecr-vpc-sts.md section 6).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Network, ip_network
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import core_schema

from shared.catalogue import find
from shared.errors import BadInput, GrantError

APPROVAL = "ecr-grants/approval/2"
APPROVAL_BEFORE = "ecr-grants/approval/1"
COMPLETION = "ecr-grants/completion/1"
WAKE = "ecr-grants/wake/1"
AGAIN = "ecr-grants/again/1"

# A reason must fit into a completion, and a completion into a message, however much was wrong.
_FAULTS = 20
_SHOWN = 80


@dataclass(frozen=True)
class Form:
    """A text of this form. The fault says what it must be in words; a regular expression helps nobody at two at night."""

    pattern: str
    must: str

    def _check(self, value: str) -> str:
        if re.fullmatch(self.pattern, value) is None:
            raise ValueError(self.must)
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return handler(schema) | {"pattern": f"^({self.pattern})$"}


# The forms are ours, wide enough for every sample (openapi-ecr-vpc-sts.md section 6).
AccountId = Annotated[str, Form(r"[0-9]{15,20}", "must be an account uid: a text of 15 to 20 digits")]
EcrId = Annotated[str, Form(r"ecr-[a-z0-9]{6,32}", "must be the id of a router, such as ecr-7vrbqv9lcgvzqbwwkm")]
RegionId = Annotated[str, Form(r"[a-z]{2}-[a-z]+(-[a-z0-9]+)*", "must be a region id, such as cn-hangzhou")]
InstanceId = Annotated[
    str,
    Form(r"(vpc|vbr)-[a-z0-9]{1,60}", "must be the id of a VPC or VBR: vpc- or vbr-, then small letters and digits"),
]
RequestId = Annotated[
    str,
    Form(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}", "must be 1 to 128 letters, digits or . _ : - and not start with a sign"),
]
Issuer = Annotated[
    str, Form(r"[a-z0-9][a-z0-9._-]{0,63}", "must be the name of a system: 1 to 64 small letters, digits or . _ -")
]
Person = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]
InstanceType = Literal["VPC", "VBR"]


def _instant(value: object) -> datetime:
    """A moment in UTC. A time without a zone could mean either of two days, so it is refused."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        if isinstance(moment, datetime) and moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise ValueError("must be an ISO 8601 time with its zone, such as 2026-01-31T12:00:00Z")


Instant = Annotated[
    AwareDatetime,
    BeforeValidator(_instant),
    PlainSerializer(lambda value: value.isoformat().replace("+00:00", "Z"), return_type=str, when_used="json"),
]


def _prefix(value: str) -> str:
    network = ip_network(value)  # refuses host bits and nonsense with a readable ValueError
    if not isinstance(network, IPv4Network):
        raise ValueError("must be an IPv4 prefix")  # noqa: TRY004  # pydantic turns only ValueError into a fault
    return str(network)


Prefix = Annotated[str, AfterValidator(_prefix)]


class Message(BaseModel):
    """Strict: no unknown field, no silent conversion of a number into text."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Ecr(Message):
    """The router of account A."""

    id: EcrId
    owner_uid: AccountId


class Instance(Message):
    """The network instance of account B."""

    type: InstanceType
    id: InstanceId
    region: RegionId
    owner_uid: AccountId

    @field_validator("id")
    @classmethod
    def _id_fits_type(cls, value: str, info: ValidationInfo) -> str:
        kind = info.data.get("type")
        if kind is not None and not value.startswith(kind.lower() + "-"):
            raise ValueError(f"is not the id of a {kind}")
        return value


@dataclass(frozen=True)
class GrantKey:
    """What makes two grants the same grant (openapi-ecr-vpc-sts.md section 1.8), plus the instance's owner."""

    ecr_id: str
    ecr_owner_uid: str
    instance_type: InstanceType
    instance_id: str
    instance_region: str
    instance_owner_uid: str

    @property
    def grant_id(self) -> str:
        """A short name that says the same thing."""
        text = "|".join(astuple(self))
        return "g-" + hashlib.sha256(text.encode()).hexdigest()[:24]


class _Approved(Message):
    """What every approval says: on one grant, for a reason, by somebody, vouched for by a system."""

    schema_: Literal["ecr-grants/approval/2"] = Field(alias="schema")
    issuer: Issuer
    request_id: RequestId
    ecr: Ecr
    instance: Instance
    requested_by: Person
    approved_by: Annotated[list[Person], Field(min_length=1, max_length=20)]
    approved_at: Instant
    reason: Annotated[str, StringConstraints(min_length=1, max_length=1000, strip_whitespace=True)]

    @property
    def grant(self) -> GrantKey:
        """The grant that this approval is about."""
        return GrantKey(
            ecr_id=self.ecr.id,
            ecr_owner_uid=self.ecr.owner_uid,
            instance_type=self.instance.type,
            instance_id=self.instance.id,
            instance_region=self.instance.region,
            instance_owner_uid=self.instance.owner_uid,
        )

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical content: what was approved is what is executed."""
        return hashlib.sha256(canonical(self.model_dump(mode="json", by_alias=True))).hexdigest()


class GrantApproval(_Approved):
    """Opens a lease on the grant, named by (issuer, request id, digest of the whole content); perhaps until a time."""

    action: Literal["grant"]
    allowed_prefixes: Annotated[list[Prefix], Field(max_length=100, validate_default=True)] = []
    ends_at: Instant | None = None
    on_end: Literal["report", "teardown"] = "report"

    @field_validator("ends_at")
    @classmethod
    def _ends_after_approval(cls, value: datetime | None, info: ValidationInfo) -> datetime | None:
        approved_at = info.data.get("approved_at")
        if value is not None and approved_at is not None and value <= approved_at:
            raise ValueError("must be later than approved_at")
        return value

    @field_validator("allowed_prefixes", mode="after")
    @classmethod
    def _prefixes_are_for_vpcs(cls, value: list[str], info: ValidationInfo) -> list[str]:
        instance = info.data.get("instance")
        if instance is not None and instance.type == "VPC" and not value:
            raise ValueError("must name at least one prefix for a VPC: what account A routes is part of the approval")
        if instance is not None and instance.type != "VPC" and value:
            raise ValueError("must be left out: only the association of a VPC takes allowed prefixes")
        return sorted(set(value), key=ip_network)


class RevokeApproval(_Approved):
    """Closes leases of the same issuer by their request ids, or every lease on the grant that was approved before it."""

    action: Literal["revoke"]
    closes: Literal["all"] | Annotated[list[RequestId], Field(min_length=1, max_length=100)]


Approval = Annotated[GrantApproval | RevokeApproval, Field(discriminator="action")]


class Request(Message):
    """Which request an outcome answers."""

    issuer: str
    request_id: str
    digest: str


class Reason(Message):
    """Why: a stable code for programs, a sentence for people, in English and, where there is one, in Chinese."""

    code: str
    text: str
    text_zh: str | None = None

    @classmethod
    def of(cls, error: GrantError) -> Reason:
        """The reason that an error is. Our own errors have their words in the catalogue, before what was found."""
        entry = find(error.code)
        own = f"{entry.zh}：{error}" if entry is not None else None
        return cls(code=error.code, text=str(error), text_zh=error.text_zh or own)


class Served(Message):
    """One API call that served the work: it leads from our record to the account's own audit log."""

    operation: str
    account: str
    session: str
    api_request_id: str


# What happened to a grant, to one of its leases, and to a request. Also the tags that completions are published under.
GrantEvent = Literal[
    "granted",
    "associated",
    "unwanted",
    "dissociated",
    "revoked",
    "stuck",
    "drift-found",
    "drift-repaired",
    "adopted",
    "redriven",
]
LeaseEvent = Literal["ending", "overdue", "ended", "second-digest"]
RequestEvent = Literal["admitted", "held", "done", "rejected", "dead"]


class GrantFields(Message):
    """The grant a completion is about, with all that names it."""

    grant_id: str
    ecr_id: str
    ecr_owner_uid: str
    instance_type: InstanceType
    instance_id: str
    instance_region: str
    instance_owner_uid: str


class Completion(Message):
    """One recorded fact, published once per (grant, generation, event). A hint to look, never an order.

    ``number`` counts a grant's facts: a late one is known as late. ``id`` never changes, however often it is delivered.
    """

    schema_: Literal["ecr-grants/completion/1"] = Field(alias="schema")
    id: str
    event: GrantEvent | LeaseEvent | RequestEvent | Literal["mode-changed"]
    at: Instant
    grant: GrantFields | None = None
    number: int | None = None
    generation: int | None = None
    association_id: str | None = None
    allowed_prefixes: list[str] | None = None
    request: Request | None = None
    message_id: str | None = None
    reason: Reason | None = None
    served: list[Served] = []


class Wake(Message):
    """Look at this grant again. Carries no fact."""

    schema_: Literal["ecr-grants/wake/1"] = Field(alias="schema")
    grant_id: str


Body = GrantApproval | RevokeApproval | Completion | Wake
_BODIES: dict[str, TypeAdapter[Any]] = {
    APPROVAL: TypeAdapter(Approval),
    COMPLETION: TypeAdapter(Completion),
    WAKE: TypeAdapter(Wake),
}


def _upgraded(document: dict[str, Any]) -> dict[str, Any]:
    """The same approval in the present version. Version 1 knew only grants, and nobody who vouched for a request id."""
    if document.get("schema") != APPROVAL_BEFORE:
        return document
    if document.get("action") != "grant":
        raise BadInput(f"action: {APPROVAL_BEFORE} knows only 'grant' (found {_shown(document.get('action'))})")
    if "issuer" in document:
        raise BadInput("issuer: is not a known field")
    return document | {"schema": APPROVAL, "issuer": "direct"}


@dataclass(frozen=True)
class Item:
    """One message out of an event: its platform id, and its body as text or as the object the platform made of it."""

    message_id: str
    body: object


def message_schemas() -> dict[str, str]:
    """The JSON Schemas of the public messages, by file name, as text ready to be written."""
    public = {"approval.json": APPROVAL, "completion.json": COMPLETION}
    return {
        name: json.dumps(_BODIES[schema].json_schema(by_alias=True), indent=2, sort_keys=True) + "\n"
        for name, schema in public.items()
    }


def canonical(document: object) -> bytes:
    """One byte string per meaning: sorted keys, no blanks, ASCII."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def items(event: bytes) -> Iterator[Item]:
    """The messages in an event, whatever its shape (function-compute.md section 3.1).

    One CloudEvent, an array of objects, an array of JSON strings, or bare ``data`` objects. An element that cannot be
    read becomes an item of its own, so that its neighbours are not stopped by it.
    """
    try:
        document = json.loads(event)
    except (ValueError, RecursionError):
        document = [event.decode("utf-8", "replace")]
    for element in document if isinstance(document, list) else [document]:
        yield _item(element)


def again(item: Item) -> str:
    """A message that could not be taken in, ready to be sent again under the id that its sender knows."""
    return json.dumps({"schema": AGAIN, "message_id": item.message_id, "body": item.body})


def unwrapped(item: Item) -> Item:
    """The message that was sent again, as it was; any other one as it is."""
    try:
        document = _decoded(item.body) if isinstance(item.body, str) else item.body
    except BadInput:
        return item
    if (
        isinstance(document, dict)
        and document.keys() == {"schema", "message_id", "body"}
        and document["schema"] == AGAIN
    ):
        return Item(str(document["message_id"]), document["body"])
    return item


def redrivable(body: str) -> str:
    """The message in a dead letter, ready to be sent again: the platform may have parked it with its envelope around it."""
    try:
        document = json.loads(_from_base64(body) or body)
    except (ValueError, RecursionError):
        return body
    if isinstance(document, list) and len(document) == 1:
        document = document[0]
    data = document.get("data") if isinstance(document, dict) else None
    inner = data.get("messageBody") if isinstance(data, dict) else None
    if inner is None:
        return _from_base64(body) or body
    return inner if isinstance(inner, str) else json.dumps(inner)


def _item(element: object) -> Item:
    inner = element
    if isinstance(element, str):
        try:
            inner = json.loads(element)
        except (ValueError, RecursionError):
            inner = element
    if isinstance(inner, dict):
        data = inner.get("data", inner)
        if isinstance(data, dict) and "messageBody" in data:
            return Item(str(data.get("messageId") or inner.get("id") or ""), data["messageBody"])
        return Item(str(inner.get("id") or ""), inner)
    return Item("", element)


def parse(body: object) -> Body:
    """The message in a body: JSON text, Base64 of it, or an object. Raises BadInput that names each faulty field."""
    document = _decoded(body) if isinstance(body, str) else body
    if not isinstance(document, dict):
        raise BadInput(f"the message is not a JSON object (found {_shown(document)})")
    document = _upgraded(document)
    schema = document.get("schema")
    model = _BODIES.get(schema) if isinstance(schema, str) else None
    if model is None:
        known = ", ".join([APPROVAL_BEFORE, *sorted(_BODIES)])
        found = _shown(schema) if "schema" in document else "nothing"
        raise BadInput(f"schema: must be one of {known} (found {found})")
    try:
        parsed: Body = model.validate_json(json.dumps(document))
        return parsed
    except ValidationError as error:
        [first, *_] = error.errors(include_url=False)
        if first["type"] == "json_invalid":
            raise BadInput(_unusable(document, str(first["msg"]))) from None
        raise BadInput(faults(error, tags=("grant", "revoke") if schema == APPROVAL else ())) from None
    except (ValueError, RecursionError) as error:
        raise BadInput(f"the message is not usable JSON ({type(error).__name__})") from None


def _unusable(document: object, why: str) -> str:
    """Why a document that Python reads is no JSON: where half a character stands, else what the parser says."""
    waiting: list[tuple[str, object]] = [("", document)]
    while waiting:
        path, value = waiting.pop()
        inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        waiting += [(f"{path}.{_name(str(key))}".lstrip("."), each) for key, each in inner]
        texts = [value] if isinstance(value, str) else list(value) if isinstance(value, dict) else []
        if any("\ud800" <= letter <= "\udfff" for text in texts for letter in text):
            return f"{path or 'the message'}: holds half a character, a lone surrogate (found {_shown(value)})"
    return f"the message is not usable JSON ({why})"


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object, unless a field is there twice: readers differ in which of the two they take."""
    found = dict(pairs)
    if len(found) < len(pairs):
        [(name, _)] = Counter(name for name, _ in pairs).most_common(1)
        raise BadInput(f"{_name(name)}: is there twice")
    return found


def _decoded(text: str) -> object:
    for candidate in (text, _from_base64(text)):
        if candidate is None:
            continue
        try:
            document = json.loads(candidate, object_pairs_hook=_once)
        except (ValueError, RecursionError):
            continue
        if isinstance(document, dict | list) or candidate is text:
            return document
    raise BadInput(f"the message is not JSON, nor Base64 of JSON (found {_shown(_from_base64(text) or text)})")


def _from_base64(text: str) -> str | None:
    try:
        return base64.b64decode(text, validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        return None


def faults(error: ValidationError, tags: tuple[str, ...] = ()) -> str:
    """The faults as ``field: what is wrong (found what)``, fields as a person writes them; of very many, the first.

    ``tags`` are pydantic's own names of union branches; they are left out of a field's path: people write no unions.
    """
    found = error.errors(include_url=False)
    more = [f"and {len(found) - _FAULTS} more"] if len(found) > _FAULTS else []
    return "; ".join([*(_fault(fault, tags) for fault in found[:_FAULTS]), *more])


def _fault(fault: Any, tags: tuple[str, ...]) -> str:
    kind, parts = fault["type"], [_name(str(part)) for part in fault["loc"]]
    if kind == "union_tag_not_found":
        return "action: is missing"
    if kind == "union_tag_invalid":
        return f"action: must be 'grant' or 'revoke' (found {_shown(fault['ctx']['tag'])})"
    if len(parts) > 1 and parts[0] in tags:
        parts = parts[1:]
    field = ".".join(part for part in parts if "[" not in part) or "the message"
    if kind == "missing":
        return f"{field}: is missing"
    if kind == "extra_forbidden":
        return f"{field}: is not a known field"
    text = str(fault["msg"]).removeprefix("Value error, ")
    return f"{field}: {text} (found {_shown(fault['input'])})"


def _name(text: str) -> str:
    """A field's name in an error text, short and printable."""
    return text if text.isprintable() and len(text) <= _SHOWN else _shown(text)


def _shown(value: object) -> str:
    """A value in an error text, short and printable."""
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=True)
    text = text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
    return repr(text) if isinstance(value, str) else text
