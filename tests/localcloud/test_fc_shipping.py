"""What Function Compute would notice about a package: refused, or said in the report, the log and the journal."""

import os
import py_compile
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from localcloud.fc import elf, shipping
from localcloud.fc.errors import DeployError
from localcloud.fc.shipping import MAGIC, STAMP
from localcloud.fc.template.props import Props
from localcloud.switches import Switches
from tests.localcloud.conftest import RunCloud
from tests.localcloud.fc_harness import function, template_text, web_function
from tests.localcloud.harness import LocalCloud, allow, stage, trust

Deploy = Callable[..., tuple[LocalCloud, list[dict[str, Any]]]]


def shared_object(*versions: str, machine: int = 62, weak: Sequence[str] = ()) -> bytes:
    """A small ELF file that wants these versions of libc.so.6."""
    names = b"\0libc.so.6\0" + b"".join(version.encode() + b"\0" for version in (*versions, *weak))
    head, dynamic_at = 64 + 2 * 56, 64 + 2 * 56 + len(names)
    dynamic_at += -dynamic_at % 8
    need_at = dynamic_at + 4 * 16
    dynamic = struct.pack("<8Q", 5, head, 0x6FFFFFFE, need_at, 0x6FFFFFFF, 1, 0, 0)
    every = (*versions, *weak)
    need = struct.pack("<HHIII", 1, len(every), 1, 16, 0)
    for at, version in enumerate(every):
        onward = 16 if at < len(every) - 1 else 0
        need += struct.pack("<IHHII", 0, 2 if version in weak else 0, 2, names.index(version.encode() + b"\0"), onward)
    whole = need_at + len(need)
    start = b"\x7fELF\x02\x01\x01" + bytes(9)
    start += struct.pack("<HHIQQQIHHHHHH", 3, machine, 1, 0, 64, 0, 0, 64, 56, 2, 64, 0, 0)
    start += struct.pack("<IIQQQQQQ", 1, 5, 0, 0, 0, whole, whole, 4096)
    start += struct.pack("<IIQQQQQQ", 2, 6, dynamic_at, dynamic_at, dynamic_at, len(dynamic), len(dynamic), 8)
    return (start + names).ljust(dynamic_at, b"\0") + dynamic + need


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """A code folder with a function in it."""
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "index.py").write_text("def handler(event, context):\n    print('hello')\n")
    return folder


@pytest.fixture
def deploy(run_cloud: RunCloud, code: Path, tmp_path: Path) -> Deploy:
    """Deploys the folder as one function; the cloud, and what is deployed."""

    def deploy(
        policies: Any = None, switches: Any = None, as_built: bool = False, **props: Any
    ) -> tuple[LocalCloud, list[dict[str, Any]]]:
        at = stage(region=props.get("region", "cn-hangzhou"))
        at.world["deploy"] = {"account": at.hub}
        role = {"trust": trust(service="fc.aliyuncs.com"), "policies": policies or {}}
        at.world["accounts"][at.hub]["roles"] = {"worker": role}
        at.world["switches"] = switches or {}
        (tmp_path / "s.yaml").write_text(template_text(function("f", **{"code": str(code), "role": "worker", **props})))
        cloud = run_cloud(at.world)
        cloud.fc.as_built = as_built
        return cloud, cloud.inside_async(lambda: cloud.fc.deploy(tmp_path / "s.yaml", {}))

    return deploy


def remarks(cloud: LocalCloud) -> list[tuple[str, str]]:
    """What the journal says about deployments."""
    return [(entry["code"], entry["message"]) for entry in cloud.journal(operation="DeployFunction")]


# The C library


