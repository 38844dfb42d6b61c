"""The processes of functions: none outlives its cloud, and what they are born with."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]  # its stubs are not among our requirements
import pytest

from tests.functional.waiting import PATIENCE
from tests.localcloud.conftest import RunCloud
from tests.localcloud.fc_harness import (
    BROKEN,
    SAMPLE,
    Functions,
    function,
    queue_trigger,
    template_text,
    timer_trigger,
    until,
    web_function,
)
from tests.localcloud.harness import trust
from tests.localcloud.processes import alive, descendants


@pytest.fixture(params=[(), ("decimal",)], ids=["interpreter", "preloaded"])
def functions(run_cloud: RunCloud, tmp_path: Path, request: pytest.FixtureRequest) -> Functions:
    """A cloud with an account, queues and roles, whose workers are new interpreters, or born with a module."""
    made = Functions(run_cloud, tmp_path)
    made.cloud.fc.preloaded = request.param
    return made


def run_up(
    folder: Path, *functions: Mapping[str, Any], preload: Sequence[str] = ()
) -> tuple[subprocess.Popen[bytes], list[int]]:
    """``localcloud up`` with these functions and modules, and the processes it started."""
    account = "1000000000000001"
    owner = {
        "name": "a",
        "enterprise": "1",
        "roles": {"worker": {"trust": trust(service="fc.aliyuncs.com")}},
        "queues": {"work": {}},
    }
    world = {"version": 1, "region": "cn-hangzhou", "deploy": {"account": account}, "accounts": {account: owner}}
    (folder / "world.yaml").write_text(json.dumps(world))
    (folder / "s.yaml").write_text(template_text(*functions))
    ready = folder / "ready"
    command = [sys.executable, "-m", "localcloud", "up", "--world", str(folder / "world.yaml"), "--port", "0"]
    command += ["--deploy", str(folder / "s.yaml"), "--ready-file", str(ready)]
    command += [part for module in preload for part in ("--preload", module)]
    root = Path(__file__).parents[2]
    (folder / "tmp").mkdir()
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=root,
        env={**os.environ, "TMPDIR": str(folder / "tmp"), "PYTHONPATH": str(folder)},
    )
    until(lambda: ready.exists() or process.poll() is not None, "the local cloud")
    return process, descendants(process.pid)


@pytest.mark.parametrize("preload", [(), ("decimal",)], ids=["interpreter", "preloaded"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_the_local_cloud(tmp_path: Path, number: signal.Signals, preload: Sequence[str]) -> None:
    """Stopped or killed outright: frozen workers, servers of custom runtimes and the reaper are gone afterwards, and
    so are the packages it laid out."""
    shutil.copytree(SAMPLE, tmp_path / "code")
    (tmp_path / "code" / ".fcignore").write_text("nothing\n")
    process, children = run_up(
        tmp_path,
        function("a", triggers=[queue_trigger(), timer_trigger("@every 1s")]),
        function("b", code=str(tmp_path / "code")),
        web_function("c"),
        preload=preload,
    )
    assert len(children) >= 4 + len(preload)
    assert [path.name for path in (tmp_path / "tmp").iterdir()] != []
    process.send_signal(number)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == (0 if number is not signal.SIGKILL else -signal.SIGKILL)
    until(lambda: not any(map(alive, children)), "all processes to end")
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_function_that_cannot_start_ends_up_with_a_reason(tmp_path: Path) -> None:
    """Exit code 1, the function's name and its own error on stderr, and no process left."""
    hook = {"instanceLifecycleConfig": {"initializer": {"handler": "index.initialize", "timeout": 5}}}
    process, _ = run_up(tmp_path, function("good"), function("bad", code=str(BROKEN), **hook))
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "function bad: did not start: RuntimeError: LEDGER_URL is not set" in errors.decode()


# What workers are born with


@pytest.mark.parametrize("functions", [("decimal", "fractions")], indirect=True)
def test_workers_are_born_with_what_was_preloaded(functions: Functions) -> None:
    """All by one process, which imported it once; the function's own module is imported by each anew."""
    functions.deploy(function("a"), function("b"))
    found = [functions.invoke(name, {"do": "calls"}).json() for name in ("a", "b")]
    assert [one["calls"] for one in found] == [1, 1]
    assert len({psutil.Process(one["pid"]).ppid() for one in found}) == 1
    assert functions.invoke("a", {"do": "loaded", "modules": ["decimal", "fractions", "plistlib"]}).json() == [
        "decimal",
        "fractions",
    ]


@pytest.mark.parametrize("functions", [("decimal",)], indirect=True)
def test_the_process_that_forks_workers_is_replaced(functions: Functions) -> None:
    """When it is gone, its workers are too, and the next call has a new one of both."""
    functions.deploy(function("a"))
    first = functions.invoke("a", {"do": "calls"}).json()["pid"]
    forkserver = psutil.Process(first).ppid()
    os.kill(forkserver, signal.SIGKILL)
    until(lambda: not alive(forkserver) and not alive(first), "both to end")
    second = until(lambda: functions.invoke("a", {"do": "calls"}).json().get("pid"), "a worker")
    assert psutil.Process(second).ppid() not in (forkserver, os.getpid())


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("raise RuntimeError('no such luck')", "RuntimeError: no such luck"),
        ("import nowhere", "ModuleNotFoundError: No module named 'nowhere'"),
        ("import threading, time; threading.Thread(target=time.sleep, args=(60,), daemon=True).start()", "threads"),
        ("import os; os._exit(3)", "it ended at once"),
    ],
)
def test_what_cannot_be_preloaded_is_told(tmp_path: Path, text: str, why: str) -> None:
    """Exit code 1 and the reason."""
    (tmp_path / "awkward.py").write_text(text)
    process, _ = run_up(tmp_path, function("a"), preload=("awkward",))
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "cannot be preloaded: " in errors.decode()
    assert why in errors.decode()
