"""What Function Compute would notice about a package, which runs here from where it lies.

Here the interpreter's own packages stand for the vendored ones and nothing is uploaded, so a package that is too
large, was built for a newer system or carries byte code that nobody can use would show on the real platform only.
"""

import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from localcloud.fc import elf
from localcloud.fc.packages import Ignored, rules_of
from localcloud.fc.template.props import LogConfig, Props
from localcloud.ram import evaluate
from localcloud.switches import Switches
from localcloud.world import Role

GLIBC: Mapping[str, tuple[int, int]] = {
    "python3.9": (2, 28),
    "python3.10": (2, 28),
    "python3.12": (2, 31),
    "custom": (2, 24),
    "custom.debian10": (2, 28),
    "custom.debian11": (2, 31),
    "custom.debian12": (2, 36),
}
"""The C library under each runtime (deploy.md section 6)."""
MAGIC: Mapping[str, int] = {"python3.9": 3425, "python3.10": 3439, "python3.12": 3531}
"""The number that byte code of each runtime's interpreter begins with."""
STAMP = 1_698_796_800
"""2023-11-01: the deployment tool gives every file in the archive this time, so byte code that goes by it is stale."""
_MEGABYTE = 1024 * 1024
LARGE_REGIONS = frozenset(
    {"cn-hangzhou", "cn-shanghai", "cn-shenzhen", "cn-beijing", "cn-zhangjiakou", "cn-huhehaote", "cn-hongkong"}
    | {"ap-southeast-1", "ap-northeast-1", "us-east-1", "eu-central-1"}
)
_SHOWN = 5
"""Files named in one remark."""

_NEWER_REGIONS = frozenset(
    {
        "cn-hangzhou",
        "cn-shanghai",
        "cn-qingdao",
        "cn-beijing",
        "cn-zhangjiakou",
        "cn-huhehaote",
        "cn-shenzhen",
        "cn-chengdu",
    }
    | {"cn-hongkong", "ap-northeast-1", "ap-southeast-7", "ap-northeast-2", "eu-central-1", "eu-west-1", "us-east-1"}
    | {"us-west-1"}
)
RUNTIME_REGIONS: Mapping[str, frozenset[str]] = {
    "python3.12": _NEWER_REGIONS,
    "custom.debian11": _NEWER_REGIONS,
    "custom.debian12": frozenset(
        {"cn-hangzhou", "cn-qingdao", "cn-beijing", "cn-zhangjiakou", "cn-huhehaote", "cn-chengdu"}
    ),
}
"""Where the runtimes that are not everywhere are (deploy.md section 6)."""

Code = Literal[
    "StaleByteCode", "NewerGlibc", "PackageTooLarge", "NoLogPermission", "DottedHandler", "RuntimeNotInRegion"
]


@dataclass(frozen=True)
class Remark:
    """Something Function Compute would notice."""

    code: Code
    text: str


@dataclass
class Noticed:
    """What was found about one function: reasons to refuse it, and what is only said."""

    refusals: list[Remark] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)


def notice(props: Props, code: Path, switches: Switches) -> Noticed:
    """Look at a package as it would be uploaded."""
    noticed = Noticed()
    files = list(shipped(code))
    newer = list(_newer(files, GLIBC[props.runtime]))
    if newer:
        release = ".".join(map(str, GLIBC[props.runtime]))
        text = f"{props.runtime} has glibc {release}; newer is wanted by {_some(newer)}"
        place = noticed.refusals if switches.newer_glibc == "refused" else noticed.remarks
        place.append(Remark("NewerGlibc", f"{text}. Install wheels for manylinux_{release.replace('.', '_')} or older"))
    limit = (500 if props.region in LARGE_REGIONS else 100) * _MEGABYTE
    packed = _packed(files, limit)
    if packed > limit:
        text = f"the package has more than {limit // _MEGABYTE} MB as an archive, the most that {props.region} takes"
        largest = sorted(files, key=lambda item: item[1].stat().st_size, reverse=True)
        sizes = [f"{name} ({path.stat().st_size / _MEGABYTE:.1f} MB)" for name, path in largest[:_SHOWN]]
        noticed.refusals.append(Remark("PackageTooLarge", f"{text}; the largest files: {', '.join(sizes)}"))
    stale = list(_stale(files, props.runtime, stamped=switches.upload_times == "stamped"))
    if stale:
        text = f"byte code that {props.runtime} cannot use and compiles again at every cold start: {_some(stale)}"
        hint = "compile with --invalidation-mode unchecked-hash, or leave __pycache__ out"
        noticed.remarks.append(Remark("StaleByteCode", f"{text}. {hint[0].upper()}{hint[1:]}"))
    return noticed


