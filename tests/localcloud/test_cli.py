"""The command line: start, check, look into, plan, turn; and that nothing outlives it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from localcloud.__main__ import ADDRESS_VARIABLE, main
from localcloud.client import AdminClient, AdminError
from tests.functional.waiting import PATIENCE, until
from tests.localcloud.fc_harness import function, http_trigger, template_text
from tests.localcloud.harness import Key, Stage, allow, stage, trust


def localcloud(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "localcloud", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **environment},
    )


def typed(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run one command within this process, which is quicker; its exit code, output and errors."""
    capsys.readouterr()
    code = main(arguments)
    return code, *capsys.readouterr()


def world_file(at: Stage, folder: Path) -> Path:
    """A stage as a file."""
    path = folder / "world.yaml"
    path.write_text(yaml.safe_dump({"version": 1, **at.world}, sort_keys=False))
    return path


def wait_for(process: subprocess.Popen[Any], ready: Path) -> None:
    """Return when the local cloud that a process starts has written where it is."""

    def is_up() -> bool:
        assert process.poll() is None, process.communicate()
        return ready.exists()

    until(is_up, "the local cloud is up", 8 * PATIENCE)


@contextmanager
def up(folder: Path, at: Stage, *more: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A local cloud as a process; its address."""
    ready = folder / "ready"
    command = [sys.executable, "-m", "localcloud", "up", "--world", str(world_file(at, folder))]
    command += ["--ready-file", str(ready), *more]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        wait_for(process, ready)
        yield process, ready.read_text()
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=PATIENCE)


def silent(address: str) -> bool:
    """Whether nothing answers at an address."""
    try:
        AdminClient(address).health()
    except AdminError:
        return True
    return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_up_says_where_and_ends_on_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    """The first line is the address, the ready file says the same, and a signal ends it with exit code 0."""
    with up(tmp_path, stage()) as (process, address):
        assert AdminClient(address).health()["status"] == "ok"
        process.send_signal(number)
        output, errors = process.communicate(timeout=PATIENCE)

    assert output.splitlines()[0] == f"localcloud ready at {address}"
    assert (process.returncode, errors) == (0, "")
    assert not (tmp_path / "ready").exists()
    assert silent(address)


def test_up_ends_with_its_parent(tmp_path: Path) -> None:
    """With --with-parent, a local cloud whose parent was killed ends by itself."""
    ready, world = tmp_path / "ready", world_file(stage(), tmp_path)
    arguments = ["-m", "localcloud", "up", "--world", str(world), "--ready-file", str(ready), "--with-parent"]
    script = f"import subprocess, sys; subprocess.run([sys.executable, *{arguments!r}])"
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.DEVNULL)
    wait_for(parent, ready)
    address = ready.read_text()

    parent.kill()
    parent.wait(PATIENCE)

    until(lambda: silent(address), "it is gone")


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    """A second local cloud on the same port says why it does not start."""
    with up(tmp_path, stage()) as (_, address):
        port = address.rpartition(":")[2]
        second = localcloud("up", "--world", str(tmp_path / "world.yaml"), "--port", port)

    assert second.returncode == 1
    assert "address already in use" in second.stderr


def test_check_explains_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """check names every problem with its path and exits with 1; a good file is fine; up does not start on a bad one."""
    at = stage()
    code, output, _ = typed(capsys, "check", str(world_file(at, tmp_path)))
    assert (code, "fine: 2 accounts" in output) == (0, True)

    at.world["accounts"][at.hub]["colour"] = "blue"
    file = world_file(at, tmp_path)
    line = file.read_text().splitlines().index("    colour: blue") + 1
    code, output, errors = typed(capsys, "check", str(file))
    assert (code, output) == (1, "")
    assert errors.startswith(f"{file}:{line}: accounts.{at.hub}.colour: unknown key (value 'blue'); known: name, ")
    started = localcloud("up", "--world", str(tmp_path / "world.yaml"))
    assert (started.returncode, started.stderr) == (1, errors)


def test_looking_into_a_running_cloud(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """journal, faults, clock and switches do from the command line what the admin API offers."""
    with up(tmp_path, stage(), "--state-dir", str(tmp_path / "state")) as (process, address):

        def run(*arguments: str) -> str:
            code, output, errors = typed(capsys, *arguments, "--address", address)
            assert code == 0, errors
            return output

        planned = json.loads(run("faults", "plan", "slow", "--service", "sts", "--seconds", "0.5", "--times", "null"))
        assert (planned["kind"], planned["seconds"], planned["times"]) == ("slow", 0.5, None)
        assert json.loads(run("faults", "list"))["number"] == planned["number"]
        assert run("faults", "clear", str(planned["number"])) == "1 cleared\n"
        before = run("clock", "show")
        assert run("clock", "advance", "86400") > before
        assert "grant_twice=conflict" in run("switches", "grant_twice=conflict")
        code, _, errors = typed(capsys, "switches", "colour=blue", "--address", address)
        assert (code, "colour" in errors) == (1, True)
        code, _, errors = typed(capsys, "faults", "plan", "slow", "--address", address)
        assert (code, "needs seconds" in errors) == (1, True)

        _call(address)
        line = run("journal", "--service", "sts")
        assert "sts:GetCallerIdentity 404 InvalidAccessKeyId.NotFound  LTAI-nobody" in line
        by_variable = localcloud("journal", "--json", **{ADDRESS_VARIABLE: address})
        entry = json.loads(by_variable.stdout)
        assert entry["operation"] == "GetCallerIdentity"
        process.terminate()
        process.communicate(timeout=PATIENCE)

    kept = [json.loads(line) for line in (tmp_path / "state" / "journal.jsonl").read_text().splitlines()]
    assert kept == [entry]


def _call(address: str) -> None:
    """One call by nobody."""
    from alibabacloud_sts20150401.client import Client  # noqa: PLC0415 - slow to import, used here only
    from alibabacloud_tea_openapi.models import Config  # noqa: PLC0415 - the same
    from Tea.exceptions import TeaException  # noqa: PLC0415 - the same

    nobody = Key("LTAI-nobody", "x")
    host = address.removeprefix("http://")
    config = Config(access_key_id=nobody.id, access_key_secret=nobody.secret, endpoint=host, protocol="http")
    with pytest.raises(TeaException):
        Client(config).get_caller_identity()


def test_following_the_journal(tmp_path: Path) -> None:
    """journal --follow shows calls as they come, until it is interrupted."""
    with up(tmp_path, stage()) as (_, address):
        command = [sys.executable, "-m", "localcloud", "journal", "--follow", "--json", "--address", address]
        follower = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        _call(address)
        assert follower.stdout is not None
        assert json.loads(follower.stdout.readline())["operation"] == "GetCallerIdentity"
        follower.send_signal(signal.SIGINT)
        follower.communicate(timeout=PATIENCE)

    assert follower.returncode == 130


def deploying(folder: Path, code: str, **more: Any) -> Stage:
    """A stage with a role for functions, and a template with one function of some code in the folder."""
    at = stage()
    at.world["deploy"] = {"account": at.hub}
    at.world["accounts"][at.hub]["roles"] = {
        "worker": {"trust": trust(service="fc.aliyuncs.com"), "policies": {"all": allow("*")}}
    }
    source = folder / "code"
    source.mkdir()
    (source / "index.py").write_text(code)
    initializer = {"initializer": {"handler": "index.initialize", "timeout": 10}}
    props = function(
        "speaker",
        code=str(source),
        environmentVariables={"WHERE": "${env('WHERE')}"},
        instanceLifecycleConfig=initializer,
        **more,
    )
    (folder / "s.yaml").write_text(template_text(props))
    return at


def test_functions_are_deployed_and_followed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """up --deploy has the functions running when it is ready; {address} is filled in; logs shows what they printed."""
    code = "import os\ndef initialize(context):\n    print('at', os.environ['WHERE'])\ndef handler(event, context):\n    pass\n"
    at = deploying(tmp_path, code)
    more = ["--deploy", str(tmp_path / "s.yaml"), "--env", "WHERE=http://{address}/x"]

    with up(tmp_path, at, *more) as (process, address):
        _, logs, _ = typed(capsys, "logs", "--address", address)
        _, one, _ = typed(capsys, "logs", "speaker", "--address", address)
        nobody = typed(capsys, "logs", "nobody", "--address", address)
        process.terminate()
        output, _ = process.communicate(timeout=PATIENCE)

    assert f"at {address}/x" in logs
    assert one == logs
    assert nobody == (1, "", "no function 'nobody'\n")
    assert output.splitlines()[1] == "  function speaker"


def test_up_says_where_http_triggers_are(tmp_path: Path) -> None:
    """The port of an HTTP trigger is chosen at the start, so it is printed under its function."""
    code = "def initialize(context): ...\ndef handler(event, context):\n    return 'here'\n"
    at = deploying(tmp_path, code, triggers=[http_trigger("GET")])

    with up(tmp_path, at, "--deploy", str(tmp_path / "s.yaml"), "--env", "WHERE=x") as (process, address):
        (known,) = AdminClient(address).functions()
        process.terminate()
        output, _ = process.communicate(timeout=PATIENCE)

    assert output.splitlines()[1:] == ["  function speaker", f"    http trigger http at {known['url']} (GET)"]


def test_a_deployment_that_fails_ends_up(tmp_path: Path) -> None:
    """A function whose initializer raises ends up with exit code 1 and the function's own words."""
    at = deploying(
        tmp_path, "def initialize(context):\n    raise RuntimeError('no ledger today')\ndef handler(e, c): ...\n"
    )
    world = world_file(at, tmp_path)

    done = localcloud("up", "--world", str(world), "--deploy", str(tmp_path / "s.yaml"), "--env", "WHERE=x")

    assert done.returncode == 1
    assert "speaker" in done.stderr
    assert "no ledger today" in done.stderr
    assert "ready" not in done.stdout


@pytest.mark.parametrize(
    "command", [[], ["up"], ["check"], ["world"], ["journal"], ["faults", "plan"], ["clock"], ["logs"]]
)
def test_help_is_everywhere(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Every command explains itself."""
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])

    assert ended.value.code == 0
    output = capsys.readouterr().out
    assert "usage: localcloud" in output
    assert len(output) > 200


def test_the_module_runs() -> None:
    """python -m localcloud is the command."""
    done = localcloud("--help")

    assert (done.returncode, "usage: localcloud" in done.stdout) == (0, True)
