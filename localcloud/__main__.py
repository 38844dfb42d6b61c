"""``python -m localcloud``: start a local cloud, and look into one that runs."""

import argparse
import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

from localcloud.client import AdminClient, AdminError
from localcloud.faults import Kind, Plan
from localcloud.switches import Switches
from localcloud.worldfile import WorldError, read_world

ADDRESS_VARIABLE = "LOCALCLOUD_ADDRESS"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the process's exit code."""
    asked = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = asked.command
    try:
        return command(asked)
    except (WorldError, AdminError) as error:
        print(error, file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Whoever read our output has seen enough; do not complain again when Python flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="localcloud",
        description="A local stand-in for Alibaba Cloud: STS, RAM, VPC, Express Connect Router, MNS and Function "
        "Compute in one process on loopback.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_up(commands)

    _add_check(commands)
    _add_from(commands)

    journal = _talking(commands, "journal", _journal, "show which calls were made and what came of them")
    journal.add_argument("--follow", "-f", action="store_true", help="go on as calls come")
    journal.add_argument("--service", default="", help="sts, vpc, ecr, kms, mns, fc or oauth")
    journal.add_argument("--operation", default="", help="such as AssumeRole")
    journal.add_argument("--account", default="", help="uid of the caller or of the owner")
    journal.add_argument("--json", action="store_true", help="one JSON object a line")

    _add_faults(commands)

    clock = commands.add_parser("clock", help="turn the clock", description="Show or turn cloud time.")
    turns = clock.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _talking(turns, "show", _show_clock, "show cloud time")
    advance = _talking(turns, "advance", _advance, "turn cloud time forward")
    advance.add_argument("seconds", type=float)

    switches = _talking(commands, "switches", _switches, "show or turn the switches for undocumented behaviour")
    switches.add_argument("settings", nargs="*", metavar="NAME=VALUE", help=", ".join(Switches.model_fields))

    logs = _talking(commands, "logs", _logs, "show what functions print")
    logs.add_argument("function", nargs="?", help="only this one")
    logs.add_argument("--follow", "-f", action="store_true", help="go on as lines come")
    return parser


def _add_check(commands: Any) -> None:
    check = commands.add_parser("check", help="check a world file or an s.yaml", description=_check.__doc__)
    check.add_argument("file", type=Path)
    check.add_argument(
        "--world", type=Path, metavar="FILE", help="the world an s.yaml is for: what it names must exist"
    )
    check.add_argument("--env", action="append", default=[], metavar="NAME=VALUE", help="as for up")
    check.set_defaults(command=_check)
    world = commands.add_parser("world", help="what a world file may say", description=_world.__doc__)
    world.add_argument("--schema", action="store_true", help="as a JSON Schema, for editors")
    world.set_defaults(command=_world)


def _add_from(commands: Any) -> None:
    made = commands.add_parser("from", help="make a world of ROS templates", description=_from.__doc__)
    made.add_argument("folder", type=Path, help="the folder of the templates")
    made.add_argument("--stacks", type=Path, metavar="FILE", help="which is applied where; FOLDER/example-stacks.yaml")
    made.add_argument(
        "--world", type=Path, metavar="FILE", help="a world that has what stacks do not make, such as VPCs"
    )
    made.set_defaults(command=_from)


def _add_up(commands: Any) -> None:
    up = commands.add_parser("up", help="start a local cloud and keep it running", description=_up.__doc__)
    up.add_argument("--world", type=Path, required=True, metavar="FILE", help="the world file")
    up.add_argument("--port", type=int, default=0, help="0, the default, takes a free one")
    up.add_argument("--deploy", type=Path, metavar="S.YAML", help="deploy the functions of a Serverless Devs template")
    up.add_argument(
        "--env",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="what ${env('NAME')} in the template resolves to; {address} in a value becomes host:port",
    )
    up.add_argument(
        "--worker-env",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a variable that every worker gets beside those of its function, such as a coverage tool's",
    )
    how = up.add_mutually_exclusive_group()
    how.add_argument(
        "--as-built",
        action="store_true",
        help="the code folders are packages with their dependencies: the runtime's Python runs them, with nothing beside",
    )
    how.add_argument(
        "--preload",
        action="append",
        default=[],
        metavar="MODULE",
        help="a module of the interpreter's packages that workers are born with, so that their cold start is short",
    )
    up.add_argument("--state-dir", type=Path, metavar="DIR", help="also write the journal here, as journal.jsonl")
    up.add_argument("--ready-file", type=Path, metavar="FILE", help="write the address here once everything is up")
    up.add_argument("--with-parent", action="store_true", help="stop when the process that started this one ends")
    up.set_defaults(command=_up)


def _add_faults(commands: Any) -> None:
    faults = commands.add_parser("faults", help="plan trouble", description="Plan, list or clear trouble.")
    kinds = faults.add_subparsers(title="commands", required=True, metavar="COMMAND")
    plan = _talking(kinds, "plan", _plan, "plan one trouble")
    plan.add_argument("kind", choices=get_args(Kind))
    for name, field in Plan.model_fields.items():
        if name != "kind":
            plan.add_argument(f"--{name.replace('_', '-')}", dest=f"plan_{name}", help=field.description)
    _talking(kinds, "list", _list_faults, "show what is planned and what struck")
    clear = _talking(kinds, "clear", _clear_faults, "forget planned trouble")
    clear.add_argument("number", type=int, nargs="?", help="only this one")


def _talking(
    commands: Any, name: str, command: Callable[[argparse.Namespace], int], text: str
) -> argparse.ArgumentParser:
    """A command that talks to a running local cloud."""
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text.capitalize() + ".")
    known = os.environ.get(ADDRESS_VARIABLE)
    parser.add_argument(
        "--address",
        default=known,
        required=known is None,
        metavar="HOST:PORT",
        help=f"of the local cloud; the variable {ADDRESS_VARIABLE} stands for it",
    )
    parser.set_defaults(command=command)
    return parser


