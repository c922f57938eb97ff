"""Projects of the user's own code in two forms, all of which do as their setting `do` says.

`ok` trains some epochs, `fail` raises, `die` kills itself, `nan` ends with NaN, `linger` trains
until it is stopped, and continues from its checkpoint.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PROGRAM = """
import argparse, json, os, signal, sys, time

parser = argparse.ArgumentParser()
parser.add_argument("--do", default="ok")
parser.add_argument("--lr", type=float, default=0.1)
parser.add_argument("--epochs", type=int, default=3)
parser.add_argument("--model", choices=["small", "large"], default="small")
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()

folder = os.path.join(os.environ["ANLP_RUN_DIR"], "checkpoints")
path = os.path.join(folder, "epoch")
first = int(open(path).read()) + 1 if os.path.exists(path) else 1
stopped = []
signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
signal.signal(signal.SIGUSR2, lambda *_: stopped.append(1))
print("begins at epoch", first, flush=True)


def log(**row):
    with open(os.environ["ANLP_METRICS"], "a") as file:
        file.write(json.dumps(row) + "\\n")


epochs = 10**6 if args.do == "linger" and first == 1 else args.epochs
for epoch in range(first, epochs + 1):
    if args.do == "fail":
        raise ValueError(f"it fails at epoch {epoch}")
    if args.do == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    acc = float("nan") if args.do == "nan" else args.lr + epoch / 100 + args.seed / 1000
    log(epoch=epoch, train_loss=1 / epoch, val_acc=acc)
    if args.do == "linger":
        os.makedirs(folder, exist_ok=True)
        with open(path + ".new", "w") as file:
            file.write("1")
        os.replace(path + ".new", path)
        time.sleep(0.05)
        if stopped:
            sys.exit(3)
log(test_acc=args.lr + 0.05)
"""
FUNCTION = """
import math
import os
import signal
import time
from dataclasses import dataclass
from typing import Literal

import anlp


@dataclass
class Settings:
    do: str = "ok"
    lr: float = 0.1
    epochs: int = 3
    model: Literal["small", "large"] = "small"


def train(settings: Settings, run: anlp.Run) -> None:
    saved = run.load()
    epochs = 10**6 if settings.do == "linger" and saved is None else settings.epochs
    print("begins at epoch", 1 if saved is None else saved["epoch"] + 1, flush=True)
    for epoch in run.epochs(epochs):
        if settings.do == "fail":
            raise ValueError(f"it fails at epoch {epoch}")
        if settings.do == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        acc = math.nan if settings.do == "nan" else settings.lr + epoch / 100 + run.seed / 1000
        run.log(epoch, {"train/loss": 1 / epoch})
        run.log(epoch, {"val/acc": acc})
        if settings.do == "linger":
            if saved is None and epoch == 1:
                run.save({})
            time.sleep(0.05)
    run.report({"test/acc": settings.lr + 0.05})
"""


@dataclass(frozen=True, slots=True)
class Form:
    """One form of the user's own code.

    Args:
        name: program or function.
        files: by name, beside the grid file.
        head: the first lines of its grid file.
    """

    name: str
    files: Mapping[str, str]
    head: str

    def write(self, folder: Path, grid: str, name: str = "mine") -> Path:
        """Write the project and a grid file; return the grid file."""
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in self.files.items():
            (folder / file).write_text(text.lstrip("\n"))
        path = folder / f"{name}.yaml"
        path.write_text(f"{self.head}\nwandb: {{mode: disabled}}\n{textwrap.dedent(grid)}")
        return path


METRICS = "metrics: {select: val_acc, report: test_acc, chance: 0.1, samples: 1000}"
FORMS = (
    Form(
        "program",
        {"train.py": PROGRAM},
        f"program: train.py\nresume: {{exit_code: 3}}\n{METRICS}",
    ),
    Form("function", {"study.py": FUNCTION}, f"task: study.py:train\n{METRICS}"),
)
