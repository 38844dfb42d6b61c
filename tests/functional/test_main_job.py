"""The main job over the wire: one approval on the queue becomes an ACTIVE association, once."""

from __future__ import annotations

import json

from tests.functional.deployment import Deployment, approval
from tests.functional.world import HUB, HUB_ECR, Spoke


def test_an_approval_becomes_an_active_association(deployed: Deployment, spoke: Spoke) -> None:
    """Both accounts see the result with their own SDKs, and the answer says what was done."""
    document = approval(spoke.uid, next(spoke.vpcs), allowed_prefixes=["10.20.0.0/16", "10.8.0.0/16"])

    answer = deployed.settled(document)

    assert (answer["event"], answer["reason"]["text"]) == ("done", "granted and associated")
    assert deployed.granted(document, spoke) == [(HUB_ECR, HUB)]
    assert deployed.associated(document) == [("ACTIVE", ("10.20.0.0/16", "10.8.0.0/16"))]
    deployed.quiet()
    assert deployed.kinds(document) == ["admitted", "granted", "associated", "done"]
    print(json.dumps(deployed.about(document), indent=1))
