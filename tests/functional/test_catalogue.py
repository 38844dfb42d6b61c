"""Every documented code that our calls can meet, met once through the local cloud: what comes of it, and in which words."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from shared.cloud.keys import Keys
from shared.cloud.messaging import Messaging
from shared.errors import GrantError
from shared.messages.catalogue import find
from tests.chaos.house import template
from tests.functional.approvals import approval, now, request_id, revocation
from tests.functional.deployment import Deployment, Json, deployment
from tests.functional.world import HUB, TESTER, Spoke, Stage

PATIENT = 150.0
REJECTED, DEAD, LATER, LOOK = "rejected", "dead", "later", "look again"

# The codes that more than one operation lists, and what has to come of each (reference: openapi sections 1.2 to 1.6).
COMMON = {
    "MissingParam.EcrId": (400, REJECTED),
    "IllegalParamFormat.EcrId": (400, REJECTED),
    "IllegalParam.EcrId": (400, REJECTED),
    "Conflict.Lock": (400, LATER),
    "ResourceNotFound.EcrId": (404, REJECTED),
}
LINKING = {
    **COMMON,
    "IncorrectStatus.Ecr": (400, LATER),
    "OperationDenied.ForceDeleting": (400, DEAD),
    "OperationFailed.RejectedByEcYaochi": (400, DEAD),
    "OperationFailed.RejectedByVpcYaochi": (400, DEAD),
    "OperationFailed.RejectedByCenYaochi": (400, DEAD),
    "OperationFailed.CallingVpcYaochi": (400, LOOK),
    "UnsupportedRegion": (400, REJECTED),
}
UNLINKING = {
    **LINKING,
    "IncorrectStatus.EcrAssociation": (400, LATER),
    "OperationDenied.CrossAccountDisassociating": (400, DEAD),
    "OperationDenied.EcrAttachmentExisted": (400, DEAD),
    "ResourceNotFound.AssociationId": (404, LOOK),
}
CHILD = {
    "OperationDenied.VbrHasRouteEntryInMiddleStatus": (400, LATER),
    "OperationDenied.VbrHasBgpGroupInMiddleStatus": (400, LATER),
}
READING = {
    "MissingParam.EcrId": (400, REJECTED),
    "IllegalParamFormat.EcrId": (400, REJECTED),
    "IllegalParam.EcrId": (400, REJECTED),
    "ResourceNotFound.EcrId": (404, REJECTED),
}
GATEWAY = {
    "InvalidApi.NotFound": (404, DEAD),
    "InvalidProduct.NotFound": (404, DEAD),
    "InvalidProtocol.NeedSsl": (404, DEAD),
    "InvalidAccessKeyId.NotFound": (404, DEAD),
    "InvalidAccessKeyId.Inactive": (400, DEAD),
    "SignatureDoesNotMatch": (400, DEAD),
    "SignatureNonceUsed": (400, LATER),
    "InvalidTimeStamp.Expired": (400, LATER),
    "InvalidTimeStamp.Format": (400, LATER),
    "MissingInstanceId": (400, REJECTED),
    "MissingSecurityToken": (400, DEAD),
    "InvalidSecurityToken.Expired": (400, LATER),
    "InvalidSecurityToken.Malformed": (400, DEAD),
    "InvalidSecurityToken.MismatchWithAccessKey": (400, DEAD),
    "Throttling": (400, LATER),
    "Throttling.User": (400, LATER),
    "Throttling.Api": (400, LATER),
    "Rejected.Throttling": (400, LATER),
    "NoPermission": (403, DEAD),
    "Forbidden": (403, DEAD),
    "Forbidden.RAM": (403, DEAD),
    "ServiceUnavailable": (503, LOOK),
    "InternalError": (500, LOOK),
    "IdempotentParameterMismatch": (400, LOOK),
}
UNKNOWN = {
    "Brand.New": (400, REJECTED),
    "Brand.NewNotFound": (404, REJECTED),
    "Brand.NewDenial": (403, DEAD),
    "Brand.NewLimit": (429, LATER),
    "Brand.NewFailure": (500, LOOK),
}

Codes = dict[str, tuple[int, str]]
CODES: dict[tuple[str, str], Codes] = {
    ("sts", "AssumeRole"): {
        **{f"InvalidParameter.{name}": (400, DEAD) for name in ("RoleArn", "RoleSessionName", "ExternalId")},
        **{f"InvalidParameter.{name}": (400, DEAD) for name in ("DurationSeconds", "ContentType")},
        "NoPermission": (403, DEAD),
        "AuthenticationFail.ApiUsername": (403, DEAD),
        "AuthenticationFail.ApiPassword": (403, DEAD),
        "EntityNotExist.Role": (404, DEAD),
        "MissingSecurityToken": (400, DEAD),
        "Throttling.Api": (400, LATER),
        "InternalError": (500, LOOK),
    },
    ("vpc", "DescribeVpcAttribute"): {
        "IncorrectVpcStatus": (400, LATER),
        "InternalError": (500, LOOK),
        "InvalidVpcId.NotFound": (404, REJECTED),
        "InvalidVpcID.NotFound": (404, REJECTED),
        "Forbidden.VpcNotFound": (400, REJECTED),
        "Forbidden.RAM": (403, DEAD),
        "Throttling.User": (400, LATER),
    },
    ("vpc", "DescribeVpcGrantRulesToEcr"): {
        "Throttling.User": (400, LATER),
        "Forbidden.RAM": (403, DEAD),
        "ServiceUnavailable": (503, LOOK),
    },
    ("vpc", "DescribeVirtualBorderRouters"): {
        "InvalidRegionId.NotFound": (404, REJECTED),
        "InvalidFilterKey.ValueNotSupported": (404, REJECTED),
        "Forbidden.RAM": (403, DEAD),
    },
    ("vpc", "DescribeGrantRulesToEcr"): {"Throttling.User": (400, LATER), "Forbidden.RAM": (403, DEAD)},
    ("ecr", "GrantInstanceToExpressConnectRouter"): {
        **COMMON,
        "IllegalParam.EcrOwnerAliUid": (400, REJECTED),
        "IllegalParam.InstanceId": (400, REJECTED),
        "OperationFailed.CallingVpcYaochi": (400, LOOK),
        "OperationFailed.UserNotInWhiteList": (400, DEAD),
        **GATEWAY,
        **UNKNOWN,
    },
    ("ecr", "DescribeExpressConnectRouterAssociation"): {**READING, "Throttling.User": (400, LATER)},
    ("ecr", "DescribeExpressConnectRouterChildInstance"): READING,
    ("ecr", "CreateExpressConnectRouterAssociation"): {
        **LINKING,
        "OperationDenied.NotGrantedByNodeOwner": (400, LATER),
        "OperationDenied.CrossBidAssociating": (400, DEAD),
        "OperationDenied.CrossAccountAttaching": (400, DEAD),
        "OperationDenied.AttachmentInCurrentRegionExisted": (400, DEAD),
        "QuotaExceeded.VpcCountPerEcr": (400, DEAD),
        "IllegalParamFormat.AllowedPrefixes": (400, REJECTED),
        "IllegalParamSize.AllowedPrefixes": (400, REJECTED),
        "ExclusiveParam.TransitRouterIdAndVpcId": (400, REJECTED),
        "OperationFailed.CdtNotOpened": (400, DEAD),
        "OperationFailed.CdtCrossBoarderNotOpened": (400, DEAD),
        "OperationFailed.CrossBorderNotAllowed": (400, DEAD),
        "Conflict.ASNOfVBR": (400, DEAD),
    },
    ("ecr", "AttachExpressConnectRouterChildInstance"): {
        **LINKING,
        **CHILD,
        "IncorrectStatus.EcrAssociation": (400, LATER),
        "OperationDenied.NotGrantedByNodeOwner": (400, LATER),
        "OperationDenied.EcrAttachmentExisted": (400, DEAD),
        "OperationDenied.VbrDoesNotSupportMpbgp": (400, DEAD),
        "Conflict.ASNOfVBR": (400, DEAD),
    },
    ("ecr", "ModifyExpressConnectRouterAssociationAllowedPrefix"): {
        **COMMON,
        "IncorrectStatus.EcrAssociation": (400, LATER),
        "IllegalParamFormat.AllowedPrefixes": (400, REJECTED),
        "IllegalParamSize.AllowedPrefixes": (400, REJECTED),
        "Throttling.User": (400, LATER),
    },
    ("ecr", "DeleteExpressConnectRouterAssociation"): {
        **UNLINKING,
        "OperationFailed.UsedInRouteEntryNextHop": (400, DEAD),
    },
    ("ecr", "DetachExpressConnectRouterChildInstance"): {
        **UNLINKING,
        **CHILD,
        "ResourceNotFound.ChildInstanceId": (404, LOOK),
    },
    ("ecr", "RevokeInstanceFromExpressConnectRouter"): {
        **COMMON,
        "OperationFailed.CallingVpcYaochi": (400, LOOK),
        "EcGrantRelation.NotExist": (404, LOOK),
    },
}
CASES = [(operation, code) for (_, operation), codes in CODES.items() for code in codes]
DELETE, DETACH, REVOKE = BACK = (
    "DeleteExpressConnectRouterAssociation",
    "DetachExpressConnectRouterChildInstance",
    "RevokeInstanceFromExpressConnectRouter",
)
CHANGE = "ModifyExpressConnectRouterAssociationAllowedPrefix"
ON_VBRS = (
    "DescribeVirtualBorderRouters",
    "DescribeGrantRulesToEcr",
    "DescribeExpressConnectRouterChildInstance",
    "AttachExpressConnectRouterChildInstance",
    DETACH,
)
NO_SUCH_VPC = ("InvalidVpcId.NotFound", "InvalidVpcID.NotFound", "Forbidden.VpcNotFound")


@dataclass
class Met:
    """One code, met by one request."""

    service: str
    operation: str
    code: str
    status: int
    after: str
    spoke: Spoke
    first: Json
    """What opens the grant."""
    document: Json = field(default_factory=dict)
    """The request that meets the code."""
    fault: int = 0

    @property
    def instance(self) -> str:
        """The instance that nobody else asks for."""
        return str(self.first["instance"]["id"])

    @property
    def late(self) -> bool:
        """Whether the grant has to stand before the code can be met."""
        return self.operation in BACK or self.operation == CHANGE


@dataclass
class Meetings:
    """The local cloud with everything that was met in it."""

    cloud: Deployment
    met: dict[tuple[str, str], Met]


def meet(stage: Stage) -> dict[tuple[str, str], Met]:
    """A request for every code; a role is entered only once, so each code of AssumeRole has an account for itself."""
    met = {}
    spokes = iter(stage.new_spoke, None)
    shared: dict[str, Iterator[tuple[Spoke, str]]] = {
        "vpcs": ((spoke, one) for spoke in spokes for one in spoke.vpcs),
        "vbrs": ((spoke, one) for spoke in spokes for one in spoke.vbrs),
    }
    numbers = itertools.count()
    for (service, operation), codes in CODES.items():
        for code, (status, after) in codes.items():
            if service == "sts":
                spoke = stage.new_spoke()
                instance = next(spoke.vpcs)
            else:
                # Revoking is the same call for both kinds of instance.
                vbr = operation in ON_VBRS or (operation == REVOKE and next(numbers) % 2)
                spoke, instance = next(shared["vbrs" if vbr else "vpcs"])
            first = approval(spoke.uid, instance)
            met[operation, code] = Met(service, operation, code, status, after, spoke, first)
    return met


BY_PAGE = ("DescribeVpcGrantRulesToEcr", "DescribeExpressConnectRouterAssociation")
"""What a crowd is looked up with."""


def plan(cloud: Deployment, one: Met) -> None:
    """The trouble, once, on the call about this request."""
    where: Json = {"resource": one.instance}
    if one.service == "sts":
        where = {"resource": f"acs:ram::{one.spoke.uid}:role/*"}
    elif one.operation in (CHANGE, DELETE):
        where = {"resource": cloud.event(one.first, "associated")["association_id"]}
    words = {"status": one.status, "code": one.code, "message": f"Planned {one.code}."}
    one.fault = cloud.admin.plan(kind="error", service=one.service, operation=one.operation, **where, **words)["number"]


@pytest.fixture(scope="module")
def meetings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Meetings]:
    """All requests at once, so that what has to be waited for is waited for together."""
    stage = Stage()
    met = meet(stage)
    folder = tmp_path_factory.mktemp("catalogue")
    # The quotas are another test's business: none on the cloud, and a budget for each second here.
    settings = {"QUOTA_SECONDS": "1"}
    with deployment(stage, folder, template=template(folder, settings=settings), settings=settings) as cloud:
        quotas = cloud.admin.call("GET", "quotas")["quotas"]
        cloud.admin.quota(**dict.fromkeys(quotas))
        early = [one for one in met.values() if not one.late]
        for one in early:
            one.document = one.first
            plan(cloud, one)
        late = [one for one in met.values() if one.late]
        alone = [one for one in early if one.operation in BY_PAGE]
        cloud.send(*[one.first for one in late], *[one.first for one in early if one not in alone])
        for one in late:
            assert cloud.answer(one.first, PATIENT)["event"] == "done"
            if one.operation == CHANGE:
                more = {"request_id": request_id(), "allowed_prefixes": ["10.30.0.0/16"], "approved_at": now(minutes=2)}
                one.document = {**one.first, **more}
            else:
                one.document = revocation(one.first, "all")
            plan(cloud, one)
        cloud.send(*[one.document for one in late])
        for one in met.values():
            if one not in alone:
                cloud.answer(one.document, PATIENT)
        for one in alone:  # what is looked up together names nobody, so nothing is planned for one of them
            cloud.send(one.document)
            cloud.answer(one.document, PATIENT)
        yield Meetings(cloud, met)


def effects(meetings: Meetings, one: Met) -> list[str]:
    """The writes about an instance that took effect, in order."""
    return [entry["operation"] for entry in meetings.cloud.journal(one.first) if entry["effect"]]


@pytest.mark.parametrize(("operation", "code"), CASES, ids=str)
def test_a_code_has_the_outcome_that_the_catalogue_says(meetings: Meetings, operation: str, code: str) -> None:
    """The code was met; what came of it is what the table says, in the catalogue's words in both languages.

    Taking down is never refused, since that would leave it standing: what would be rejected is dead there.
    """
    one = meetings.met[operation, code]
    entry = find(code)
    assert (entry is None) == (code in UNKNOWN)
    if entry is not None:
        assert entry.next == one.after
    [struck] = [fault["struck"] for fault in meetings.cloud.admin.faults() if fault["number"] == one.fault]
    assert struck == 1
    answer = meetings.cloud.answer(one.document)
    expected = "done" if one.after in (LATER, LOOK) else DEAD if operation in BACK else one.after
    assert answer["event"] == expected, answer
    if expected == "done":
        return
    reason = answer["reason"]
    if one.status == 403 or code.startswith("EntityNotExist"):
        assert reason["code"] == ("PermissionMissing" if not code.startswith("Auth") else code)
    if code in NO_SUCH_VPC:
        assert (reason["code"], one.instance in reason["text"]) == ("InstanceNotFound", True)
        return
    assert code in reason["text"]
    assert code in reason["text_zh"]
    if reason["code"] == "PermissionMissing":
        assert one.spoke.uid in reason["text"]
        assert ("may not be assumed" if operation == "AssumeRole" else "permission ") in reason["text"]
        assert "权限" in reason["text_zh"] or "无法扮演" in reason["text_zh"]
        return
    assert reason["code"] == code
    assert ("unknown error" if entry is None else entry.en) in reason["text"]
    assert ("未知错误" if entry is None else entry.zh) in reason["text_zh"]


def test_a_write_whose_end_was_unclear_is_looked_at_before_it_is_made_again(meetings: Meetings) -> None:
    """Between a write that the platform may have executed and the next write there is a read, and a new token."""
    for one in meetings.met.values():
        if one.after != LOOK or one.service != "ecr" or one.code.startswith(("ResourceNotFound", "EcGrant")):
            continue
        calls = [entry for entry in meetings.cloud.journal(one.first) if entry["operation"] in (one.operation, *READS)]
        if one.operation == DELETE:  # deleting names the association
            link = meetings.cloud.event(one.first, "associated")["association_id"]
            numbered = {entry["number"]: entry for entry in calls}
            for entry in meetings.cloud.journal(operation=one.operation):
                if link in entry["params"].values():
                    numbered[entry["number"]] = entry
            calls = [numbered[number] for number in sorted(numbered)]
        whose = {entry["account"] for entry in calls if entry["operation"] == one.operation}
        pages = [entry for name in BY_PAGE for entry in meetings.cloud.journal(operation=name)]
        pages = [
            entry for entry in pages if entry["account"] in whose and not {"VpcId", "InstanceId"} & set(entry["params"])
        ]
        calls = sorted([*calls, *pages], key=lambda entry: int(entry["number"]))
        writes = [place for place, entry in enumerate(calls) if entry["operation"] == one.operation]
        assert len(writes) == 2, one
        assert any(entry["operation"] in READS for entry in calls[writes[0] : writes[1]]), one
        tokens = {calls[place]["params"]["ClientToken"] for place in writes}
        assert len(tokens) == 2, one


READS = (
    "DescribeVpcAttribute",
    "DescribeVpcGrantRulesToEcr",
    "DescribeGrantRulesToEcr",
    "DescribeExpressConnectRouterAssociation",
    "DescribeExpressConnectRouterChildInstance",
)


def test_every_write_is_made_once(meetings: Meetings) -> None:
    """Whatever was met on the way: what is done was granted once, associated once, and taken away once."""
    for one in meetings.met.values():
        if meetings.cloud.answer(one.document)["event"] == "done":
            made = effects(meetings, one)
            assert len(made) == len(set(made)), (one, made)


def test_what_was_rejected_leaves_nothing_standing(meetings: Meetings) -> None:
    """A refused grant is not granted; one that was refused on account A's side is taken back on account B's.

    At the latest after a tick of the timer.
    """
    meetings.cloud.quiet()
    meetings.cloud.reconcile()
    meetings.cloud.quiet()
    rejected = {
        one.instance
        for one in meetings.met.values()
        if meetings.cloud.answer(one.document)["event"] == "rejected" and not one.late
    }
    world = meetings.cloud.admin.world()
    standing = [one["instance_id"] for kind in ("grants", "associations", "child_instances") for one in world[kind]]
    assert sorted(rejected & set(standing)) == []


def test_the_log_tells_every_code_in_both_languages(meetings: Meetings) -> None:
    """Whoever reads the functions' logs finds the code, the words, who must act and what happens next."""
    lines = [
        line
        for name in ("ecr-grants-grant", "ecr-grants-associate")
        for line in map(str, (each["text"] for each in meetings.cloud.logs(name)))
        if '"error.' in line
    ]
    for one in meetings.met.values():
        about = [line for line in lines if f'"{one.code}"' in line]
        assert about, one
        entry = find(one.code)
        event, words = ("error.unknown", "unknown error") if entry is None else ("error.met", entry.en)
        assert any(f'"event": "{event}"' in line and words in line for line in about), one


