"""The environment, read once per cold start, as a type. A stand-in cloud is an address, not a mode."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.errors import SettingsError


def _address(value: str) -> str:
    """``https://host``, ``http://host:port`` or a bare host, which means https."""
    scheme, separator, rest = value.partition("://")
    if not separator:
        scheme, rest = "https", value
    if scheme not in ("http", "https") or not rest or "/" in rest.rstrip("/"):
        raise ValueError("must be an address such as https://host or http://host:port, without a path")
    return f"{scheme}://{rest.rstrip('/')}"


Address = Annotated[str, AfterValidator(_address)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,119}$")]


class Settings(BaseSettings):
    """Everything the environment decides. Addresses may hold ``{region}`` and ``{uid}``, filled in at the call."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    region: str = Field(validation_alias="FC_REGION", pattern=r"^[a-z]{2}-[a-z0-9-]+$")
    ledger_url: str = Field(validation_alias="LEDGER_URL", min_length=1, repr=False)
    accounts_file: Path = Field(default=Path("accounts.yaml"), validation_alias="ACCOUNTS_FILE")
    mns_endpoint: Address = Field(default="https://{uid}.mns.{region}.aliyuncs.com", validation_alias="MNS_ENDPOINT")
    sts_endpoint: Address = Field(default="https://sts.{region}.aliyuncs.com", validation_alias="STS_ENDPOINT")
    vpc_endpoint: Address = Field(default="https://vpc.{region}.aliyuncs.com", validation_alias="VPC_ENDPOINT")
    # One central endpoint serves every region; the SDK's own rule names hosts that no list has (reference: openapi section 5).
    ecr_endpoint: Address = Field(
        default="https://expressconnectrouter.cn-shanghai.aliyuncs.com", validation_alias="ECR_ENDPOINT"
    )
    completions_topic: Name = Field(default="ecr-completions", validation_alias="COMPLETIONS_TOPIC")
    wake_queue: Name = Field(validation_alias="WAKE_QUEUE")
    # A write whose answer was lost may land this much later, and a look may be this much older than it seems.
    settle_seconds: float = Field(default=60, gt=0, le=3600, validation_alias="SETTLE_SECONDS")


def read_settings() -> Settings:
    """Read the environment. Raises SettingsError that lists every missing or bad variable by name."""
    try:
        return Settings()
    except ValidationError as error:
        raise SettingsError("the environment is not usable: " + _faults(error)) from None


def _faults(error: ValidationError) -> str:
    """Each variable and its fault, without the value of one that may carry a password."""
    found = []
    for fault in error.errors():
        name = str(fault["loc"][0])
        if fault["type"] == "missing":
            found.append(f"{name} is missing")
        elif name == "LEDGER_URL":
            found.append(f"{name} is not usable ({fault['msg']})")
        else:
            found.append(f"{name}={fault['input']!r} ({fault['msg']})")
    return "; ".join(sorted(found))
