"""What stands around the functions, said once: names, queue attributes, permissions, retention.

The ROS templates beside this file are written from it (``deploy.templates``), the local cloud's world is compared with those,
``ecr-grants onboard`` prints from it and ``ecr-grants doctor`` compares a cloud with it. Functions and triggers are in
``s.yaml``. Where these rights and attributes come from: docs/platform.md; a right that no test can see used says so itself.
"""

from __future__ import annotations

from deploy.shapes import (
    Blank,
    Condition,
    DeadLetter,
    LogStore,
    Policy,
    Queue,
    Role,
    Statement,
    Subscription,
    Topic,
    Trust,
    role_arn,
)

# -- names -------------------------------------------------------------------------------------------------------------

GRANT, ASSOCIATE, RECONCILE = "ecr-grants-grant", "ecr-grants-associate", "ecr-grants-reconcile"
PREFLIGHT, DESK = "ecr-grants-preflight", "ecr-grants-desk"
FUNCTIONS = (GRANT, ASSOCIATE, PREFLIGHT, RECONCILE, DESK)
"""Functions, and the role that each runs as: they share their names."""
HUB_ROLE, SPOKE_ROLE = "ecr-grants-hub", "ecr-grants-spoke"
"""What the functions enter: account A by the first, each account B by the second."""
APPROVALS, WAKES, ASSOCIATIONS, ASKED = "ecr-approvals", "ecr-grants-wakes", "ecr-associations", "ecr-asked"
COMPLETIONS = "ecr-completions"
EXTERNAL_ID = "{prefix}:{account}"
"""An account's external id: of this deployment, and of this account. A stack group can give every account the same prefix."""

# -- queues and topic --------------------------------------------------------------------------------------------------

_MAX_RECEIVES = 16


def _work(name: str, setting: str, purpose: str) -> Queue:
    # Longer than a call of the function may take (300 s): a message comes again only after the call that had it is over.
    dead_letter = DeadLetter(queue=f"{name}-dead", max_receives=_MAX_RECEIVES)
    return Queue(name=name, setting=setting, purpose=purpose, visibility=360, dead_letter=dead_letter)


WORK_QUEUES = (
    _work(APPROVALS, "APPROVALS_QUEUE", "Approvals, to the grant function; nothing else may come in here."),
    _work(WAKES, "WAKES_QUEUE", "Wakes and completions, to the grant function."),
    _work(ASSOCIATIONS, "ASSOCIATIONS_QUEUE", "Wakes and completions, to the associate function."),
    _work(ASKED, "ASKED_QUEUE", "What people ask for, to the preflight function."),
)
DEAD_LETTER_QUEUES = tuple(
    Queue(name=f"{each.name}-dead", purpose=f"What {each.name} gave up on.") for each in WORK_QUEUES
)
QUEUES = WORK_QUEUES + DEAD_LETTER_QUEUES

TOPIC = Topic(
    name=COMPLETIONS,
    setting="COMPLETIONS_TOPIC",
    subscriptions=tuple(
        Subscription(name=name, queue=queue, filter_tag=tag, dead_letter=f"{queue}-dead")
        for name, queue, tag in (
            ("associate-granted", ASSOCIATIONS, "granted"),
            ("associate-unwanted", ASSOCIATIONS, "unwanted"),
            ("grant-dissociated", WAKES, "dissociated"),
            ("preflight-asked", ASKED, "asked"),
        )
    ),
)

# -- log ---------------------------------------------------------------------------------------------------------------

LOG = LogStore(project="ecr-grants-{hub}", name="functions", retention_days=730)

# -- resources of rights -----------------------------------------------------------------------------------------------


def _messages(*queues: str) -> tuple[str, ...]:
    return tuple(f"acs:mns:*:{{hub}}:/queues/{name}/messages" for name in queues)


def _queues(*queues: str) -> tuple[str, ...]:
    return tuple(f"acs:mns:*:{{hub}}:/queues/{name}" for name in queues)


def _functions(*functions: str, part: str = "") -> tuple[str, ...]:
    return tuple(f"acs:fc:*:{{hub}}:functions/{name}{part}" for name in functions)


_NAMES = tuple(each.name for each in WORK_QUEUES)
_DEAD = tuple(each.name for each in DEAD_LETTER_QUEUES)
_LOGSTORE = f"acs:log:*:{{hub}}:project/{LOG.project}/logstore/{LOG.name}"
# Without the account: a role reaches its own account's alone, and no two routers share an id.
_ROUTER = "acs:expressconnectrouter:*:*:expressconnectrouter/{router}"

