"""The codes of seals: why an approval is not believed. A table of data, part of the catalogue."""

from __future__ import annotations

from shared.errors import BadInput, SealRefused
from shared.messages.codes import OPERATOR, REQUESTER, Entry, Section

SEALS = Section(
    "Seals",
    (
        Entry("Unsealed", BadInput, REQUESTER, "the approval has no seal of its issuer", "审批未经签发系统签章"),
        Entry("SealUnreadable", BadInput, REQUESTER, "the seal is not well formed", "签章格式错误"),
        Entry(
            "SealForged",
            SealRefused,
            OPERATOR,
            "the seal is not that of the key it names, or the approval was altered: find out who sent it",
            "签章与所示密钥不符或审批内容被篡改，请查明发送方",
        ),
        Entry(
            "UnknownKey",
            SealRefused,
            OPERATOR,
            "the key belongs to no issuer that is listed",
            "密钥不属于任何已登记的签发系统",
        ),
        Entry(
            "WrongIssuer",
            SealRefused,
            OPERATOR,
            "a system sealed an approval in another's name: find out why",
            "签发系统冒用其他系统名义，请查明原因",
        ),
        Entry(
            "WrongAudience",
            SealRefused,
            REQUESTER,
            "the approval was sealed for another deployment",
            "审批是为其他部署签章的",
        ),
        Entry(
            "KeyRetired",
            SealRefused,
            REQUESTER,
            "the key is retired and opens no lease",
            "密钥已停用，不能用于新的授权",
        ),
        Entry(
            "KeyCompromised",
            SealRefused,
            REQUESTER,
            "the key is compromised: nothing that it sealed is believed",
            "密钥已泄露，其签章一律不予采信",
        ),
        Entry(
            "SealTooOld",
            SealRefused,
            REQUESTER,
            "the approval was sealed more than 7 days ago: have it sealed again",
            "签章已超过 7 天，请重新签章",
        ),
        Entry(
            "SealFromTheFuture",
            SealRefused,
            REQUESTER,
            "the approval says that it was sealed later than it is now",
            "签章时间晚于当前时间",
        ),
    ),
)
