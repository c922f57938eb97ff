"""The environment of a user's own program: where it logs, who it is, and wandb's variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anlp.core.spec import RunSpec
from anlp.core.wandb_server import DEFAULT_URL, find_site, is_answering
from anlp.records.folders import GridFolder, RunFolder
from anlp.records.options import RunOptions
from anlp.records.program import METRICS_IN_WANDB, Program, ProgramMetrics

FLUSH_S = 2  # how often wandb writes its log: what a killed program loses
SETTINGS_IN_WANDB = "anlp"  # the name in wandb's config of a program's run
# of this suite's own processes: a program starts its own wandb
_NOT_PASSED = ("WANDB_SERVICE",)


@dataclass(frozen=True, slots=True)
class ProgramRun:
    """A run of a program, with all that starting it takes."""

    spec: RunSpec
    options: RunOptions
    folder: RunFolder
    program: Program

    @property
    def code_folder(self) -> Path:
        """Return where the project's code is: its copy, or the project itself."""
        if not self.program.code:
            return Path(self.program.project)
        return GridFolder(self.folder.path.parent).path / self.program.code

    @property
    def executable(self) -> str:
        """Return the path of the program, or the command's name."""
        if not self.program.path:
            return self.program.name
        return str(self.code_folder / self.program.path)


def environment_of(
    run: ProgramRun, inherited: Mapping[str, str], config: Path | None
) -> dict[str, str]:
    """Return the environment of a run's program.

    Args:
        run: the run.
        inherited: the environment of the job.
        config: a file with what wandb's config of the run gets beside the program's own, in the
            form that wandb's agents pass: it reads no other by a variable of the environment.
    """
    found = {key: text for key, text in inherited.items() if key not in _NOT_PASSED}
    if run.program.interpreter and not run.program.container:
        folder = str(Path(run.program.interpreter).parent)
        found["PATH"] = os.pathsep.join(part for part in (folder, found.get("PATH")) if part)
    found |= {
        "PYTHONUNBUFFERED": "1",  # what it prints is in the log at once
        "ANLP_RUN_ID": run.spec.run_id,
        "ANLP_SEED": str(run.spec.seed),
        "ANLP_RUN_DIR": str(run.folder.files),
        "ANLP_METRICS": str(run.folder.logged),
        "ANLP_GRID": run.folder.path.parent.name,
        **_of_wandb(run),
    }
    if config is not None:
        found["WANDB_SWEEP_PARAM_PATH"] = str(config)
    return found


def wandb_config(spec: RunSpec, metrics: ProgramMetrics) -> dict[str, Any]:
    """Return what wandb's config of a run gets, in the form of its config files.

    These names replace the program's own of the same name, so that the settings are below one name:
    what the program says of them stays beside it.
    """
    values = {
        "task": spec.task,
        "seed": spec.seed,
        "config_id": spec.config_id,
        SETTINGS_IN_WANDB: spec.settings.values(),
        METRICS_IN_WANDB: metrics.to_json(),
    }
    return {"wandb_version": 1, **{name: {"value": value} for name, value in values.items()}}


def _of_wandb(run: ProgramRun) -> dict[str, str]:
    """Return what makes the run that the program's own `wandb.init` begins this run."""
    mirror = run.options.wandb
    if mirror.mode == "disabled":
        return {"WANDB_MODE": "disabled"}
    found = {
        "WANDB_RUN_ID": run.spec.run_id,
        "WANDB_RESUME": "allow",
        "WANDB_PROJECT": mirror.project,
        "WANDB_RUN_GROUP": mirror.group,
        "WANDB_JOB_TYPE": run.options.purpose,
        "WANDB_TAGS": ",".join(mirror.tags),
        "WANDB_NAME": _name(run),
        "WANDB_DIR": str(run.folder.path),
        "WANDB_MODE": wandb_mode(mirror.mode),
        "WANDB_ENTITY": mirror.entity or "",
        "WANDB_X_TRANSACTION_LOG_FLUSH_INTERVAL": str(FLUSH_S),
    }
    return {key: text for key, text in found.items() if text}


def wandb_mode(asked: str) -> str:
    """Return online or offline for `auto`: WANDB_MODE, else online where a server takes a key.

    A program that begins an online run where no server answers would wait for it and then fail.
    """
    if asked != "auto":
        return asked
    wish = os.environ.get("WANDB_MODE")
    if wish in ("online", "offline"):
        return wish
    site = find_site(DEFAULT_URL)
    return "online" if site.key is not None and is_answering(site.url) else "offline"


def _name(run: ProgramRun) -> str:
    """Return what people read in wandb: the settings that are no default, and the seed."""
    chosen = [
        f"{name}={value}"
        for name, value in run.spec.settings.values().items()
        if run.program.defaults.get(name) != value
    ]
    return " ".join([*chosen, f"seed={run.spec.seed}"])
