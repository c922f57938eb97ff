"""One wandb run, opened, fed and closed, with settings that make it quick and quiet.

wandb is imported inside functions only: it takes a second, and runs without it need not load it.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from anlp.core import wandb_server
from anlp.core.spec import RunSpec
from anlp.core.units import shorten
from anlp.core.wandb_server import Site
from anlp.records.folders import RunFolder
from anlp.records.options import RunOptions

if TYPE_CHECKING:
    import wandb


Mode = Literal["online", "offline"]

FLUSH_S = 1.0  # a kill -9 can lose so much of the offline files
TRANSMIT_S = 2.0  # and so much on the server, until the run is continued
WRITTEN_S = 1.0
REST = ("files", "logs", "tmp")  # empty folders, and wandb's own logs of a copy that is whole
NAME_LENGTH = 100

# Diverged is a result (see `anlp.records.results.Outcome`). An interrupted run is marked as
# preempted before it exits.
EXIT_CODES: Mapping[str, int] = {"ok": 0, "diverged": 0, "failed": 1, "interrupted": 143}


# read by wandb only from the environment, or earlier than the settings of a run
QUIET: Mapping[str, str] = {
    "WANDB_SILENT": "true",
    "WANDB_ERROR_REPORTING": "false",
    "WANDB_DISABLE_GIT": "true",
}


class MirrorError(Exception):
    """Mirroring does not work this way; the text gives the reason."""


class Session:
    """A copy of the run in wandb, complete up to the last row logged.

    Args:
        mode: online adds to what the server has of this run, offline starts a new folder from
            nothing.
        finish_s: how long `finish` may wait for the server.
        is_of_program: whether the program made the run itself: its name and config stay.
    """

    def __init__(
        self,
        mode: Mode,
        spec: RunSpec,
        options: RunOptions,
        folder: RunFolder,
        finish_s: float,
        *,
        is_of_program: bool = False,
    ) -> None:
        import wandb

        self._mode = mode
        self._folder = folder
        self._run = wandb.init(
            project=options.wandb.project,
            entity=options.wandb.entity,
            group=options.wandb.group or None,
            tags=list(options.wandb.tags),
            job_type=options.purpose,
            id=spec.run_id,
            name=None if is_of_program else readable_name(spec, options),
            config=identity_of(spec) if is_of_program else config_of(spec),
            dir=str(folder.path),
            mode=mode,
            resume="allow" if mode == "online" else None,
            reinit="create_new",
            settings=wandb.Settings(**_settings(wandb.Settings, finish_s)),
        )
        self.path = Path(self._run.dir).parent
        if self.path.parent.resolve() != folder.wandb.resolve():
            raise MirrorError(f"{folder.wandb} cannot be written, wandb chose {self.path}")
        # `step` itself is 0 for a moment even where the server has rows
        self._next_step = self._run.starting_step

    @property
    def project_url(self) -> str:
        """Return the address of the project on the server; empty where wandb does not say."""
        return str(getattr(self._run, "project_url", "") or "")

    @property
    def has_rows(self) -> bool:
        """Return whether wandb has rows of this run already."""
        return self._next_step > 0

    def close(self) -> None:
        """Leave what wandb has as it was."""
        self._run.finish()

    def log(self, metrics: Mapping[str, Any], step: int) -> None:
        """Add a row unless wandb has that step; null stands for NaN."""
        if step < self._next_step:
            return
        values = {
            name: float("nan") if value is None else value
            for name, value in metrics.items()
            if name != "epoch"
        }
        self._run.log(values, step=step)
        self._next_step = step + 1

    def finish(self, outcome: str, summary: Mapping[str, Any]) -> None:
        """Return when everything is on disk (online: on the server).

        Raises:
            TimeoutError: the server did not take everything in time.
            MirrorError: the disk did not take everything.
        """
        self._run.summary.update({**summary, "outcome": outcome})
        if outcome == "interrupted":
            self._run.mark_preempting()
        self._run.finish(exit_code=EXIT_CODES.get(outcome, 1))
        if self._mode == "offline" and not self._is_whole():
            raise MirrorError(f"{self.path} is not complete (disk full?)")
        if self._mode == "offline":
            self._remove_rest()

    def _remove_rest(self) -> None:
        """Keep the one file that is uploaded: wandb leaves seven files and folders beside it.

        On clusters the number of files has a quota, too. `wandb sync` needs nothing else.
        """
        for name in REST:
            shutil.rmtree(self.path / name, ignore_errors=True)

    def _is_whole(self) -> bool:
        """Tell whether the last row is on disk.

        wandb does not report a full disk, and is done a little early.
        """
        deadline = time.monotonic() + WRITTEN_S
        while True:
            if any(b"outcome" in file.read_bytes() for file in self.path.glob("*.wandb")):
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(0.002)

    def remove_earlier(self) -> None:
        """Remove the folders of earlier attempts: this one has all of their rows."""
        for pattern in ("run-*", "offline-run-*"):  # as wandb calls them online and offline
            for path in self._folder.wandb.glob(pattern):
                if path.name != self.path.name:
                    shutil.rmtree(path, ignore_errors=True)


def readable_name(spec: RunSpec, options: RunOptions) -> str:
    """Return what varies in the grid, and the seed; only the settings are cut where it is long.

    Runs of earlier submissions do not say what varies: of them, what is not at its default.
    """
    values = spec.settings.values()
    names = [name for name in options.varying if name in values and spec.settings.applies(name)]
    if not options.varying:
        fields = type(spec.settings).model_fields
        names = [
            name
            for name, value in values.items()
            if name not in fields or value != fields[name].default
        ]
    seed = f"seed={spec.seed}"
    text = " ".join(f"{name}={shorten(values[name], options.digits)}" for name in names)
    room = NAME_LENGTH - len(seed) - 1
    if len(text) > room:
        text = text[: room - 1] + "…"
    return f"{text} {seed}".strip()


def config_of(spec: RunSpec) -> dict[str, Any]:
    """Return every resolved setting, the task, the seed and the configuration's id."""
    return {**spec.settings.values(), **identity_of(spec)}


def identity_of(spec: RunSpec) -> dict[str, Any]:
    """Return the task, the seed and the configuration's id."""
    return {"task": spec.task, "seed": spec.seed, "config_id": spec.config_id}


def _settings(kind: type[wandb.Settings], finish_s: float) -> dict[str, Any]:
    """Return the settings that this version of wandb has; names in `x_` come and go."""
    wanted = {
        "silent": True,
        "console": "off",
        "disable_git": True,
        "disable_code": True,
        "save_code": False,
        "symlink": False,
        "use_dot_wandb": False,
        "init_timeout": 5.0,
        "login_timeout": 2.0,
        "finish_timeout": finish_s,
        "finish_timeout_raises": True,
        "stop_fn": _do_not_stop,
        "x_disable_stats": True,
        "x_disable_meta": True,
        "x_disable_machine_info": True,
        "x_disable_viewer": True,
        "x_save_requirements": False,
        "x_transaction_log_flush_interval": FLUSH_S,
        "x_file_stream_transmit_interval": TRANSMIT_S,
    }
    return {name: value for name, value in wanted.items() if name in kind.model_fields}


def _do_not_stop() -> None:
    """Ignore the stop button of the web page, which would interrupt the training."""


def find_site() -> Site:
    """Return the server that wandb would use here, and the key for it if there is one."""
    return wandb_server.find_site(os.environ.get("WANDB_BASE_URL") or _default_url())


def _default_url() -> str:
    import wandb

    return str(wandb.Settings().base_url)
