"""Import all that a run imports and train one step: what `apptainer test anlp.sif` runs."""

from __future__ import annotations

import importlib
import sys
import tempfile
from pathlib import Path

import scipy
import sklearn
import submitit
import torch
import wandb
import xgboost
from PIL import Image

from anlp.records.elements import Element
from anlp.records.files import write_jsonl
from anlp.records.folders import GridFolder
from anlp.records.options import RunOptions, WandbOptions
from anlp.records.results import read_result
from anlp.run import run_element
from anlp.tasks import make_spec

WITHOUT = Path(__file__).with_name(
    "without"
)  # what of torch's own family the builder could not have
FAMILY = ("torchvision", "torchaudio")


def main() -> int:
    """Trains one step on the embedded digits; 0 where there is a result."""
    absent = WITHOUT.read_text().split()
    family = [importlib.import_module(name) for name in FAMILY if name not in absent]
    with tempfile.TemporaryDirectory() as root:
        folder = GridFolder(Path(root, "selftest"))
        spec = make_spec("mnist", {"data": "digits", "epochs": 1, "overfit_batches": 1}, seed=0)
        folder.batches.mkdir(parents=True)
        options = RunOptions(device="cpu", wandb=WandbOptions(mode="disabled"))
        write_jsonl(folder.batches / "1.jsonl", [Element((spec,), options).to_json()])
        code = run_element(folder.batches / "1.jsonl", 0, job="selftest")
        result = read_result(folder.run(spec.run_id))
        if code != 0 or result is None:
            print(folder.run(spec.run_id).log.read_text())
            return 1
    modules = (torch, *family, submitit, wandb, scipy, sklearn, xgboost, Image)
    print(", ".join(f"{module.__name__} {module.__version__}" for module in modules))
    print(f"without: {', '.join(absent)}")
    print(f"{result.steps} training step, test loss {result.metrics['test/loss']:.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
