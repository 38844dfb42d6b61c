"""Runs `s deploy` on what ``make deploy-folder`` made, and keeps secrets out of what it prints and logs. ``make deploy``.

    LEDGER_URL=… python -m deploy.apply [--first] [-- ARGUMENTS OF s]

Serverless Devs prints how the functions' environment changes, old values and new ones, and writes the whole resolved template
to its log (seen with 3.1.10). Both are masked here: what it prints before anybody sees it, its log as soon as it has ended.
"""

from __future__ import annotations

import argparse
import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote

from deploy.folder import FOLDER, first_of

SECRETS = ("LEDGER_URL", "DESK_LEDGER_URL", "LEDGER_PASSWORD", "HEAD_KEY", "DESK_CLIENT_SECRET", "DESK_KEYS")
"""Variables of the functions that are secrets, or hold one."""
MASK = b"***"
_ADDRESS = re.compile(rb"(://[^\s:/@'\"]*:)[^\s@'\"]+@")
_COLOUR = rb"\x1b\[[0-9;]*m"
_VALUE = re.compile(
    rb"((?:LEDGER_PASSWORD|HEAD_KEY|DESK_CLIENT_SECRET|DESK_KEYS)(?:" + _COLOUR + rb"|[\\\"' \t:=])+)"
    rb"[^\s\"',\\\x1b:=][^\s\"',\\\x1b]*(?:,[A-Za-z0-9+/]{43}=)*"  # keys may be several
)


def main(arguments: list[str] | None = None) -> int:
    """Run it, and hand its exit code on; 1 when there is nothing to deploy, or no Serverless Devs."""
    parser = argparse.ArgumentParser(prog="python -m deploy.apply", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--template", type=Path, default=FOLDER.with_name("s.yaml"), help="made by make deploy-folder")
    parser.add_argument(
        "--first", action="store_true", help="nothing is there yet: deploy with the triggers off, then as decided"
    )
    parser.add_argument("more", nargs="*", metavar="ARGUMENT", help="handed to s instead of: deploy -y")
    options = parser.parse_args(arguments)
    tool = shutil.which("s")
    if not options.template.is_file():
        print(f"make deploy: there is no {options.template}; `make deploy-folder` makes it", file=sys.stderr)
        return 1
    if tool is None:
        print("make deploy: Serverless Devs is not on the path: npm install -g @serverless-devs/s", file=sys.stderr)
        return 1
    # The tool sets the limit of one instance after the triggers: until it stands, nothing may set a function off.
    for template in [*([first_of(options.template)] if options.first else []), options.template]:
        code = run([tool, *(options.more or ["deploy", "-y"]), "--template", str(template)], os.environ)
        if code != 0:
            return code
    return 0


def run(command: list[str], environment: Mapping[str, str]) -> int:
    """Run Serverless Devs; its exit code. What it prints is shown line by line, masked; its log is masked at the end."""
    trace = f"ecr-grants-{secrets.token_hex(6)}"
    known = known_secrets(environment)
    process = subprocess.Popen(
        command,
        env={**environment, "serverless_devs_traceid": trace},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
    )
    try:
        for line in process.stdout or ():
            sys.stdout.write(masked(line, known).decode(errors="replace"))
            sys.stdout.flush()
        return process.wait()
    finally:
        process.kill()
        process.wait()
        logs = [*logged(trace, environment)]
        for path in logs:
            path.write_bytes(masked(path.read_bytes(), known))
        if not logs:
            print(
                "make deploy: no log of Serverless Devs was found to mask; look for LEDGER_URL below ~/.s/logs",
                file=sys.stderr,
            )


def known_secrets(environment: Mapping[str, str]) -> list[bytes]:
    """Each secret of the environment, as it is written and as it is meant; the longest first."""
    found: set[str] = set()
    for name in SECRETS:
        value = environment.get(name, "")
        match = re.search(r"://[^:/@]*:(.+)@", value)
        if match:
            found |= {match.group(1), unquote(match.group(1))}
        elif "LEDGER_URL" not in name:
            found |= {value, *value.split(",")}
    return sorted((one.encode() for one in found if one), key=len, reverse=True)


def masked(text: bytes, known: list[bytes]) -> bytes:
    """A text without secrets: those that are known, and whatever stands where one would stand, such as the one before."""
    for secret in known:
        text = text.replace(secret, MASK)
    text = _ADDRESS.sub(rb"\1" + MASK + b"@", text)
    return _VALUE.sub(rb"\1" + MASK, text)


def logged(trace: str, environment: Mapping[str, str]) -> Iterator[Path]:
    """The files that Serverless Devs wrote for a run."""
    home = Path(environment.get("serverless_devs_config_home") or Path.home())
    for folder in home.glob(f".s/logs/{trace}*"):
        yield from (path for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    sys.exit(main())
