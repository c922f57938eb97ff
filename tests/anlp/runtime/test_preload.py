from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from anlp.records.elements import Element
from anlp.records.files import write_jsonl
from anlp.records.options import RunOptions, WandbOptions
from anlp.tasks import make_spec

LOOK = """
import os, sys
from contextlib import ExitStack
from pathlib import Path
from anlp.runtime.cgroups import thread_count
from anlp.runtime.preload import prepare
with ExitStack() as cleanup:
    datasets = prepare(Path(sys.argv[1]), cleanup)
    loaded = set(sys.modules)
    (key,) = datasets._loaded
    assert key.name == "digits" and datasets.get(key) is datasets.get(key)
    import torch
    assert not torch.cuda.is_initialized()
    lazy = {"anlp.training.attempt", "torch.utils.serialization.config"} - loaded
    print(thread_count(), "WANDB_SERVICE" in os.environ, sorted(lazy))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "has_service"), [("disabled", False), ("offline", True)])
def test_what_is_prepared_leaves_one_thread_no_cuda_and_nothing_to_load(
    tmp_path: Path, mode: str, has_service: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    options = RunOptions(wandb=WandbOptions(mode=mode))  # type: ignore[arg-type] # one of its literals, as text
    batch = tmp_path / "1.jsonl"
    write_jsonl(batch, [Element((make_spec("mnist", {"data": "digits"}, 0),), options).to_json()])

    done = subprocess.run(
        [sys.executable, "-c", LOOK, batch], capture_output=True, text=True, timeout=120
    )

    assert done.stdout.split(maxsplit=2) == ["1", str(has_service), "[]\n"], done.stderr
