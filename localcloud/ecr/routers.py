"""The ECR itself, made and deleted by its owner (openapi-ecr-vpc-sts.md section 1.4)."""

from localcloud.call import Call, Caller
from localcloud.clock import iso
from localcloud.ecr.common import ECR_ID, MOST_RESULTS, changeable, on_ecr, refuse, refuse_grouping
from localcloud.kernel import Cloud
from localcloud.network import Ecr
from localcloud.operations import Change, Reply, Work, token_page
from localcloud.params import Params
from localcloud.refusal import not_emulated

DEFAULT_ASN, RESERVED_ASN = 45104, 65025


def create_ecr(cloud: Cloud, caller: Caller, params: Params) -> Work:
    """A new ECR in the caller's account, active at once (section 1.4)."""
    asn = int(params.required("AlibabaSideAsn", r"[0-9]{1,10}"))
    if not (asn == DEFAULT_ASN or 64512 <= asn <= 65534 or 4200000000 <= asn <= 4294967294) or asn == RESERVED_ASN:
        raise refuse("IllegalParam.AlibabaSideAsn", "The entered Bgp Asn is incorrect.")
    name = params.text("Name", longest=128)
    description = params.text("Description", longest=256)
    tags = tuple(params.tags("Tag"))
    refuse_grouping(params)

    def check(call: Call) -> Change:
        most = cloud.network.limits.ecrs_per_account
        mine = [ecr for ecr in cloud.network.ecrs.values() if ecr.owner == caller.account and ecr.status(call.now)]
        if most is not None and len(mine) >= most:
            raise refuse("QuotaExceeded.EcrCountPerUser", "ECR Quota Exceeded.")

        def change() -> Reply:
            call.effect = True
            return {"EcrId": cloud.network.create_ecr(caller.account, asn, name, description, tags, call.now).ecr_id}

        return change

    return Work(on_ecr("CreateExpressConnectRouter", caller, "*"), check=check)


def describe_ecr(cloud: Cloud, caller: Caller, params: Params) -> Work:
    """The caller's ECRs; an unknown id is an empty list (section 1.4)."""
    ecr_id = params.text("EcrId", ECR_ID)
    name = params.text("Name")
    tags = params.tags("Tag") + params.tags("TagModels", "TagKey", "TagValue")
    refuse_grouping(params)
    page = token_page(params, "DescribeExpressConnectRouter", 20, MOST_RESULTS)

    def look(call: Call) -> Reply:

        def matches(ecr: Ecr) -> bool:
            return (
                (not ecr_id or ecr.ecr_id == ecr_id) and (not name or ecr.name == name) and set(tags) <= set(ecr.tags)
            )

        shelf = cloud.network.ecrs_of(caller.account, call)
        wanted = matches if ecr_id or name or tags else None
        shown, token, total = page.cut(params, shelf, lambda ecr: (ecr.created, ecr.ecr_id), wanted)
        return {
            "EcrList": [_ecr(ecr, call.seen) for ecr in shown],
            "TotalCount": total,
            "MaxResults": page.size,
            "NextToken": token,
        }

    return Work(on_ecr("DescribeExpressConnectRouter", caller, ecr_id or "*"), look=look)


def _ecr(ecr: Ecr, when: float) -> Reply:
    return {
        "EcrId": ecr.ecr_id,
        "OwnerId": int(ecr.owner),
        "Name": ecr.name,
        "Description": ecr.description,
        "AlibabaSideAsn": ecr.asn,
        "Status": ecr.status(when),
        "BizStatus": ecr.biz_status,
        "ResourceGroupId": "rg-default",
        "GmtCreate": iso(ecr.created),
        "GmtModified": iso(ecr.created),
        "Tags": [{"TagKey": key, "TagValue": value} for key, value in ecr.tags],
    }


def delete_ecr(cloud: Cloud, caller: Caller, params: Params) -> Work:
    """The end of an ECR with nothing associated (section 1.4)."""
    ecr_id = params.required("EcrId", ECR_ID)
    network = cloud.network

    def check(call: Call) -> Change:
        ecr = changeable(cloud, caller, ecr_id, call)
        if any(True for _ in network.links(call.now, ecr_id=ecr_id)):
            raise refuse("ResourceInUse.Ecr", "The express connect router is currently in use.")
        outstanding = [grant.key for grant in network.grants_of(ecr_id, call)]
        if outstanding and cloud.switches.delete_ecr_while_granted == "in_use":
            raise refuse("ResourceInUse.Ecr", "The express connect router is currently in use.")

        def change() -> Reply:
            call.effect = True
            for key in outstanding:
                network.end_grant(key, call)
            network.delete_ecr(ecr, call.now)
            return {}

        return change

    return Work(on_ecr("DeleteExpressConnectRouter", caller, ecr_id), check=check)


def list_supported_regions(cloud: Cloud, caller: Caller, params: Params) -> Work:
    """Where instances of a type can be reached (section 6)."""
    node_type = params.required("NodeType")
    if node_type == "TR":
        raise not_emulated("NodeType TR")
    if node_type not in {"VPC", "VBR"}:
        raise params.illegal("NodeType")

    def look(call: Call) -> Reply:  # noqa: ARG001
        return {"SupportedRegionIdList": sorted(cloud.network.ecr_regions)}

    return Work(on_ecr("ListExpressConnectRouterSupportedRegion", caller, "*"), look=look)
