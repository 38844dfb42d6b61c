"""Sign in at the desk of `make up` as one of its people, without a browser of one's own.

python -m examples.sign_in requester --desk http://127.0.0.1:PORT

Runs `ecr-grants login`, opens the page that it says, chooses the person there, and leaves the token where the command keeps it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

from cli.output import prepare
from examples.asking import PEOPLE, Browser
from shared.messages.cells import safe


def main() -> int:
    """Parse the command line and sign in. The exit code is the command's."""
    parser = argparse.ArgumentParser(prog="python -m examples.sign_in", description=__doc__)
    parser.add_argument("person", choices=PEOPLE)
    parser.add_argument("--desk", required=True, help="the desk's address, as make up prints it")
    options = parser.parse_args()
    prepare()
    # The page is on this machine, whatever proxy the environment names.
    for name in [one for one in os.environ if one.lower().endswith("_proxy")]:
        del os.environ[name]
    command = [sys.executable, "-m", "cli", "login", "--no-browser", "--desk", options.desk]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as login:
        assert login.stderr is not None  # noqa: S101  # it is a pipe
        line = login.stderr.readline()
        address = line.rpartition(" ")[2].strip()
        if address.startswith("http"):
            Browser(options.desk).sign_in(options.person, address)
        said, wrong = login.communicate(timeout=60)
    sys.stdout.write(safe(said.strip()) + "\n" if said else "")
    sys.stderr.write(safe(("" if address.startswith("http") else line) + wrong))
    return login.returncode


if __name__ == "__main__":
    sys.exit(main())
