"""KMS 2016-01-20, of which one thing: GetSecretValue of a generic secret (deploy.md section 4.1).

A secret has a value that counts and, once it was changed, the one before. What else the operation can do is refused by name:
older versions, secrets of other accounts, dry runs, extended configurations.
"""

from localcloud.call import Call, Caller
from localcloud.clock import iso
from localcloud.kernel import Cloud
from localcloud.operations import Product, Reply, Work
from localcloud.params import Params
from localcloud.refusal import Refusal, not_emulated

_NAME = r"[A-Za-z0-9/_+=.@:-]{1,192}"
_STAGES = ("ACSCurrent", "ACSPrevious")


def get_secret_value(cloud: Cloud, caller: Caller, params: Params) -> Work:
    """The value of a secret of the caller's own account."""
    name = params.required("SecretName", _NAME)
    if name.startswith("acs:"):
        raise not_emulated("SecretName as an ARN (a secret of another account)")
    stage = params.text("VersionStage") or _STAGES[0]
    if stage not in _STAGES:
        raise not_emulated(f"VersionStage {stage}")
    if params.text("VersionId"):
        raise not_emulated("VersionId")
    for flag in ("FetchExtendedConfig", "DryRun"):
        if params.flag(flag):
            raise not_emulated(flag)

    def look(call: Call) -> Reply:  # noqa: ARG001
        secret = cloud.world.secrets.get((caller.account, name))
        version = None if secret is None else secret.version(stage)
        if secret is None or version is None:
            raise Refusal(404, "Forbidden.ResourceNotFound", "Resource not found.")
        return {
            "SecretName": name,
            "SecretType": "Generic",
            "SecretDataType": "text",
            "SecretData": version.value,
            "VersionId": version.name,
            "VersionStages": {"VersionStage": [stage]},
            "CreateTime": iso(secret.created),
            "AutomaticRotation": "Disabled",
        }

    resource = f"acs:kms:{cloud.world.region}:{caller.account}:secret/{name}"
    return Work([("kms:GetSecretValue", resource)], look=look)


PRODUCT = Product(
    "kms", "Kms", "2016-01-20", frozenset({"GET", "POST"}), operations={"GetSecretValue": get_secret_value}
)