def test_versions_are_read_from_the_file(tmp_path: Path) -> None:
    """Only what must be there counts; other machines and damaged files say nothing."""
    good = shared_object("GLIBC_2.2.5", "GLIBC_2.34", weak=["GLIBC_2.36"])
    file = tmp_path / "a.so"
    file.write_bytes(good)
    assert elf.wanted(file) == [("libc.so.6", "GLIBC_2.2.5"), ("libc.so.6", "GLIBC_2.34")]
    for machine, found in ((183, 1), (40, 0)):
        file.write_bytes(shared_object("GLIBC_2.34", machine=machine))
        assert len(elf.wanted(file)) == found
    for length in range(0, len(good), 7):
        file.write_bytes(good[:length])
        elf.wanted(file)
        file.write_bytes(good[:length] + b"\xff" * (len(good) - length))
        elf.wanted(file)


@pytest.mark.parametrize("machine", [62, 183])
def test_a_newer_c_library_is_refused(deploy: Deploy, code: Path, machine: int) -> None:
    """A wheel built for glibc 2.34 cannot be loaded on python3.12: file and version are named."""
    (code / "python" / "pkg").mkdir(parents=True)
    (code / "python" / "pkg" / "_rust.abi3.so").write_bytes(shared_object("GLIBC_2.17", "GLIBC_2.34", machine=machine))
    (code / "python" / "libother.so.6").write_bytes(shared_object("GLIBC_2.33", machine=machine))

    with pytest.raises(DeployError) as refused:
        deploy()

    text = str(refused.value)
    assert "python3.12 has glibc 2.31" in text
    assert "python/pkg/_rust.abi3.so (GLIBC_2.34 of libc.so.6)" in text
    assert "python/libother.so.6 (GLIBC_2.33 of libc.so.6)" in text
    assert "manylinux_2_31" in text


def test_what_the_runtime_has_is_fine(deploy: Deploy, code: Path) -> None:
    """2.31 is there on Debian 11; what is not shipped is not looked at."""
    (code / "fits.so").write_bytes(shared_object("GLIBC_2.31"))
    (code / "private").mkdir()
    (code / "private" / "new.so").write_bytes(shared_object("GLIBC_2.40"))
    (code / ".fcignore").write_text("private\n")

    cloud, (deployed,) = deploy()

    assert (deployed["remarks"], remarks(cloud)) == ([], [])


def test_the_runtime_decides(deploy: Deploy, code: Path) -> None:
    """Debian 10 has 2.28, Debian 12 has 2.36."""
    (code / "some.so").write_bytes(shared_object("GLIBC_2.30"))
    with pytest.raises(DeployError, match=r"python3\.10 has glibc 2\.28"):
        deploy(runtime="python3.10")
    server = web_function("f")
    (code / "some.so").write_bytes(shared_object("GLIBC_2.37"))
    with pytest.raises(DeployError, match=r"custom\.debian12 has glibc 2\.36"):
        deploy(runtime="custom.debian12", customRuntimeConfig=server["customRuntimeConfig"])


def test_a_newer_c_library_can_be_noted(deploy: Deploy, code: Path) -> None:
    """With the switch it is said and let pass."""
    (code / "new.so").write_bytes(shared_object("GLIBC_2.34"))

    cloud, (deployed,) = deploy(switches={"newer_glibc": "noted"})

    assert "new.so (GLIBC_2.34 of libc.so.6)" in deployed["remarks"][0]
    assert [code for code, _ in remarks(cloud)] == ["NewerGlibc"]


# Size


@pytest.mark.parametrize(("region", "most"), [("cn-chengdu", 100), ("cn-hangzhou", 500)])
def test_a_package_that_is_too_large(code: Path, monkeypatch: pytest.MonkeyPatch, region: str, most: int) -> None:
    """The archive counts, per region; the largest files are named. A megabyte is a kilobyte in this test."""
    monkeypatch.setattr(shipping, "_MEGABYTE", 1024)
    settings = {"functionName": "f", "runtime": "python3.12", "code": "./", "handler": "a.b"}
    props = Props.model_validate({**settings, "region": region})

    (code / "data.bin").write_bytes(bytes((most + 1) * 1024))
    assert shipping.notice(props, code, Switches.model_validate({})).refusals == []
    (code / "data.bin").write_bytes(os.urandom((most + 1) * 1024))
    (refusal,) = shipping.notice(props, code, Switches.model_validate({})).refusals

    assert refusal.code == "PackageTooLarge"
    assert f"more than {most} MB as an archive, the most that {region} takes" in refusal.text
    assert f"data.bin ({most + 1}.0 MB)" in refusal.text