def notice_settings(props: Props, role: Role | None, account: str, switches: Switches) -> Noticed:
    """Look at what a function's settings ask of the platform around the package."""
    noticed = Noticed()
    regions = RUNTIME_REGIONS.get(props.runtime)
    if regions is not None and props.region not in regions:
        text = f"runtime {props.runtime} is not offered in {props.region}; it is in {', '.join(sorted(regions))}"
        noticed.refusals.append(Remark("RuntimeNotInRegion", text))
    cycle = props.instance_lifecycle_config
    hooks = [hook.handler for hook in (cycle.initializer, cycle.pre_stop) if hook is not None]
    dotted = [path for path in (props.handler, *hooks) if path.rpartition("/")[2].count(".") > 1]
    if dotted and not props.custom and switches.dotted_handlers == "refused":
        text = f"no page promises a handler with dots before file.method: {', '.join(dotted)}"
        noticed.refusals.append(Remark("DottedHandler", text))
    silent = log_remark(props, role, account)
    if silent is not None:
        (noticed.refusals if switches.log_permission == "refused" else noticed.remarks).append(silent)
    return noticed


def _some(found: list[str]) -> str:
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return ", ".join(found[:_SHOWN]) + more


def shipped(code: Path) -> Iterator[tuple[str, Path]]:
    """The files of a package by their name in it, byte code included: the deployment tool takes that along."""
    rules = rules_of(code)
    ignored = Ignored(rules or ())
    for folder, folders, names in os.walk(code):
        here = Path(folder)
        inside = here.relative_to(code)
        folders[:] = sorted(name for name in folders if not ignored.ignores((inside / name).as_posix(), folder=True))
        for name in sorted(names):
            path = here / name
            if path.is_file() and not ignored.ignores((inside / name).as_posix(), folder=False):
                yield (inside / name).as_posix(), path


def _newer(files: list[tuple[str, Path]], there: tuple[int, int]) -> Iterator[str]:
    for name, path in files:
        if path.suffix not in {".py", ".pyc"} and elf.is_elf(path):
            versions = {want for want in elf.wanted(path) if want.glibc > there}
            if versions:
                most = max(versions, key=lambda want: want.glibc)
                yield f"{name} ({most.version} of {most.library})"


def _packed(files: list[tuple[str, Path]], limit: int) -> int:
    """Bytes of the archive, at least as far as the limit; nothing is packed when even the files fit."""
    total = sum(path.stat().st_size + 200 for _, path in files)
    if total <= limit:
        return total
    total = 0
    for _, path in files:
        packer = zlib.compressobj(1)
        with path.open("rb") as file:
            while part := file.read(_MEGABYTE):
                total += len(packer.compress(part))
                if total > limit:
                    return total
        total += len(packer.flush()) + 200
    return total


def _stale(files: list[tuple[str, Path]], runtime: str, *, stamped: bool) -> Iterator[str]:
    magic = MAGIC.get(runtime)
    if magic is None:
        return  # a custom runtime has an interpreter of its own choice, or none
    for name, path in files:
        if path.suffix != ".pyc":
            continue
        with path.open("rb") as file:
            header = file.read(16)
        if len(header) < 16:
            yield f"{name} (cut short)"
            continue
        number, _, flags, time, _ = struct.unpack("<HHIII", header)
        source = _source(path)
        if number != magic:
            if not _for_another(path, runtime):
                yield f"{name} (made by another Python)"
        elif flags == 0 and source is not None:
            written = int(source.stat().st_mtime) & 0xFFFFFFFF
            if time != written:
                yield f"{name} (its source has changed since)"
            elif stamped and time != STAMP:
                yield f"{name} (goes by the source's time, which the upload sets to 2023-11-01)"


def _for_another(path: Path, runtime: str) -> bool:
    """Whether the name says that it is meant for an interpreter the function does not have: that is only ballast."""
    tag = f".cpython-{runtime.removeprefix('python').replace('.', '')}."
    return path.parent.name == "__pycache__" and ".cpython-" in path.name and tag not in path.name


def _source(path: Path) -> Path | None:
    stem = path.name.partition(".")[0]
    source = (path.parent.parent if path.parent.name == "__pycache__" else path.parent) / f"{stem}.py"
    return source if source.is_file() else None


def log_remark(props: Props, role: Role | None, account: str) -> Remark | None:
    """Whether what the function prints would arrive in Log Service: its role writes it there."""
    if props.log_config is None:
        return None
    named = props.log_config if isinstance(props.log_config, LogConfig) else None
    root = f"acs:log:{props.region}:{account}:project/"
    if role is None:
        why = "it has no role"
    else:
        wanted = [f"{root}{named.project}/logstore/{named.logstore}"] if named else [*_anywhere(role, root)]
        if any(_may(role, resource) for resource in wanted):
            return None
        where = wanted[0] if named else f"{root}*"
        why = f"its role {role.name} may not log:PostLogStoreLogs on {where}"
    return Remark("NoLogPermission", f"no logs arrive in Log Service: logConfig is set, but {why}")


def _may(role: Role, resource: str) -> bool:
    layer = "AccountLevelIdentityBasedPolicy"
    return evaluate(role.policies, "log:PostLogStoreLogs", resource, lambda _key: None, layer).allowed


def _anywhere(role: Role, root: str) -> Iterator[str]:
    """Where ``auto`` may put the logs is decided when it is deployed: any logstore that a policy names will do."""
    yield f"{root}auto/logstore/auto"
    for document in role.spec.policies.values():
        for statement in document["Statement"]:
            named = statement.get("Resource", ())
            for resource in [named] if isinstance(named, str) else named:
                if resource.startswith("acs:log:"):
                    yield resource.replace("*", "x")
