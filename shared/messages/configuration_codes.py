"""The codes of a configuration that is not admitted, and of what waits for one. A table of data, part of the catalogue."""

from __future__ import annotations

from shared.errors import BadInput, NotTheSuccessor, ProofBroken, Superseded, Unconfigured
from shared.messages.codes import NOBODY, OPERATOR, Entry, Section

CONFIGURATION = Section(
    "Configuration",
    (
        Entry(
            "ConfigurationUnreadable",
            BadInput,
            OPERATOR,
            "a version of the configuration cannot be read, or a signature of it is not good",
            "配置版本无法读取，或其签名无效",
        ),
        Entry(
            "QuorumMissing",
            BadInput,
            OPERATOR,
            "fewer keys have signed a version of the configuration than must",
            "配置版本的签名数量不足",
        ),
        Entry(
            "NotTheSuccessor",
            NotTheSuccessor,
            OPERATOR,
            "a version of the configuration does not follow on the one that stands",
            "配置版本不是当前版本的后继",
        ),
        Entry(
            "Superseded",
            Superseded,
            NOBODY,
            "another version of the configuration was applied meanwhile: it is decided again under that one",
            "期间应用了新的配置版本，将按新版本重新判定",
        ),
        Entry(
            "Unconfigured",
            Unconfigured,
            OPERATOR,
            "no configuration was applied yet, or the newest cannot be verified: nothing is granted until one can",
            "尚未应用配置，或最新配置无法验证，在此之前不作任何授权",
        ),
        Entry(
            "ProofBroken",
            ProofBroken,
            OPERATOR,
            "a lease is not what its issuer sealed, or its key is compromised: nothing is made for it",
            "租约与签发方签章的内容不符，或其密钥已泄露，不为其执行任何操作",
        ),
    ),
)