def test_a_package_that_is_too_large_is_refused(deploy: Deploy, code: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is deployed then."""
    monkeypatch.setattr(shipping, "_MEGABYTE", 1024)
    (code / "data.bin").write_bytes(os.urandom(501 * 1024))

    with pytest.raises(DeployError, match=r"function f .*: the package has more than 500 MB as an archive"):
        deploy()


# Byte code


def byte_code(code: Path, *, time: int | None = None, flags: int = 0, magic: int | None = None) -> None:
    """Byte code of the function as another machine would have made it."""
    source = code / "index.py"
    tag = code / "__pycache__" / "index.cpython-312.pyc"
    py_compile.compile(str(source), cfile=str(tag))
    written = int(source.stat().st_mtime) if time is None else time
    start = struct.pack("<HHIII", magic or MAGIC["python3.12"], 0x0A0D, flags, written, source.stat().st_size)
    tag.write_bytes(start + tag.read_bytes()[16:])


@pytest.mark.parametrize(
    ("made", "switch", "why"),
    [
        pytest.param({"time": 1}, "kept", "its source has changed since", id="the source is newer"),
        pytest.param({}, "stamped", "which the upload sets to 2023-11-01", id="fresh here, stale once uploaded"),
        pytest.param({}, "kept", "", id="an upload that keeps times"),
        pytest.param({"flags": 1}, "stamped", "", id="byte code that goes by a digest"),
        pytest.param(
            {"magic": 3495}, "stamped", "made by another Python", id="another interpreter under this one's name"
        ),
    ],
)
def test_stale_byte_code_is_told(deploy: Deploy, code: Path, made: dict[str, int], switch: str, why: str) -> None:
    """What the runtime compiles again at every cold start is in the report, the log and the journal."""
    byte_code(code, **made)

    cloud, (deployed,) = deploy(switches={"upload_times": switch})

    if not why:
        assert (deployed["remarks"], remarks(cloud)) == ([], [])
        return
    (remark,) = deployed["remarks"]
    assert "__pycache__/index.cpython-312.pyc" in remark
    assert why in remark
    assert remarks(cloud) == [("StaleByteCode", f"f: {remark}")]
    assert remark in [line["text"] for line in cloud.inside_async(lambda: cloud.fc.logs("f"))]


def test_sources_with_the_archives_time_are_fresh(deploy: Deploy, code: Path) -> None:
    """A package whose sources carry the archive's time before they are compiled keeps its byte code."""
    os.utime(code / "index.py", (STAMP, STAMP))
    byte_code(code)

    _, (deployed,) = deploy()

    assert deployed["remarks"] == []


# Logs


HERE = {"project": "logs", "logstore": "functions"}


@pytest.mark.parametrize(
    ("config", "policy", "silent"),
    [
        pytest.param(HERE, None, True, id="no policy at all"),
        pytest.param(HERE, allow("log:PostLogStoreLogs"), False, id="everywhere"),
        pytest.param(HERE, allow("log:*", "acs:log:*:*:project/logs/logstore/functions"), False, id="exactly there"),
        pytest.param(HERE, allow("log:PostLogStoreLogs", "acs:log:*:*:project/other/*"), True, id="somewhere else"),
        pytest.param(HERE, allow("log:GetLogStoreLogs"), True, id="may read only"),
        pytest.param("auto", None, True, id="auto, no policy"),
        pytest.param("auto", allow("log:PostLogStoreLogs", "acs:log:*:*:project/made/logstore/x"), False, id="auto"),
        pytest.param(None, None, False, id="logs are not wanted"),
    ],
)
def test_logs_that_would_not_arrive(deploy: Deploy, config: Any, policy: Any, silent: bool) -> None:
    """A role that may not write logs is refused, with role and logstore; with the switch it is said and let pass."""
    logged = {} if config is None else {"logConfig": config}
    policies = {"p": policy} if policy else None
    if silent:
        with pytest.raises(DeployError, match="its role worker may not log:PostLogStoreLogs on acs:log:cn-hangzhou:"):
            deploy(policies=policies, **logged)

    cloud, (deployed,) = deploy(policies=policies, switches={"log_permission": "noted"}, **logged)

    assert [code for code, _ in remarks(cloud)] == (["NoLogPermission"] if silent else [])
    if silent:
        (remark,) = deployed["remarks"]
        assert remark.startswith("no logs arrive in Log Service")
        assert "its role worker may not log:PostLogStoreLogs on acs:log:cn-hangzhou:" in remark


# What the settings ask of the platform


@pytest.mark.parametrize("props", [{"handler": "pkg.index.handler"}, {"instanceLifecycleConfig": "pkg.index.start"}])
def test_a_handler_with_dots_is_refused(deploy: Deploy, code: Path, props: dict[str, Any]) -> None:
    """No page promises more than file.method; with the switch the packages are walked."""
    (code / "pkg").mkdir()
    (code / "pkg" / "__init__.py").touch()
    (code / "pkg" / "index.py").write_text("def handler(event, context): ...\ndef start(context): ...\n")
    if "instanceLifecycleConfig" in props:
        props = {"instanceLifecycleConfig": {"initializer": {"handler": props["instanceLifecycleConfig"]}}}
    with pytest.raises(DeployError, match=r"no page promises a handler with dots before file\.method: pkg\.index\."):
        deploy(**props)
    deploy(switches={"dotted_handlers": "found"}, **props)


@pytest.mark.parametrize(
    ("runtime", "region", "offered"),
    [
        ("python3.12", "cn-chengdu", True),
        ("python3.12", "ap-southeast-1", False),
        ("python3.10", "ap-southeast-1", True),
    ],
)
def test_a_runtime_is_not_in_every_region(deploy: Deploy, runtime: str, region: str, offered: bool) -> None:
    """The newer ones are in sixteen regions, and Singapore is none of them."""
    if offered:
        deploy(runtime=runtime, region=region)
        return
    with pytest.raises(DeployError, match=f"runtime {runtime} is not offered in {region}; it is in ap-northeast-1"):
        deploy(runtime=runtime, region=region)


# Packages as built

SAYS_ITS_VERSION = """
import sys
print("version", "%d.%d" % sys.version_info[:2])
def handler(event, context): ...
"""


def test_a_package_as_built_has_the_runtimes_python_and_nothing_beside(deploy: Deploy, code: Path) -> None:
    """Packages of this interpreter are not there, so what the package lacks is told when it is deployed."""
    (code / "index.py").write_text(SAYS_ITS_VERSION)
    try:
        cloud, _ = deploy(as_built=True)
    except DeployError as problem:
        if "no Python 3.12 for python3.12 was found here" not in str(problem):
            raise
        pytest.skip(str(problem))
    (line,) = [line["text"] for line in cloud.admin.logs("f") if line["text"].startswith("version")]
    assert line == "version 3.12"
    (code / "index.py").write_text(f"import pydantic\n{SAYS_ITS_VERSION}")
    deploy()
    with pytest.raises(DeployError, match="No module named 'pydantic'"):
        deploy(as_built=True)


def test_without_the_runtimes_python_a_package_is_refused(
    deploy: Deploy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Another version would prove nothing: the line says what was looked for."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(
        DeployError, match=r"no Python 3\.9 for python3\.9 was found here \(looked for python3\.9 on the path"
    ):
        deploy(as_built=True, runtime="python3.9")