# -- what the functions run as -----------------------------------------------------------------------------------------

_PUBLISH = Statement(
    why="Tells what happened.",
    actions=("mns:PublishMessage",),
    resources=(f"acs:mns:*:{{hub}}:/topics/{COMPLETIONS}/messages",),
)
_KEEP_LOG = Statement(
    why="With a role of one's own the platform writes the function's log in its name.",
    actions=("log:PostLogStoreLogs",),
    resources=(_LOGSTORE,),
    unproven="the platform does it; Function Compute's page on permissions",
)
_ENTER_HUB = Statement(why="Enters account A.", actions=("sts:AssumeRole",), resources=(role_arn(Blank.HUB, HUB_ROLE),))
_ENTER_SPOKES = Statement(
    why="Enters each account B.", actions=("sts:AssumeRole",), resources=(role_arn(Blank.SPOKE, SPOKE_ROLE),)
)


def _send(why: str, *queues: str) -> Statement:
    return Statement(why=why, actions=("mns:SendMessage",), resources=_messages(*queues))


def _runs(function: str, purpose: str, enters: tuple[Statement, ...], *does: Statement) -> Role:
    # Apart, because the list of accounts grows: a policy has room for some hundred of them.
    accounts = [Policy(name=f"{function}-accounts", statements=enters)] if enters else []
    policies = (*accounts, Policy(name=function, statements=(*does, _KEEP_LOG)))
    return Role(name=function, purpose=purpose, trust=Trust(services=("fc.aliyuncs.com",)), policies=policies)


FUNCTION_ROLES = (
    _runs(
        GRANT,
        "What the function ecr-grants-grant runs as.",
        (_ENTER_SPOKES,),
        _send("Wakes itself; sends an approval again when the ledger is away.", APPROVALS, WAKES),
        _PUBLISH,
    ),
    _runs(
        ASSOCIATE,
        "What the function ecr-grants-associate runs as.",
        (_ENTER_HUB,),
        _send("Wakes itself.", ASSOCIATIONS),
        _PUBLISH,
    ),
    _runs(
        PREFLIGHT,
        "What the function ecr-grants-preflight runs as. Its sessions in other accounts can only read.",
        (_ENTER_HUB, _ENTER_SPOKES),
        _send("Has the grant function hear what it saw.", WAKES),
    ),
    _runs(
        RECONCILE,
        "What the function ecr-grants-reconcile runs as. Its sessions in other accounts can only read.",
        (_ENTER_HUB, _ENTER_SPOKES),
        _send("Wakes the other two.", WAKES, ASSOCIATIONS),
        _PUBLISH,
    ),
    _runs(
        DESK,
        "What the function ecr-grants-desk runs as. It enters no account.",
        (),
        _send("Has the grant function hear what people said.", WAKES),
    ),
)
NETWORK = Policy(
    name="ecr-grants-network",
    statements=(
        Statement(
            why="Lets the platform put a network interface for the functions into a VPC.",
            actions=(
                "vpc:DescribeVSwitchAttributes",
                "vpc:DescribeVpcAttribute",
                "vpc:DescribeVSwitches",
                "ecs:CreateNetworkInterface",
                "ecs:DeleteNetworkInterface",
                "ecs:DescribeNetworkInterfaces",
                "ecs:CreateNetworkInterfacePermission",
                "ecs:DeleteNetworkInterfacePermission",
                "ecs:DescribeNetworkInterfacePermissions",
                "ecs:AttachNetworkInterface",
                "ecs:DetachNetworkInterface",
                "ecs:DescribeSecurityGroups",
                "ecs:DescribeSecurityGroupAttribute",
                "ecs:AuthorizeSecurityGroupEgress",
                "ecs:TagResources",
                "ecs:ListTagResources",
            ),
            resources=("*",),
            unproven="unverified for a role of one's own: what the policy of Function Compute's service-linked role has",
        ),
    ),
)
"""For the functions' roles where the functions stand in a VPC, as they must to reach a database that has no public address."""

SECRETS = Policy(
    name="ecr-grants-secrets",
    statements=(
        Statement(
            why="Reads the ledger's password, the signing key and the desk's own secret, where Secrets Manager keeps them.",
            actions=("kms:GetSecretValue",),
            resources=("acs:kms:*:{hub}:secret/ecr-grants-*",),
            unproven="only where secrets are kept in Secrets Manager; its page on secret policies, 2026-03",
        ),
    ),
)
"""For the functions' roles where secrets are named in the settings instead of standing there."""

