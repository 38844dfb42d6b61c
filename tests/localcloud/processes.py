"""Looks at processes of this machine, for tests that count what is left."""

import psutil  # type: ignore[import-untyped]  # its stubs are not among our requirements


def alive(pid: int) -> bool:
    """Whether a process runs, or could run when it is thawed."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def frozen(pid: int) -> bool:
    """Whether a process is stopped."""
    return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)


def descendants(pid: int) -> list[int]:
    """What a process started, and what that started."""
    try:
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