def test_unknown_codes_are_counted_and_shown(meetings: Meetings) -> None:
    """After each event the log says which codes the catalogue did not know, and how often they were met."""
    handled = [line["text"] for line in meetings.cloud.logs("ecr-grants-grant") if '"event.handled"' in line["text"]]
    for code in UNKNOWN:
        assert f'"{code}": 1' in handled[-1]


MNS = {
    "AccessDenied": (403, DEAD),
    "InvalidAccessKeyId": (403, DEAD),
    "SignatureDoesNotMatch": (403, DEAD),
    "InvalidAuthorizationHeader": (400, DEAD),
    "MissingAuthorizationHeader": (400, DEAD),
    "QueueNotExist": (404, DEAD),
    "TopicNotExist": (404, DEAD),
    "InvalidQueueName": (400, DEAD),
    "TopicNameInvalid": (400, DEAD),
    "InvalidRequestURL": (400, DEAD),
    "TimeExpired": (408, LATER),
    "InvalidDateHeader": (400, LATER),
    "InvalidDegist": (400, LATER),
    "TooManyRequests": (429, LATER),
    "QpsLimitExceeded": (400, LATER),
    "InternalError": (500, LOOK),
    "InternalServerError": (500, LOOK),
    "InvalidArgument": (400, REJECTED),
    "MalformedXML": (400, REJECTED),
    "InvalidQueryString": (400, REJECTED),
    "MissingVersionHeader": (400, REJECTED),
}


