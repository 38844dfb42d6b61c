"""The codes of the desk: why a call, a request or a decision is not taken. A table of data, part of the catalogue."""

from __future__ import annotations

from shared.errors import BadInput, CloudUnreachable, NotAllowed, Throttled
from shared.messages.codes import NOBODY, OPERATOR, OWNER_B, REQUESTER, Entry, Section

DESK_CODES = Section(
    "The desk",
    (
        Entry("NotSignedIn", NotAllowed, REQUESTER, "nobody knows who is calling: sign in", "尚未登录，请先登录"),
        Entry(
            "UnknownPerson",
            NotAllowed,
            OPERATOR,
            "people.yaml lists nobody with the name that somebody signed in by",
            "people.yaml 中没有该登录身份对应的人员",
        ),
        Entry(
            "PeopleDecide",
            NotAllowed,
            REQUESTER,
            "a system asks for people and decides for nobody",
            "系统只能代人提出申请，不能代人审批",
        ),
        Entry(
            "CrossSite",
            NotAllowed,
            OPERATOR,
            "a browser was made to call from another site: nothing was recorded",
            "浏览器请求来自其他站点，未作任何记录",
        ),
        Entry(
            "CallRefused",
            BadInput,
            REQUESTER,
            "the call cannot be read, is too large or too slow",
            "请求无法读取、过大或过慢",
        ),
        Entry(
            "NoSuchRequest",
            BadInput,
            REQUESTER,
            "there is no such request, or whoever asks may not see it",
            "申请不存在或无权查看",
        ),
        Entry(
            "NoSuchGrant",
            BadInput,
            REQUESTER,
            "there is no such grant, or whoever asks may not see it",
            "授权不存在或无权查看",
        ),
        Entry(
            "NoSuchTarget",
            BadInput,
            REQUESTER,
            "there is no such router, account or operation, or whoever asks may not see it",
            "路由器、账号或操作不存在，或无权查看",
        ),
        Entry(
            "WordTooOld",
            NotAllowed,
            OPERATOR,
            "an operator's word waited longer than an hour: say it again if it is still meant",
            "操作指令等待超过一小时，如仍需要请重新下达",
        ),
        Entry("RequestEnded", NotAllowed, REQUESTER, "the request has ended: the text says how", "申请已结束"),
        Entry(
            "NotLookedYet",
            NotAllowed,
            OWNER_B,
            "preflight has not looked yet: decide once it has",
            "预检尚未完成，请稍后再审批",
        ),
        Entry(
            "SnapshotChanged",
            NotAllowed,
            OWNER_B,
            "something else is to be decided about by now than was shown: look again",
            "审批内容已变化，请重新查看后再审批",
        ),
        Entry(
            "NobodyCanDecide",
            NotAllowed,
            OPERATOR,
            "nobody could agree to it: the text says who would have to exist",
            "没有人可以审批该申请，请按提示补充人员",
        ),
        Entry(
            "EmergencyOpen",
            NotAllowed,
            REQUESTER,
            "an emergency is open on that grant, or waits for its review",
            "该授权上已有未结束或待复核的紧急申请",
        ),
        Entry("NoReview", NotAllowed, REQUESTER, "it waits for no review", "该申请无需复核"),
        Entry(
            "NotTheReviewer",
            NotAllowed,
            REQUESTER,
            "an emergency is reviewed by an owner of either side who neither asked for it nor agreed",
            "紧急申请须由未参与申请和审批的任一方负责人复核",
        ),
        Entry(
            "WorldChanged",
            NotAllowed,
            REQUESTER,
            "the instance is not what was decided about any more: the text says what changed; ask again",
            "实例已与审批时不同，申请失效，请重新申请",
        ),
        Entry(
            "NameUsedAgain",
            NotAllowed,
            REQUESTER,
            "something else was asked before under the same key",
            "同一幂等键已用于其他申请",
        ),
        Entry(
            "NotAsShown",
            NotAllowed,
            REQUESTER,
            "the request does not stand any more as `If-Match` says: look again",
            "申请状态已变化，请重新查看",
        ),
        Entry(
            "TooManyCalls", Throttled, NOBODY, "too many calls in this minute: wait for the next", "本分钟内请求过多"
        ),
        Entry(
            "ProviderAway",
            CloudUnreachable,
            OPERATOR,
            "the provider of sign-ins gave no usable answer; who signed in before is not affected",
            "登录服务无可用响应，已登录的用户不受影响",
        ),
    ),
)