def _up(asked: argparse.Namespace) -> int:
    """Start a local cloud, deploy functions into it, and keep it running until it is told to stop."""
    parent = os.getppid() if asked.with_parent else None
    # Imported here because it is most of what there is to import, and the other commands do without.
    from localcloud.up import Startup, run  # noqa: PLC0415 - see above

    startup = Startup(
        file=read_world(asked.world),
        port=asked.port,
        state_directory=asked.state_dir,
        template=asked.deploy,
        environment=_assignments(asked.env, "--env"),
        worker_environment=_assignments(asked.worker_env, "--worker-env"),
        preloaded=tuple(asked.preload),
        as_built=asked.as_built,
        ready_file=asked.ready_file,
        parent=parent,
    )
    return asyncio.run(run(startup))


def _assignments(pairs: Sequence[str], option: str) -> dict[str, str]:
    values = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name:
            raise AdminError(f"{option}: NAME=VALUE is wanted, found {pair!r}")
        values[name] = value
    return values


def _check(asked: argparse.Namespace) -> int:
    """Check a world file or an s.yaml: every mistake at once with its line, and exit code 1 when there is one."""
    # A template is checked by what deploys it, which is much to import for those who check a world.
    from localcloud.checking import check_template, is_template  # noqa: PLC0415 - see above

    if is_template(asked.file):
        print(check_template(asked.file, {**os.environ, **_assignments(asked.env, "--env")}, asked.world))
        return 0
    world = read_world(asked.file)
    accounts = world.accounts.values()
    print(
        f"{asked.file}: fine: {len(accounts)} accounts, "
        f"{sum(len(account.roles) for account in accounts)} roles, "
        f"{sum(len(account.vpcs) + len(account.vbrs) for account in accounts)} VPCs and VBRs, "
        f"{sum(len(account.ecrs) for account in accounts)} ECRs, "
        f"{sum(len(account.queues) for account in accounts)} queues, "
        f"{sum(len(account.topics) for account in accounts)} topics"
    )
    return 0


