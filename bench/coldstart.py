"""What a cold start costs: from the package, beside the same handler shipped plainly, and beside one that does nothing.

    python -m bench.coldstart
    python -m bench.coldstart --package .local/package --rounds 5

Each is a fresh interpreter of the runtime's version with nothing but its folder, which handles its first event: an approval,
admitted, granted and told, over real sockets against the local cloud. Nothing is cached beside what ships.

* *package*: what `make package` builds.
* *plain*: the same code and dependencies as `pip install --target` leaves them, every SDK imported at the top, byte code
  made stale by the one time that an upload gives every file.
* *naive*: a handler that imports two SDKs and makes their clients, with sound byte code.

The least of some rounds counts, since whatever else the machine does only adds. Exit code 1 when the package takes more than 0.20
of plain's processor time, 0.50 of its memory, or 2.2 times naive's processor time.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from deploy.interpreter import NoInterpreterError, find
from deploy.layout import PARTS
from deploy.package import REQUIREMENTS, build, compile_all, install
from tests.configured import sealed
from tests.functional.approvals import approval
from tests.functional.inprocess import events, in_process
from tests.functional.launch import without_proxies
from tests.functional.world import HUB, Spoke, Stage

OF_PLAIN, OF_PLAINS_MEMORY, OF_NAIVE = 0.20, 0.50, 2.2
STAMP = 1_698_796_800
"""2023-11-01, which the deployment tool was seen to give every file."""
SDKS = (
    *(f"alibabacloud_{name}" for name in ("expressconnectrouter20230901", "sts20150401", "tea_openapi", "vpc20160428")),
    "alibabacloud_credentials",
)
NAIVE = """
import json
from alibabacloud_expressconnectrouter20230901.client import Client as EcrClient
from alibabacloud_tea_openapi.utils_models import Config
from alibabacloud_vpc20160428.client import Client as VpcClient

def initialize(context): ...

def handler(event, context):
    config = Config(access_key_id="nobody", access_key_secret="nobody", endpoint="127.0.0.1:1", protocol="http")
    return len(json.loads(event)), EcrClient(config) is VpcClient(config)
"""


@dataclass(frozen=True)
class Contestant:
    """A function to start cold."""

    name: str
    folders: str
    module: str


@dataclass(frozen=True)
class Cost:
    """What a cold start and its first event took."""

    seconds: float
    megabytes: float
    modules: int


def main() -> int:
    """Measure, show, judge."""
    parser = argparse.ArgumentParser(prog="python -m bench.coldstart", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--package", type=Path, help="a package that was built; without it one is built")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    try:
        python = find()
    except NoInterpreterError as problem:
        print(f"cold start: not measured: {problem}")
        return 0
    without_proxies()
    with tempfile.TemporaryDirectory(prefix="ecr-grants-coldstart-") as name:
        folder = Path(name)
        contestants = prepared(folder, options.package, python)
        costs = measured(folder / "cloud", contestants, python, options.rounds)
    return judged(costs)


def prepared(folder: Path, package: Path | None, python: Path) -> list[Contestant]:
    """The three, each with its folders."""
    if package is None:
        package, report = build(folder / "package", python)
        if report.faults:
            raise SystemExit("\n".join(report.faults))
    plain, naive = folder / "plain", folder / "naive"
    install(plain, REQUIREMENTS, python)
    for source, name in PARTS:
        if source.is_dir():
            shutil.copytree(source, plain / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, plain / name)
    (plain / "shared" / "cloud" / "__init__.py").write_text('"""Nothing waits."""\n', "utf-8")
    at_the_top = "".join(f"import {sdk}.{part}\n" for sdk in SDKS for part in ("client", "models"))
    handler = (plain / "grant.py").read_text("utf-8")
    (plain / "grant.py").write_text(at_the_top + handler, "utf-8")
    subprocess.run([str(python), "-I", "-m", "compileall", "-q", "-j", "0", str(plain)], check=True)
    for source in plain.rglob("*.py"):
        os.utime(source, (STAMP, STAMP))
    naive.mkdir()
    (naive / "naive.py").write_text(NAIVE, "utf-8")
    compile_all(naive, python)
    return [
        Contestant("package", str(package.resolve()), "grant"),
        Contestant("plain", str(plain), "grant"),
        Contestant("naive", os.pathsep.join((str(naive), str(package.resolve()))), "naive"),
    ]


def measured(folder: Path, contestants: list[Contestant], python: Path, rounds: int) -> dict[str, Cost]:
    """By name, the least of each figure."""
    folder.mkdir()
    costs: dict[str, list[Cost]] = {each.name: [] for each in contestants}
    stage = Stage()
    spokes = [stage.new_spoke() for _ in range(rounds)]
    with in_process(stage, folder):
        for number, spoke in enumerate(spokes, 1):
            print(f"round {number} of {rounds} ...", file=sys.stderr, flush=True)
            for each in contestants:
                costs[each.name].append(first_event(each, python, spoke))
    return {
        name: Cost(min(one.seconds for one in found), min(one.megabytes for one in found), found[0].modules)
        for name, found in costs.items()
    }


def first_event(contestant: Contestant, python: Path, spoke: Spoke) -> Cost:
    """One cold start, with an approval that nobody has seen."""
    document = approval(spoke.uid, next(spoke.vpcs))
    script = str(Path(__file__).with_name("firstevent.py"))
    done = subprocess.run(
        [str(python), "-I", "-S", "-B", script, contestant.folders, contestant.module, HUB],
        input=events([(document["request_id"], sealed(document))]),
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"{contestant.name} failed:\n{done.stderr.decode(errors='replace')}")
    told = json.loads(done.stdout.splitlines()[-1])
    if contestant.module == "grant" and told["answer"] != {"settled": 1}:
        raise SystemExit(f"{contestant.name} did not grant: {told['answer']}")
    return Cost(told["seconds"], told["megabytes"], len(told["modules"]))


def judged(costs: dict[str, Cost]) -> int:
    """Show the figures and what was promised; 1 when a promise is not kept."""
    table = Table("cold start and first event", "processor s", "memory MB", "modules", title="Cold start")
    for name, cost in costs.items():
        table.add_row(name, f"{cost.seconds:.2f}", f"{cost.megabytes:.0f}", str(cost.modules))
    Console().print(table)
    package, plain, naive = costs["package"], costs["plain"], costs["naive"]
    kept = True
    for what, ratio, most in (
        ("processor time of plain", package.seconds / plain.seconds, OF_PLAIN),
        ("memory of plain", package.megabytes / plain.megabytes, OF_PLAINS_MEMORY),
        ("processor time of naive", package.seconds / naive.seconds, OF_NAIVE),
    ):
        kept = kept and ratio <= most
        print(f"{'ok' if ratio <= most else 'MORE THAN PROMISED'}: {ratio:.2f} of the {what} (at most {most:.2f})")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
