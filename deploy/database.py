"""A database for those who have none: RDS for PostgreSQL with TLS, reached from the functions' VPC alone.

Not a serverless one: it has no TLS, sleeps after ten minutes and takes up to minutes to wake (RDS help pages, 2026-03).
"""

from __future__ import annotations

from typing import Any

from deploy.expressions import attribute, ref

_NAME = "ecr_grants"


def _parameter(description: str, **more: Any) -> dict[str, Any]:
    return {"Type": "String", "Description": description, **more}


def _password(whose: str) -> dict[str, Any]:
    kinds = "8 to 32 letters, digits and !@#$%^&*()_+-= of three kinds"
    return _parameter(f"{whose}; {kinds}.", NoEcho=True, MinLength=8, MaxLength=32)


def database() -> dict[str, Any]:
    """The instance, its database and its accounts, and a security group for the functions."""
    return {
        "Parameters": {
            "VpcId": _parameter("The VPC that the functions reach the database in."),
            "VSwitchId": _parameter("A vSwitch of it; its zone must be one that runs functions, too."),
            "VSwitchCidr": _parameter("That vSwitch's addresses, such as 10.0.1.0/24: only they reach the database."),
            "ZoneId": _parameter("That vSwitch's zone."),
            "InstanceClass": _parameter("As the console lists it for PostgreSQL in that zone."),
            "EngineVersion": _parameter("As the console lists it, such as 16.0.", AllowedPattern=r"^[1-9][0-9]\.0$"),
            "Password": _password("Of the database account ecr_grants"),
            "DeskPassword": _password("Of the database account ecr_grants_desk, which the desk signs in as"),
        },
        "Resources": _resources(),
        "Outputs": {
            "Host": {"Value": attribute("Instance", "InnerConnectionString")},
            "Port": {"Value": attribute("Instance", "InnerPort")},
            "SecurityGroupId": {"Value": attribute("FunctionsGroup", "SecurityGroupId")},
        },
    }


def _resources() -> dict[str, Any]:
    instance = attribute("Instance", "DBInstanceId")
    return {
        "Instance": {
            "Type": "ALIYUN::RDS::DBInstance",
            "DeletionPolicy": "Retain",  # it holds the record
            "Properties": {
                "Engine": "PostgreSQL",
                "EngineVersion": ref("EngineVersion"),
                "Category": "HighAvailability",
                "PayType": "Postpaid",
                "DBInstanceClass": ref("InstanceClass"),
                "DBInstanceStorage": 20,
                "DBInstanceStorageType": "cloud_essd",
                "VpcId": ref("VpcId"),
                "VSwitchId": ref("VSwitchId"),
                "ZoneId": ref("ZoneId"),
                "SecurityIPList": ref("VSwitchCidr"),
                "SSLSetting": "EnabledForInnerConnection",
                "BackupRetentionPeriod": 30,
                "DeletionProtection": True,
            },
        },
        "Database": {
            "Type": "ALIYUN::RDS::Database",
            "Properties": {"DBInstanceId": instance, "DBName": _NAME, "CharacterSetName": "UTF8"},
        },
        "Account": {
            "Type": "ALIYUN::RDS::Account",
            "Properties": {
                "DBInstanceId": instance,
                "AccountName": _NAME,
                "AccountPassword": ref("Password"),
                "AccountType": "Normal",
            },
        },
        "Privilege": {
            "Type": "ALIYUN::RDS::AccountPrivilege",
            "Properties": {
                "DBInstanceId": instance,
                "AccountName": attribute("Account", "AccountName"),
                "DBName": attribute("Database", "DBName"),
                "AccountPrivilege": "DBOwner",
            },
        },
        # It gets its rights by `ecr-grants ledger desk-role`, which knows the tables.
        "DeskAccount": {
            "Type": "ALIYUN::RDS::Account",
            "Properties": {
                "DBInstanceId": instance,
                "AccountName": f"{_NAME}_desk",
                "AccountPassword": ref("DeskPassword"),
                "AccountType": "Normal",
            },
        },
        "FunctionsGroup": {
            "Type": "ALIYUN::ECS::SecurityGroup",
            "Properties": {"VpcId": ref("VpcId"), "SecurityGroupName": "ecr-grants-functions"},
        },
    }
