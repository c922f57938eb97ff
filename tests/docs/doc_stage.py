"""A folder in which the commands of the documentation run: grids, and two of them trained.

The stage has the grid `demo` as it ships, and a smaller `mnist` on the embedded digits with eight
epochs and
predictions, so that every command that a page types about them does something and nothing is
downloaded.
"""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.docs.doc_blocks import ROOT, Block, is_repeated, read_commands
from tests.docs.doc_compare import render_difference

HOME = "/home/ada"  # stands for the stage in what pages show
TIMEOUT_S = 600.0
SMALLER = {
    "  epochs: 2\n": "  epochs: 8\n  data: digits\n",
    "lr: [0.1, 0.01, 0.001, 0.0001, 0.00001]": "lr: [0.1, 0.01, 0.001]",
    "dropout: [0, 0.1, 0.3, 0.5]": "dropout: [0, 0.3]",
}
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came out of one command of a page."""

    block: Block
    command: str
    shown: str | None
    actual: str
    fault: str  # empty where the page is right


def build_stage(folder: Path) -> None:
    """Fills an empty folder with grids and trains `demo` and `mnist`."""
    shutil.copytree(ROOT / "grids", folder / "grids")
    (folder / "docs").symlink_to(ROOT / "docs")
    grid = folder / "grids" / "mnist.yaml"
    text = grid.read_text()
    for written, smaller in SMALLER.items():
        if written not in text:
            raise RuntimeError(f"grids/mnist.yaml has no {written!r}: adapt the stage")
        text = text.replace(written, smaller)
    grid.write_text(f"{text}\npredictions: true\n")
    for name in ("demo", "mnist"):
        code, text = run_command(f"python -m jobs.submit grids/{name}.yaml -q", folder)
        if code != 0:
            raise RuntimeError(f"the stage could not train {name}:\n{text}")


def copy_stage(base: Path, folder: Path) -> Path:
    """A copy of a stage for one page, which may change it."""
    shutil.copytree(base, folder, symlinks=True)
    return folder


def run_page(blocks: list[Block], folder: Path) -> list[Outcome]:
    """Runs every block of a page that can be run, in order."""
    outcomes: list[Outcome] = []
    session = ""  # the Python blocks of a page are one session
    for block in blocks:
        if not block.is_run:
            continue
        if name := block.markers.get("file"):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
        elif block.language == "python":
            session += block.text
            outcomes.append(_run_python(block, session, folder))
        else:
            outcomes += _run_commands(block, folder)
    return outcomes


def _run_python(block: Block, session: str, folder: Path) -> Outcome:
    script = folder / "session.py"
    script.write_text(session)
    code, text = run_command(f"python {script.name}", folder)
    return Outcome(block, "python", None, text, f"exit code {code}:\n{text}" if code else "")


def _run_commands(block: Block, folder: Path) -> list[Outcome]:
    outcomes = []
    on_terminal = "on a terminal" in block.markers
    for command in read_commands(block):
        if not _is_installed(command.text) or is_repeated(block, command):
            continue
        code, text = run_command(command.text, folder, on_terminal=on_terminal)
        text = text.replace(str(folder), HOME)
        fault = ""
        if command.output:
            fault = render_difference(command.output, text, measured="measured" in block.markers)
        elif code != 0:
            fault = f"exit code {code}: {text}"
        outcomes.append(Outcome(block, command.text, command.output, text, fault))
    return outcomes


def _is_installed(command: str) -> bool:
    """Whether the environment has the console script `anlp`, where the command is one of its
    verbs.
    """
    return command.split()[0] != "anlp" or (Path(sys.executable).parent / "anlp").exists()


def run_command(text: str, folder: Path, *, on_terminal: bool = False) -> tuple[int, str]:
    """Exit code and output (both streams) of a command line of bash."""
    names = ("LANG", "TMPDIR", "LD_LIBRARY_PATH", "USER")
    environment = {name: os.environ[name] for name in names if name in os.environ}
    environment |= {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "REPO": str(ROOT),
        "LC_ALL": "C.UTF-8",
        "COLUMNS": "120",
        "NO_COLOR": "1",
        "MPLBACKEND": "Agg",
        "WANDB_MODE": "disabled",
        "ANLP_ON": "local",
        "CUDA_VISIBLE_DEVICES": "",
    }
    if (folder / "anlp").is_dir():  # the page changes a copy of the packages
        environment["PYTHONPATH"] = str(_other_name(folder))
    if on_terminal:
        return _run_on_terminal(text, folder, environment)
    process = subprocess.run(
        ["bash", "-c", text],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_S,
    )
    return process.returncode, process.stdout


def _other_name(folder: Path) -> Path:
    """A link to the folder: by its own name it would go last, as the current folder of `-m`."""
    link = folder.with_name(f"{folder.name}-packages")
    if not link.is_symlink():
        link.symlink_to(folder)
    return link


def _run_on_terminal(text: str, folder: Path, environment: dict[str, str]) -> tuple[int, str]:
    ours, theirs = pty.openpty()
    environment = {**environment, "TERM": "dumb"}
    process = subprocess.Popen(
        ["bash", "-c", text],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    chunks = []
    while chunk := _read_terminal(ours):
        chunks.append(chunk)
    os.close(ours)
    output = b"".join(chunks).decode().replace("\r\n", "\n")
    return process.wait(TIMEOUT_S), ESCAPES.sub("", output)


def _read_terminal(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # Linux: the other side is closed
        return b""
