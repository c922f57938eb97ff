from __future__ import annotations

import subprocess
import sys

import pytest

STEP_EVERY_OPTIMIZER = """
import sys
from anlp.runtime.preload import warm_up
warm_up()
import torch
from torch import nn
from anlp.training.optimizers import OPTIMIZERS, OptimizerOptions
for make in OPTIMIZERS.values():
    weight = nn.Parameter(torch.ones(3))
    optimizer = make([weight], OptimizerOptions(lr=0.1))
    weight.sum().backward()
    optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
    optimizer.zero_grad()
print("torch._dynamo" in sys.modules)
"""


@pytest.mark.slow
def test_no_optimizer_loads_the_compiler() -> None:
    done = subprocess.run(
        [sys.executable, "-c", STEP_EVERY_OPTIMIZER], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "False"