@pytest.fixture(scope="module")
def queues(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A local cloud with nothing deployed: only its queues and its topic are used."""
    with deployment(Stage(), tmp_path_factory.mktemp("queues"), template=None) as cloud:
        yield cloud


@pytest.mark.parametrize("operation", ["PublishMessage", "SendMessage"])
def test_queues_and_topics_are_told_by_the_same_catalogue(queues: Deployment, operation: str) -> None:
    """A completion or a wake that could not be sent says the code and the catalogue's words; nothing is sent twice."""
    keys = Keys(TESTER.id, TESTER.secret, "")
    messaging = Messaging(queues.url, lambda: keys)

    def send() -> Any:
        if operation == "PublishMessage":
            return messaging.publish("ecr-completions", "{}", "granted")
        return messaging.send("ecr-answers-dead", "{}")

    for code, (status, after) in MNS.items():
        words = {"status": status, "code": code, "message": f"Planned {code}."}
        before = len(queues.journal(operation=operation))
        queues.admin.plan(kind="error", service="mns", operation=operation, account=HUB, **words)
        with pytest.raises(GrantError) as caught:
            send()
        entry = find(code)
        assert entry is not None
        assert (caught.value.code, entry.next) == (code, after)
        assert entry.en in str(caught.value)
        assert entry.zh in caught.value.text_zh
        assert send()
        assert len(queues.journal(operation=operation)) == before + 2
