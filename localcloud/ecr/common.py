"""What the operations on ECRs share: how parameters are read, how errors are coded, whose ECR it is."""

from localcloud.call import Call, Caller
from localcloud.kernel import Cloud
from localcloud.network import Ecr
from localcloud.operations import BusinessRefusal
from localcloud.params import Params
from localcloud.refusal import Refusal, not_emulated

ECR_ID = r"ecr-[a-z0-9]{6,32}"
REGION = r"[a-z0-9-]{1,64}"
MOST_RESULTS = 2**31 - 1


class EcrParams(Params):
    """The way Express Connect Router refuses parameters (section 1.2)."""

    def missing(self, name: str) -> Refusal:
        return Refusal(400, f"MissingParam.{name}", f"The param of {name} is missing.")

    def malformed(self, name: str) -> Refusal:
        return Refusal(400, f"IllegalParamFormat.{name}", f"The param format of {name} is illegal.")

    def illegal(self, name: str) -> Refusal:
        return Refusal(400, f"IllegalParam.{name}", f"The param of {name} is illegal.")


def refuse(code: str, message: str, status: int = 400) -> BusinessRefusal:
    """A refusal of this product."""
    return BusinessRefusal(status, code, message)


def ecr_not_found() -> BusinessRefusal:
    """There is no such ECR, or it is not the caller's."""
    return refuse("ResourceNotFound.EcrId", "EcrId not found.", 404)


def lock() -> BusinessRefusal:
    """The generic code for a change that cannot be made just now."""
    return refuse("Conflict.Lock", "There are other unfinished operations.")


def calling_failed() -> BusinessRefusal:
    """The generic code for trouble in the product that the instance belongs to."""
    return refuse("OperationFailed.CallingVpcYaochi", "The system is abnormal. Please try again later.")


def _ecr_resource(caller: Caller, ecr_id: str) -> str:
    """The region of an ECR's resource name is empty: the product is global."""
    return f"acs:expressconnectrouter::{caller.account}:expressconnectrouter/{ecr_id}"


def on_ecr(operation: str, caller: Caller, ecr_id: str) -> list[tuple[str, str]]:
    """The permission that an operation on an ECR needs."""
    return [(f"expressconnectrouter:{operation}", _ecr_resource(caller, ecr_id))]


def own_ecr(cloud: Cloud, caller: Caller, ecr_id: str, when: float) -> Ecr:
    """The caller's ECR."""
    ecr = cloud.network.ecr(ecr_id, when)
    if ecr is None or ecr.owner != caller.account:
        raise ecr_not_found()
    return ecr


def changeable(cloud: Cloud, caller: Caller, ecr_id: str, call: Call) -> Ecr:
    """The caller's ECR, when it may be changed: not while another change on it has just begun."""
    ecr = own_ecr(cloud, caller, ecr_id, call.now)
    if call.now < ecr.locked_until:
        raise lock()
    if ecr.status(call.now) != "ACTIVE":
        raise refuse("IncorrectStatus.Ecr", "Ecr Status does not allow current operation.")
    return ecr


def refuse_grouping(params: Params) -> None:
    """Resource groups do not exist here."""
    if params.text("ResourceGroupId"):
        raise not_emulated("the parameter ResourceGroupId")
