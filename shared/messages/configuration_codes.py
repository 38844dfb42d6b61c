"""The codes of a configuration that is not admitted. A table of data, part of the catalogue."""

from __future__ import annotations

from shared.errors import BadInput
from shared.messages.codes import OPERATOR, Entry, Section

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
            BadInput,
            OPERATOR,
            "a version of the configuration does not follow on the one that stands",
            "配置版本不是当前版本的后继",
        ),
    ),
)