# -- what the functions enter ------------------------------------------------------------------------------------------

ENTERED_HUB = Role(
    name=HUB_ROLE,
    purpose="Account A's side of ECR Grants: associates with the listed routers, and takes that back.",
    trust=Trust(roles=(ASSOCIATE, PREFLIGHT, RECONCILE)),
    policies=(
        Policy(
            name=HUB_ROLE,
            statements=(
                Statement(
                    why="Makes, changes and takes back associations and attachments; looks at them.",
                    actions=(
                        "expressconnectrouter:CreateExpressConnectRouterAssociation",
                        "expressconnectrouter:DeleteExpressConnectRouterAssociation",
                        "expressconnectrouter:ModifyExpressConnectRouterAssociationAllowedPrefix",
                        "expressconnectrouter:DescribeExpressConnectRouterAssociation",
                        "expressconnectrouter:AttachExpressConnectRouterChildInstance",
                        "expressconnectrouter:DetachExpressConnectRouterChildInstance",
                        "expressconnectrouter:DescribeExpressConnectRouterChildInstance",
                        "expressconnectrouter:DescribeInstanceGrantedToExpressConnectRouter",
                        "expressconnectrouter:DescribeExpressConnectRouter",
                    ),
                    resources=(_ROUTER,),
                ),
                Statement(
                    why="Looks, before people decide, where an ECR reaches; that is no router's.",
                    actions=("expressconnectrouter:ListExpressConnectRouterSupportedRegion",),
                    resources=("*",),
                ),
            ),
        ),
    ),
)
_SPOKE_WRITES = Statement(
    why="Grants and takes back, on the account's own instances. RAM cannot say to which ECR.",
    actions=(
        "expressconnectrouter:GrantInstanceToExpressConnectRouter",
        "expressconnectrouter:RevokeInstanceFromExpressConnectRouter",
    ),
    resources=("acs:vpc:*:{account}:vpc/*", "acs:expressconnect:*:{account}:virtualborderrouter/*"),
)
_SPOKE_READS = Statement(
    why="Looks at the instances and at what is granted.",
    actions=(
        "vpc:DescribeVpcs",
        "vpc:DescribeVpcAttribute",
        "vpc:DescribeVpcGrantRulesToEcr",
        "vpc:DescribeVirtualBorderRouters",
        "vpc:DescribeGrantRulesToEcr",
        "vpc:DescribeBgpGroups",
    ),
    resources=("acs:vpc:*:{account}:vpc/*", "acs:vpc:*:{account}:virtualborderrouter/*"),
)


def _spoke(purpose: str, *statements: Statement) -> Role:
    policies = (Policy(name=SPOKE_ROLE, statements=statements),)
    return Role(name=SPOKE_ROLE, purpose=purpose, trust=Trust(roles=(GRANT, PREFLIGHT, RECONCILE)), policies=policies)


ENTERED_SPOKE = _spoke("Account B's side of ECR Grants: grants, takes back, looks.", _SPOKE_WRITES, _SPOKE_READS)
ENTERED_SPOKE_OBSERVED = _spoke("Account B's side of ECR Grants, for the mode observe: looks.", _SPOKE_READS)
"""The same role as long as an account is only to be looked at."""

# -- rights of people and systems: policies of the hub account, to be attached to whom you like ------------------------

