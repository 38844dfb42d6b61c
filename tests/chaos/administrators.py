"""What administrators of the accounts do by themselves, unasked: nothing of it comes from an approval."""

from __future__ import annotations

from typing import Any

from tests.chaos.house import House
from tests.functional.mailbox import config
from tests.functional.waiting import until
from tests.functional.world import REGION, Hub, Spoke

Json = dict[str, Any]


class Administrators:
    """The administrators of accounts A and B at one instance, acting with the official SDK."""

    def __init__(self, made: House, hub: Hub, spoke: Spoke, instance: str) -> None:
        from alibabacloud_expressconnectrouter20230901 import models  # noqa: PLC0415  # takes a second to import
        from alibabacloud_expressconnectrouter20230901.client import Client  # noqa: PLC0415

        self._models = models
        self._made = made
        self._hub, self._spoke, self._instance = hub, spoke, instance
        self._kind = instance.partition("-")[0].upper()
        self.a = Client(config(made.address, hub.admin))
        self.b = Client(config(made.address, spoke.admin))

    def _granted(self) -> Json:
        return {
            "ecr_id": self._hub.ecr_id,
            "ecr_owner_ali_uid": int(self._hub.uid),
            "instance_id": self._instance,
            "instance_type": self._kind,
            "instance_region_id": REGION,
        }

    def grant(self) -> str:
        """Grant the instance to the router; the grant's id."""
        request = self._models.GrantInstanceToExpressConnectRouterRequest(**self._granted())
        self.b.grant_instance_to_express_connect_router(request)
        return next(
            str(one["grant_id"]) for one in self._made.world()["grants"] if one["instance_id"] == self._instance
        )

    def revoke(self) -> None:
        """Take the grant back."""
        request = self._models.RevokeInstanceFromExpressConnectRouterRequest(**self._granted())
        self.b.revoke_instance_from_express_connect_router(request)

    def associate(self, *prefixes: str) -> str:
        """Associate a VPC, or attach a VBR; the association's id."""
        if self._kind == "VPC":
            self.a.create_express_connect_router_association(
                self._models.CreateExpressConnectRouterAssociationRequest(
                    ecr_id=self._hub.ecr_id,
                    association_region_id=REGION,
                    vpc_id=self._instance,
                    vpc_owner_id=int(self._spoke.uid),
                    allowed_prefixes=list(prefixes) or ["192.168.0.0/24"],
                )
            )
        else:
            self.a.attach_express_connect_router_child_instance(
                self._models.AttachExpressConnectRouterChildInstanceRequest(
                    ecr_id=self._hub.ecr_id,
                    child_instance_id=self._instance,
                    child_instance_type="VBR",
                    child_instance_region_id=REGION,
                    child_instance_owner_id=int(self._spoke.uid),
                )
            )

        def active() -> Json | None:
            found = self.association()
            return found if found["status"] == "ACTIVE" else None

        return str(until(active, f"{self._instance} is associated")["association_id"])

    def association(self) -> Json:
        """The association or attachment as the world has it; its status is empty when there is none."""
        world = self._made.world()
        for one in (*world["associations"], *world["child_instances"]):
            if one["instance_id"] == self._instance:
                return dict(one)
        return {"status": ""}

    def dissociate(self) -> None:
        """Let go of the association or attachment, and wait until it is gone."""
        there = self.association()
        if self._kind == "VPC":
            self.a.delete_express_connect_router_association(
                self._models.DeleteExpressConnectRouterAssociationRequest(
                    ecr_id=self._hub.ecr_id, association_id=there["association_id"]
                )
            )
        else:
            self.a.detach_express_connect_router_child_instance(
                self._models.DetachExpressConnectRouterChildInstanceRequest(
                    ecr_id=self._hub.ecr_id, child_instance_id=self._instance, child_instance_type="VBR"
                )
            )
        until(lambda: not self.association()["status"], f"{self._instance} is no longer associated")

    def delete_router(self) -> None:
        """Delete the router, with nothing associated any more."""
        request = self._models.DeleteExpressConnectRouterRequest(ecr_id=self._hub.ecr_id)
        self.a.delete_express_connect_router(request)

    def change(self, *prefixes: str) -> None:
        """Allow other prefixes on the association."""
        self.a.modify_express_connect_router_association_allowed_prefix(
            self._models.ModifyExpressConnectRouterAssociationAllowedPrefixRequest(
                ecr_id=self._hub.ecr_id,
                association_id=self.association()["association_id"],
                allowed_prefixes=list(prefixes),
            )
        )
