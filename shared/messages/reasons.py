"""The codes of reasons that are no errors: what completions, drift and the operator's lists say beside errors.

A table of data, part of the catalogue: who must act, and what happens next.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.messages.codes import NOBODY, OPERATOR, OWNER_A, OWNER_B, REQUESTER


@dataclass(frozen=True)
class Note:
    """One code. ``next`` in words, since no error class decides it."""

    code: str
    who: str
    en: str
    zh: str
    next: str


NOTES: tuple[Note, ...] = (
    Note("Done", NOBODY, "what was asked for was seen on the cloud", "请求已完成并已确认", "nothing"),
    Note(
        "NothingToDo",
        NOBODY,
        "what an operator said was so already, or there is nothing of the kind",
        "操作员所述已是现状，或不存在可操作的对象",
        "nothing",
    ),
    Note(
        "Closed",
        NOBODY,
        "the request was closed, ended or superseded before it took effect",
        "请求在生效前已关闭、到期或被取代",
        "nothing",
    ),
    Note(
        "SecondDigest",
        REQUESTER,
        "a request id came again with other content: both count, under one name",
        "同一请求编号出现了不同内容，两者均有效",
        "both are kept; ask who sent them",
    ),
    Note(
        "Ended",
        REQUESTER,
        "the approved end came before it was granted and associated, or it was taken down at its end",
        "批准的期限在授权生效前已到，或到期后已撤销",
        "nothing; ask for a new approval",
    ),
    Note(
        "Early",
        NOBODY,
        "dated further ahead than clocks may differ: without effect until then",
        "批准时间晚于当前时间，到期前不生效",
        "it takes effect when its date comes",
    ),
    Note(
        "OthersTurn",
        NOBODY,
        "it waits: it is the other side's turn",
        "等待另一侧处理",
        "the other side's answer wakes it",
    ),
    Note(
        "Held",
        OPERATOR,
        "held: the mode or a hold does not allow it now",
        "已暂停：当前模式或冻结不允许执行",
        "it goes on when the mode or the hold allows it",
    ),
    Note("HoldSet", NOBODY, "somebody put something on hold", "已设置冻结", "nothing is created until it is lifted"),
    Note("HoldLifted", NOBODY, "somebody lifted a hold", "已解除冻结", "what it stopped goes on"),
    Note(
        "Configured",
        NOBODY,
        "a version of the configuration was applied",
        "已应用新的配置版本",
        "it decides from the functions' next event on",
    ),
    Note("Said", NOBODY, "somebody asked, decided or withdrew", "有人提出、审批或撤回了申请", "nothing"),
    Note("Waits", OWNER_B, "a request waits to be decided", "申请等待审批", "it lapses at its time"),
    Note("UnderWay", NOBODY, "the platform is at work on it", "平台正在处理", "looked at again soon"),
    Note("Busy", NOBODY, "the leases keep changing", "租约持续变化", "looked at again soon"),
    Note(
        "LedgerAway",
        OPERATOR,
        "the ledger did not answer, so nothing can be decided",
        "账本数据库无法访问，无法作出决定",
        "tried again; nothing is lost",
    ),
    Note("Redriven", NOBODY, "an operator let dead work be tried again", "运维人员已重新驱动", "tried again now"),
    Note(
        "Adopted",
        NOBODY,
        "an operator took what was there before us as ours",
        "运维人员已将原有对象纳入管理",
        "the end of its leases takes it down",
    ),
    Note(
        "ModeChanged", NOBODY, "an operator said what may act", "运维人员已变更运行模式", "holds from the next visit on"
    ),
    Note(
        "DeadLetter",
        OPERATOR,
        "a message that its queue gave up on: no function could take it",
        "队列已放弃投递的死信消息",
        "lies in the dead-letter queue until somebody redrives it",
    ),
    Note(
        "grant-missing",
        OWNER_B,
        "the grant that had settled is not there any more",
        "原有授权已不存在",
        "mended where DRIFT_REPAIR lists it, else only reported",
    ),
    Note(
        "association-missing",
        OWNER_A,
        "the association that had settled is not there any more",
        "原有关联已不存在",
        "mended where DRIFT_REPAIR lists it, else only reported",
    ),
    Note(
        "prefixes-differ",
        OWNER_A,
        "the allowed prefixes are not those that were approved",
        "允许的网段与审批不一致",
        "mended where DRIFT_REPAIR lists it, else only reported",
    ),
    Note(
        "foreign-grant",
        OPERATOR,
        "a grant is there that we did not make",
        "存在非本系统创建的授权",
        "only reported, unless DRIFT_REPAIR lists it or somebody adopts it",
    ),
    Note(
        "foreign-association",
        OPERATOR,
        "an association is there that we did not make",
        "存在非本系统创建的关联",
        "only reported, unless DRIFT_REPAIR lists it or somebody adopts it",
    ),
    Note(
        "instance-deleted",
        OWNER_B,
        "the instance was deleted while a lease wants it",
        "租约有效期间实例已被删除",
        "only reported; revoke the lease or restore the instance",
    ),
    Note(
        "ecr-owner-changed",
        OPERATOR,
        "the router belongs to another account than before",
        "专线网关所属账号已变更",
        "only reported; correct the inventory",
    ),
)
