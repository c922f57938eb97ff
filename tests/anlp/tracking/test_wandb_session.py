"""Everything that a grid's `wandb:` block says reaches `wandb.init`."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import wandb

from anlp.records.folders import RunFolder
from anlp.records.options import RunOptions, WandbOptions
from anlp.tasks import make_spec
from anlp.tracking.wandb_session import Session


class ReachedError(Exception):
    """Ends the session where wandb would begin."""


def test_every_option_of_wandb_is_an_argument_of_its_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}

    def start(**arguments: Any) -> None:
        given.update(arguments)
        raise ReachedError

    monkeypatch.setattr(wandb, "init", start)
    names = [field.name for field in fields(WandbOptions) if field.name != "mode"]
    values: dict[str, Any] = {
        name: (f"a {name}",) if name == "tags" else f"a {name}" for name in names
    }
    options = RunOptions(wandb=WandbOptions(**values))

    with pytest.raises(ReachedError):
        Session("offline", make_spec("mnist", {}, 0), options, RunFolder(tmp_path / "run"), 1.0)

    passed = str([given.get(name) for name in names])
    assert [name for name in names if f"a {name}" not in passed] == []