def _world(asked: argparse.Namespace) -> int:
    """Print every key of the world file: a line each with what it may be, or a JSON Schema."""
    from localcloud.worldschema import outline, schema  # noqa: PLC0415 - needed for this command only

    print(json.dumps(schema(), indent=2, ensure_ascii=False) if asked.schema else "\n".join(outline()))
    return 0


def _from(asked: argparse.Namespace) -> int:
    """Apply ROS templates and print the world that comes of them; what is left out of it is said on standard error."""
    import yaml  # noqa: PLC0415 - needed for this command only

    from localcloud.ros.stacks import world_from  # noqa: PLC0415 - needed for this command only

    outcome = world_from(asked.folder, asked.stacks, asked.world)
    print(yaml.safe_dump(outcome.world, sort_keys=False, allow_unicode=True, width=120), end="")
    for remark in outcome.remarks:
        print(remark, file=sys.stderr)
    return 0


def _journal(asked: argparse.Namespace) -> int:
    client = AdminClient(asked.address)
    filters = {"service": asked.service, "operation": asked.operation, "account": asked.account}
    for entry in client.follow(**filters) if asked.follow else client.journal(**filters):
        print(json.dumps(entry) if asked.json else _line(entry), flush=asked.follow)
    return 0


def _line(entry: dict[str, Any]) -> str:
    caller = entry["caller"]
    who = caller.get("arn") or caller["access_key_id"] or "unknown"
    result = f"{entry['status']} {entry['code']}".strip()
    mark = "*" if entry["effect"] else " "
    line = f"{entry['number']:>6} {entry['time']} {mark} {entry['service']}:{entry['operation']} {result}  {who}"
    decision = entry["decision"]
    if decision is not None and not decision["allowed"]:
        line += f"\n       refused: {decision['why']}"
    elif entry["message"]:
        line += f"\n       {entry['message'][:300]}"
    return line


def _plan(asked: argparse.Namespace) -> int:
    plan: dict[str, Any] = {"kind": asked.kind}
    for name in Plan.model_fields:
        text = getattr(asked, f"plan_{name}", None)
        if text is None:
            continue
        number: Any = text
        if name in {"after", "times", "seed", "seconds", "status", "retry_after", "probability"}:
            with contextlib.suppress(ValueError):
                number = json.loads(text)
        plan[name] = number
    print(json.dumps(AdminClient(asked.address).plan(**plan)))
    return 0


def _list_faults(asked: argparse.Namespace) -> int:
    for fault in AdminClient(asked.address).faults():
        print(json.dumps(fault))
    return 0


def _clear_faults(asked: argparse.Namespace) -> int:
    print(f"{AdminClient(asked.address).clear(asked.number)} cleared")
    return 0


def _show_clock(asked: argparse.Namespace) -> int:
    print(AdminClient(asked.address).health()["time"])
    return 0


def _advance(asked: argparse.Namespace) -> int:
    AdminClient(asked.address).advance(asked.seconds)
    return _show_clock(asked)


def _switches(asked: argparse.Namespace) -> int:
    client = AdminClient(asked.address)
    if asked.settings:
        client.switch(**_assignments(asked.settings, "switches"))
    for switch in client.call("GET", "switches")["switches"]:
        values = "|".join(switch["values"])
        print(f"{switch['name']}={switch['value']} ({values})\n    {switch['reason']}")
    return 0


def _logs(asked: argparse.Namespace) -> int:
    client = AdminClient(asked.address)
    names = [asked.function] if asked.function else [function["name"] for function in client.functions()]
    seen = dict.fromkeys(names, 0)
    while True:
        # Waiting on one function would hold the lines of the others back, so several are asked in turn.
        patience = 0.0 if not asked.follow else 30.0 if len(names) == 1 else 0.5 / max(1, len(names))
        for name in names:
            for line in client.logs(name, after=seen[name], wait=patience):
                seen[name] = line["number"]
                print(f"{line['time']} {name} {line['request_id'] or '-'} {line['text']}", flush=asked.follow)
        if not asked.follow:
            return 0


if __name__ == "__main__":
    sys.exit(main())
