"""The codes that the vendor documents for the calls we make, and our own. A table of data.

Those of queues and topics stand in ``queue_codes``, the codes of reasons that are no errors in ``reasons``.
Sources: Express Connect Router, VPC and STS API metadata, gateway error list.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.errors import (
    BadInput,
    CloudTrouble,
    CloudUnreachable,
    GoneAlready,
    GrantError,
    InstanceNotFound,
    Locked,
    NeedsSomebody,
    NotAllowed,
    PermanentError,
    PermissionMissing,
    TemporaryError,
    Throttled,
)

NOBODY, REQUESTER, OWNER_A, OWNER_B, OPERATOR, VENDOR = (
    "nobody",
    "requester",
    "account A",
    "account B",
    "operator",
    "vendor",
)


@dataclass(frozen=True)
class Entry:
    """One code, or a family where it ends in ``*``. ``kind`` decides what happens next."""

    code: str
    kind: type[GrantError]
    who: str
    en: str
    zh: str

    @property
    def may_pass(self) -> bool:
        """Whether time alone may change the answer."""
        return issubclass(self.kind, TemporaryError)

    @property
    def next(self) -> str:
        """What happens next: rejected, dead, later, or look again."""
        return what_next(self.kind)


def what_next(kind: type[GrantError]) -> str:
    """What happens after an error of a kind: rejected, dead, later, or look again."""
    if issubclass(kind, PermanentError):
        return "rejected"
    if issubclass(kind, NeedsSomebody):
        return "dead"
    return "look again" if issubclass(kind, CloudTrouble | CloudUnreachable | GoneAlready) else "later"


@dataclass(frozen=True)
class Section:
    """Codes that come from one place."""

    title: str
    entries: tuple[Entry, ...]


SECTIONS: tuple[Section, ...] = (
    Section(
        "Express Connect Router",
        (
            Entry(
                "Conflict.Lock",
                Locked,
                NOBODY,
                "another operation on this router is unfinished",
                "该专线网关有其他操作尚未完成",
            ),
            Entry(
                "IncorrectStatus.Ecr", Locked, NOBODY, "the router is busy changing its state", "专线网关正在变更状态"
            ),
            Entry(
                "IncorrectStatus.EcrAssociation",
                Locked,
                NOBODY,
                "the association is busy changing its state",
                "关联正在变更状态",
            ),
            Entry(
                "OperationDenied.VbrHasRouteEntryInMiddleStatus",
                Locked,
                NOBODY,
                "a route of the VBR is changing its state",
                "VBR 的路由条目正在变更状态",
            ),
            Entry(
                "OperationDenied.VbrHasBgpGroupInMiddleStatus",
                Locked,
                NOBODY,
                "a BGP group of the VBR is changing its state",
                "VBR 的 BGP 组正在变更状态",
            ),
            Entry(
                "OperationFailed.CallingVpcYaochi",
                CloudTrouble,
                NOBODY,
                "the platform failed inside",
                "平台内部调用失败",
            ),
            Entry(
                "OperationDenied.NotGrantedByNodeOwner",
                TemporaryError,
                NOBODY,
                "the grant of the instance's owner is not visible yet",
                "实例所属账号的授权尚未生效",
            ),
            Entry("ResourceNotFound.EcrId", PermanentError, REQUESTER, "there is no such router", "专线网关不存在"),
            Entry(
                "IllegalParam.EcrOwnerAliUid",
                PermanentError,
                REQUESTER,
                "the router belongs to another account than the request says",
                "专线网关不属于请求中填写的账号",
            ),
            Entry(
                "ResourceNotFound.AssociationId", GoneAlready, NOBODY, "the association is gone already", "关联已不存在"
            ),
            Entry(
                "ResourceNotFound.ChildInstanceId",
                GoneAlready,
                NOBODY,
                "the attachment is gone already",
                "连接已不存在",
            ),
            Entry("EcGrantRelation.NotExist", GoneAlready, NOBODY, "the grant is gone already", "授权已不存在"),
            Entry(
                "OperationDenied.CrossBidAssociating",
                NeedsSomebody,
                VENDOR,
                "the accounts belong to different enterprises; ask your account manager to admit it",
                "两个账号属于不同企业实体，请联系客户经理开通",
            ),
            Entry(
                "OperationFailed.UserNotInWhiteList",
                NeedsSomebody,
                VENDOR,
                "the account is not admitted to this feature; ask your account manager",
                "账号未开通该功能，请联系客户经理",
            ),
            Entry(
                "OperationFailed.RejectedBy*",
                NeedsSomebody,
                VENDOR,
                "a downstream system of the platform refused; ask your account manager or support",
                "平台下游系统拒绝了操作，请联系客户经理或技术支持",
            ),
            Entry(
                "OperationFailed.CdtNotOpened",
                NeedsSomebody,
                OWNER_A,
                "the data transfer service (CDT) is not opened",
                "未开通云数据传输服务（CDT）",
            ),
            Entry(
                "OperationFailed.CdtCrossBoarderNotOpened",
                NeedsSomebody,
                OWNER_A,
                "cross-border data transfer is not opened",
                "未开通跨境云数据传输服务",
            ),
            Entry(
                "OperationFailed.CrossBorderNotAllowed",
                NeedsSomebody,
                OWNER_A,
                "the account is not qualified for cross-border connections",
                "账号不具备跨境连接资质",
            ),
            Entry(
                "OperationFailed.UsedInRouteEntryNextHop",
                NeedsSomebody,
                OWNER_B,
                "a static route of the VPC still points at the router",
                "VPC 的静态路由仍指向该专线网关",
            ),
            Entry(
                "OperationDenied.VbrDoesNotSupportMpbgp",
                NeedsSomebody,
                OWNER_B,
                "the VBR does not support MP-BGP",
                "VBR 不支持 MP-BGP",
            ),
            Entry(
                "OperationDenied.EcrAttachmentExisted",
                NeedsSomebody,
                OWNER_A,
                "the router and a transit router are still attached",
                "专线网关与转发路由器仍有连接",
            ),
            Entry(
                "OperationDenied.CrossAccountDisassociating",
                NeedsSomebody,
                OWNER_A,
                "the platform refuses to dissociate across accounts here",
                "平台不允许跨账号解除关联",
            ),
            Entry(
                "OperationDenied.CrossAccountAttaching",
                NeedsSomebody,
                OWNER_A,
                "a transit router can be bound only by its own account",
                "转发路由器只能由其所属账号绑定",
            ),
            Entry(
                "OperationDenied.AttachmentInCurrentRegionExisted",
                NeedsSomebody,
                OWNER_A,
                "the region already has a transit router on this router",
                "该地域已绑定转发路由器",
            ),
            Entry(
                "OperationDenied.ForceDeleting",
                NeedsSomebody,
                OWNER_A,
                "the router is being deleted",
                "专线网关正在删除",
            ),
            Entry(
                "Conflict.ASNOf*",
                NeedsSomebody,
                OWNER_A,
                "the ASN is used by another router or VBR",
                "ASN 已被其他网关或 VBR 使用",
            ),
            Entry("QuotaExceeded.*", NeedsSomebody, OWNER_A, "a quota of the router is used up", "专线网关配额已用尽"),
            Entry("ResourceInUse.Ecr", NeedsSomebody, OWNER_A, "the router is in use", "专线网关正在使用中"),
            Entry(
                "UnsupportedRegion", PermanentError, REQUESTER, "the region does not offer this", "该地域不支持此功能"
            ),
            Entry(
                "IllegalParamSize.AllowedPrefixes",
                PermanentError,
                REQUESTER,
                "too many allowed prefixes",
                "允许的路由前缀过多",
            ),
            Entry("MissingParam.*", PermanentError, REQUESTER, "a parameter is missing", "缺少参数"),
            Entry("IllegalParamFormat.*", PermanentError, REQUESTER, "a parameter has the wrong form", "参数格式错误"),
            Entry(
                "IllegalParam.*",
                PermanentError,
                REQUESTER,
                "a parameter has a value that is not allowed",
                "参数取值不合法",
            ),
            Entry("ExclusiveParam.*", PermanentError, REQUESTER, "parameters exclude each other", "参数互斥"),
            Entry(
                "ResourceNotFound.*",
                PermanentError,
                REQUESTER,
                "something that the request names does not exist",
                "请求引用的资源不存在",
            ),
            Entry(
                "IdempotentParameterMismatch",
                CloudTrouble,
                OPERATOR,
                "a client token was used with other parameters",
                "幂等令牌对应的参数不一致",
            ),
        ),
    ),
    Section(
        "VPC",
        (
            Entry("InvalidVpcId.NotFound", InstanceNotFound, REQUESTER, "there is no such VPC", "VPC 不存在"),
            Entry("InvalidVpcID.NotFound", InstanceNotFound, REQUESTER, "there is no such VPC", "VPC 不存在"),
            Entry("Forbidden.VpcNotFound", InstanceNotFound, REQUESTER, "there is no such VPC", "VPC 不存在"),
            Entry("IncorrectVpcStatus", Locked, NOBODY, "the VPC is changing its state", "VPC 正在变更状态"),
            Entry("InvalidRegionId.NotFound", PermanentError, REQUESTER, "there is no such region", "地域不存在"),
            Entry(
                "InvalidFilterKey.ValueNotSupported",
                PermanentError,
                OPERATOR,
                "a filter is not supported",
                "不支持的过滤条件",
            ),
            Entry(
                "InvalidVpcIdNumber.NotSupported",
                PermanentError,
                OPERATOR,
                "too many VPC ids in one look-up",
                "单次查询的 VPC 数量过多",
            ),
            Entry("InvalidAccount.NotFound", PermanentError, REQUESTER, "there is no such account", "账号不存在"),
            Entry("InvalidAliuid", PermanentError, REQUESTER, "the account uid is not valid", "账号 UID 无效"),
            Entry("InvalidResourceGroupId*", PermanentError, OPERATOR, "the resource group is not valid", "资源组无效"),
            Entry("InvalidTag*", PermanentError, OPERATOR, "a tag is not valid", "标签无效"),
            Entry("OperationUnsupported.*", PermanentError, OPERATOR, "the operation is not supported", "不支持的操作"),
            Entry(
                "IellgalParameter.OwnerAccount",
                PermanentError,
                OPERATOR,
                "the owner account is not valid",
                "所属账号无效",
            ),
            Entry("DryRunOperation", PermanentError, OPERATOR, "a dry run that passed", "预检通过"),
        ),
    ),
    Section(
        "STS and permissions",
        (
            Entry(
                "NoPermission",
                PermissionMissing,
                OWNER_B,
                "a RAM policy or trust policy does not allow it",
                "RAM 权限策略或信任策略不允许该操作",
            ),
            Entry(
                "Forbidden", PermissionMissing, OWNER_B, "a RAM policy does not allow it", "RAM 权限策略不允许该操作"
            ),
            Entry(
                "Forbidden.*", PermissionMissing, OWNER_B, "a RAM policy does not allow it", "RAM 权限策略不允许该操作"
            ),
            Entry("Forbidden.ResourceNotFound", NeedsSomebody, OPERATOR, "there is no such secret", "没有此凭据"),
            Entry("EntityNotExist.Role", PermissionMissing, OWNER_B, "the role does not exist", "RAM 角色不存在"),
            Entry(
                "InvalidParameter.*",
                NeedsSomebody,
                OPERATOR,
                "the inventory's role or external id has the wrong form",
                "账号清单中的角色或外部 ID 格式错误",
            ),
            Entry(
                "AuthenticationFail.*", NeedsSomebody, OPERATOR, "the credentials are not accepted", "凭证未通过认证"
            ),
        ),
    ),
    Section(
        "Gateway",
        (
            Entry("Throttling*", Throttled, NOBODY, "the quota of calls is used up for the moment", "调用频率超过配额"),
            Entry(
                "Rejected.Throttling",
                Throttled,
                NOBODY,
                "the quota of calls is used up for the moment",
                "调用频率超过配额",
            ),
            Entry(
                "ServiceUnavailable",
                CloudTrouble,
                NOBODY,
                "the service is not available for the moment",
                "服务暂时不可用",
            ),
            Entry("InternalError", CloudTrouble, NOBODY, "the platform failed inside", "平台内部错误"),
            Entry("InvalidSecurityToken.Expired", TemporaryError, NOBODY, "the session expired", "会话令牌已过期"),
            Entry("InvalidSecurityToken.*", NeedsSomebody, OPERATOR, "the session is not accepted", "会话令牌无效"),
            Entry("MissingSecurityToken", NeedsSomebody, OPERATOR, "a session token is missing", "缺少会话令牌"),
            Entry(
                "InvalidAccessKeyId.*",
                NeedsSomebody,
                OPERATOR,
                "the access key is not known or not active",
                "AccessKey 不存在或已禁用",
            ),
            Entry(
                "SignatureDoesNotMatch",
                NeedsSomebody,
                OPERATOR,
                "the signature is wrong: the access key secret does not fit",
                "签名不匹配",
            ),
            Entry("SignatureNonceUsed", TemporaryError, NOBODY, "a nonce came twice", "签名随机数重复"),
            Entry(
                "InvalidTimeStamp.*",
                TemporaryError,
                OPERATOR,
                "the clocks differ by more than 15 minutes",
                "时钟偏差超过 15 分钟",
            ),
            Entry(
                "InvalidApi.NotFound", NeedsSomebody, OPERATOR, "the address does not know this operation", "接口不存在"
            ),
            Entry(
                "InvalidProduct.NotFound",
                NeedsSomebody,
                OPERATOR,
                "the address does not serve this product",
                "产品地址错误",
            ),
            Entry("InvalidProtocol.NeedSsl", NeedsSomebody, OPERATOR, "the address must be https", "必须使用 HTTPS"),
            Entry("InvalidCredentials", NeedsSomebody, OPERATOR, "there are no credentials", "未配置凭证"),
            Entry("Missing*", PermanentError, OPERATOR, "a parameter is missing", "缺少参数"),
        ),
    ),
    Section(
        "Function Compute",
        (
            Entry("ResourceExhausted", Throttled, NOBODY, "the function has no free instance", "函数实例数已达上限"),
            Entry("FunctionNotFound", NeedsSomebody, OPERATOR, "the function is not deployed", "函数不存在"),
            Entry("FunctionFailed", NeedsSomebody, OPERATOR, "the function raised an error", "函数执行出错"),
        ),
    ),
    Section(
        "Our own",
        (
            Entry("BadInput", BadInput, REQUESTER, "the request is not well formed", "请求内容有误"),
            Entry("NotAllowed", NotAllowed, REQUESTER, "nothing here allows the request", "请求未被允许"),
            Entry(
                "NotListed",
                NeedsSomebody,
                OPERATOR,
                "the account or router is no longer listed, so nobody may take down what is up",
                "账号或网关已不在清单中，无法撤销现有授权",
            ),
            Entry(
                "OnAnotherRouter",
                NotAllowed,
                OWNER_B,
                "the instance hangs on another router",
                "实例已关联到其他专线网关",
            ),
            Entry(
                "InstanceNotFound",
                InstanceNotFound,
                REQUESTER,
                "account B has no such instance in that region",
                "账号 B 在该地域没有此实例",
            ),
            Entry("PermissionMissing", PermissionMissing, OWNER_B, "a permission is missing", "缺少权限"),
            Entry(
                "GoneAlready",
                GoneAlready,
                NOBODY,
                "what was to be removed is not there any more",
                "要删除的对象已不存在",
            ),
            Entry("Locked", Locked, NOBODY, "the router or instance is busy", "专线网关或实例正忙"),
            Entry("CloudUnreachable", CloudUnreachable, NOBODY, "the platform gave no usable answer", "平台无有效应答"),
            Entry("CloudTrouble", CloudTrouble, NOBODY, "the platform failed", "平台出错"),
            Entry("Throttled", Throttled, NOBODY, "the quota of calls is used up for the moment", "调用频率超过配额"),
            Entry(
                "Paced",
                Throttled,
                NOBODY,
                "our own budget of calls is used up for the moment",
                "本系统的调用预算暂时用尽",
            ),
            Entry(
                "Unexpected",
                TemporaryError,
                OPERATOR,
                "an error that nobody expected; see the log",
                "未预期的错误，请查看日志",
            ),
            # What an error is called that has no closer name: by what happens next.
            Entry("Rejected", PermanentError, REQUESTER, "the same request gets the same answer", "重复请求结果不变"),
            Entry("NeedsSomebody", NeedsSomebody, OPERATOR, "only a person can change the answer", "需要人工处理"),
            Entry("Temporary", TemporaryError, NOBODY, "the trouble may pass by itself", "问题可能自行恢复"),
            Entry(
                "Error",
                TemporaryError,
                OPERATOR,
                "an error without a closer name; see the log",
                "未分类的错误，请查看日志",
            ),
        ),
    ),
)
