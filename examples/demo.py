"""Run the main job on the local cloud and tell what happens, step by step.

    python -m examples.demo                                           the whole circle, in a fresh world
    python -m examples.demo --only --approval FILE                    one approval
    python -m examples.demo --package .local/package                  the same from the package as it was built
    python -m examples.demo --stay                                    keep everything running, for playing by hand

Starts the local cloud, lets it deploy the functions that s.yaml describes, sends the approval with the real SDK and then
only watches: what it prints comes from the functions' own logs and from the completions they publish.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).parent.parent


class Interrupts:
    """Ctrl-C, whenever it comes: the first one ends what runs, later ones do not disturb the tidying up."""

    _numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self.came = False
        self.normal = False
        """Whether Ctrl-C is the way in which this ends when all is well."""
        for number in self._numbers:
            signal.signal(number, self._take)

    def _take(self, _number: int, _frame: FrameType | None) -> None:
        if not self.came:
            self.came = True
            raise KeyboardInterrupt

    def over(self) -> None:
        """Nothing is left to stop: what comes now must not disturb the interpreter's own end."""
        signal.pthread_sigmask(signal.SIG_BLOCK, self._numbers)

    def all_is_up(self) -> None:
        """From now on Ctrl-C is the normal end."""
        self.normal = True

    def end(self) -> int:
        """Say that it was stopped. The exit code."""
        print("stopped; nothing is left running", flush=True)
        return 0 if self.normal else 130


def main() -> int:
    """Parse the command line, run, and say in one line what failed."""
    interrupts = Interrupts()
    try:
        code = _run(_options(), interrupts)
    except KeyboardInterrupt:
        code = interrupts.end()
    except BrokenPipeError:  # whoever read this has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except Exception:
        if not interrupts.came:  # a library turned the interrupt into an error of its own
            raise
        code = interrupts.end()
    interrupts.over()
    return code


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run the main job on the local cloud and explain it.")
    parser.add_argument(
        "--approval",
        type=Path,
        default=Path("examples/approval-vpc.json"),
        help="the approval to send (JSON file)",
    )
    parser.add_argument("--only", action="store_true", help="stop after this one approval")
    parser.add_argument("--seconds", type=float, default=90, help="how long to wait for each answer (default: 90)")
    parser.add_argument(
        "--batch",
        type=int,
        default=50,
        choices=range(2, 51),
        metavar="N",
        help="how many are asked for at once (default: 50)",
    )
    parser.add_argument("--package", type=Path, help="run the package in this folder as it was built, not the checkout")
    parser.add_argument("--stay", action="store_true", help="keep everything running until Ctrl-C")
    return parser.parse_args()


def _run(options: argparse.Namespace, interrupts: Interrupts) -> int:
    # The SDKs would send even loopback calls to a proxy; everything here is on this machine. Children inherit it.
    for name in [one for one in os.environ if one.lower().endswith("_proxy")]:
        del os.environ[name]
    # Imported here because it takes seconds, and an interrupt in them must not become a traceback.
    from mns.mns_exception import MNSExceptionBase  # noqa: PLC0415
    from Tea.exceptions import TeaException  # noqa: PLC0415

    from cli.output import prepare  # noqa: PLC0415
    from examples.asking import Refused  # noqa: PLC0415
    from examples.story import Failed, demo, stay  # noqa: PLC0415
    from examples.telling import tell  # noqa: PLC0415

    if interrupts.came:  # and a library swallowed it
        raise KeyboardInterrupt
    prepare()
    try:
        if options.stay:
            return stay(interrupts.all_is_up, options.package)
        batch = None if options.only else options.batch
        return demo(options.approval, options.seconds, package=options.package, batch=batch)
    except BrokenPipeError:
        raise
    except (Failed, Refused, MNSExceptionBase, TeaException, OSError) as error:
        if interrupts.came:
            raise
        for line in f"FAILED: {error}".splitlines():
            tell(line)
        return 1


if __name__ == "__main__":
    sys.exit(main())