_DOCTORS = "for ecr-grants doctor, which has tests of its own"
OPERATOR = Policy(
    name="ecr-grants-operator",
    statements=(
        Statement(
            why="Looks through dead letters, takes them and puts them back.",
            actions=(
                "mns:PeekMessage",
                "mns:BatchPeekMessage",
                "mns:ReceiveMessage",
                "mns:BatchReceiveMessage",
                "mns:DeleteMessage",
                "mns:ChangeMessageVisibility",
            ),
            resources=_messages(*_DEAD),
        ),
        _send("Sends dead letters again, approvals too: an operator is trusted to.", *_NAMES),
        Statement(
            why="How many are dead.",
            actions=("mns:GetQueueAttributes",),
            resources=_queues(*_DEAD),
        ),
        Statement(
            why="Whether the work queues are as they should be.",
            actions=("mns:GetQueueAttributes",),
            resources=_queues(*_NAMES),
            unproven=_DOCTORS,
        ),
        Statement(
            why="Runs reconcile, and no other function: what an acting one is handed could be made to look like an approval.",
            actions=("fc:InvokeFunction",),
            resources=_functions(RECONCILE),
        ),
        Statement(
            why="Whether the topic and its subscriptions are as they should be.",
            actions=("mns:GetTopicAttributes", "mns:ListSubscriptionByTopic", "mns:GetSubscriptionAttributes"),
            resources=(
                f"acs:mns:*:{{hub}}:/topics/{COMPLETIONS}",
                f"acs:mns:*:{{hub}}:/topics/{COMPLETIONS}/subscriptions",
                f"acs:mns:*:{{hub}}:/topics/{COMPLETIONS}/subscriptions/*",
            ),
            unproven=_DOCTORS,
        ),
        Statement(
            why="Whether the triggers and limits are as they should be. Nothing here shows a function's environment.",
            actions=("fc:ListTriggers",),
            resources=_functions(*FUNCTIONS, part="/triggers/*"),
            unproven=_DOCTORS,
        ),
        Statement(
            why="The same, for how many instances there may be and what becomes of asynchronous calls.",
            actions=("fc:GetConcurrencyConfig", "fc:GetFunctionAsyncInvokeConfig"),
            resources=_functions(*FUNCTIONS),
            unproven=_DOCTORS,
        ),
        Statement(
            why="Reads the functions' log.",
            actions=("log:GetLogStoreLogs",),
            resources=(_LOGSTORE,),
            unproven="a person does it in the console; name of the action partly unverified",
        ),
    ),
)
"""No fc:GetFunction and no fc:ListFunctions: they show the environment, which may hold the database's password."""

REQUESTER = Policy(
    name="ecr-grants-requester",
    statements=(_send("Hands approvals in.", APPROVALS),),
)
"""For the system that sends approvals: one queue, and nothing else."""

_DEPLOYS = "the deployment tool does it; Function Compute's page on permissions, 2025-06"
DEPLOYER = Policy(
    name="ecr-grants-deployer",
    statements=(
        Statement(
            why="Deploys the functions. Removing one is an administrator's.",
            actions=(
                "fc:CreateFunction",
                "fc:UpdateFunction",
                "fc:GetFunction",
                "fc:GetFunctionCode",
                "fc:PutConcurrencyConfig",
                "fc:GetConcurrencyConfig",
                "fc:PutFunctionAsyncInvokeConfig",
                "fc:GetFunctionAsyncInvokeConfig",
            ),
            resources=_functions(*FUNCTIONS),
            unproven=_DEPLOYS,
        ),
        Statement(
            why="Their triggers.",
            actions=("fc:CreateTrigger", "fc:UpdateTrigger", "fc:DeleteTrigger", "fc:GetTrigger", "fc:ListTriggers"),
            resources=_functions(*FUNCTIONS, part="/triggers/*"),
            unproven=_DEPLOYS,
        ),
        Statement(
            why="Their versions and aliases, and what VPCs they are bound to, which the deployment tool reads.",
            actions=(
                "fc:PublishFunctionVersion",
                "fc:CreateAlias",
                "fc:UpdateAlias",
                "fc:GetAlias",
                "fc:ListVpcBindings",
            ),
            resources=_functions(*FUNCTIONS, part="/*"),
            unproven=_DEPLOYS,
        ),
        Statement(
            why="The event streams that bring messages to them.",
            actions=tuple(
                f"eventbridge:{verb}EventStreaming"
                for verb in ("Create", "Update", "Get", "List", "Start", "Pause", "Delete")
            ),
            resources=("acs:eventbridge:*:{hub}:eventstreaming/*",),
            unproven="unverified whether the deployer or the platform makes them; EventBridge's page on PauseEventStreaming",
        ),
        Statement(
            why="Gives the functions their roles, and no other role to anything.",
            actions=("ram:PassRole",),
            resources=tuple(role_arn(Blank.HUB, name) for name in FUNCTIONS),
            condition=Condition(key="acs:Service", values=("fc.aliyuncs.com",)),
            unproven="the deployment tool does it; the system policy AliyunFCFullAccess, 2023-12",
        ),
        Statement(
            why="The roles that Function Compute and EventBridge work as, once in an account.",
            actions=("ram:CreateServiceLinkedRole",),
            resources=("*",),
            condition=Condition(
                key="ram:ServiceName", values=("fc.aliyuncs.com", "sendevent-fc.eventbridge.aliyuncs.com")
            ),
            unproven="the deployment tool does it; the value for Function Compute is unverified",
        ),
    ),
)
"""For whoever runs ``s deploy``. Queues, roles and the log project are an administrator's, who applies the templates."""

RIGHTS = (OPERATOR, REQUESTER, DEPLOYER)
