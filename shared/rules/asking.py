"""What an approval comes to under a configuration: what plain code refuses, and then the question that policy is asked."""

from __future__ import annotations

from shared.messages.approval import GrantApproval, RevokeApproval
from shared.rules.configuration import Configuration
from shared.rules.questions import Question
from shared.rules.scope import scope
from shared.rules.vouching import vouch


def asked_about(approval: GrantApproval | RevokeApproval, configuration: Configuration, now: int) -> Question:
    """The question about an approval whose issuer is listed. ``now``: epoch milliseconds.

    Raises NotAllowed, naming the field, for what is beyond its issuer's scope or asks for what is not listed.
    """
    rights, inventory = configuration.issuers[approval.issuer], configuration.inventory
    scope(rights, approval)
    inventory.allow(approval)
    return vouch(approval, approval.issuer, rights, inventory, configuration.people, now)
