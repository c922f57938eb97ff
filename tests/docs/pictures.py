"""Draws the pictures of docs/charts.md anew, from the two grids that the page trains.

    cd FOLDER                                       # with runs/spirals and runs/figures
    python -m tests.docs.pictures CHECKOUT

Pictures are stored with the colours of a palette, so that the repository stays small.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

COLOURS = 128
DPI = 150, 100  # of the commands, of the page


def main(checkout: Path) -> int:
    """Draws each picture that the page has a command for."""
    page = (checkout / "docs" / "charts.md").read_text()
    commands = re.findall(
        r"^python -m (analysis\.(?:plot|curves) .*(?:spirals|figures).*)$", page, re.M
    )
    for command in commands:
        module, *words = shlex.split(command, comments=True)
        name = words[0] if module == "analysis.plot" else "curves"
        target = checkout / "docs" / "images" / "charts" / f"{name}.png"
        if target.exists():
            draw([sys.executable, "-m", module, *words], target)
            print(target)
    return 0


def draw(command: list[str], target: Path) -> None:
    """Writes what a command draws, smaller and with fewer colours."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        subprocess.run([*command, "-o", str(path)], check=True, stdout=subprocess.DEVNULL)
        with Image.open(path) as picture:
            size = tuple(round(side * DPI[1] / DPI[0]) for side in picture.size)
            small = picture.convert("RGB").resize((size[0], size[1]), Image.Resampling.LANCZOS)
            small.quantize(COLOURS).save(target, optimize=True)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
