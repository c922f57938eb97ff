"""What a pool loads once so that none of its forked runs has to: torch, the data sets, wandb and its service."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

from anlp.data.sources import Sources
from anlp.record import read_jsonl
from anlp.settings import element_from_json
from anlp.tracking.wandb_service import preload, start_shared_service


def prepare(batch: Path, cleanup: ExitStack) -> Sources:
    """The data sets of a batch file, loaded; runs that mirror to wandb find its service in their environment.

    A line that cannot be read is left to the run that it stands for, which reports it.
    """
    forms = list(read_jsonl(batch))
    first = element_from_json(forms[0])
    sources = Sources(Path(first.options.data_dir))
    sources.preload_elements([first])
    names = {str(spec["settings"].get("data", "")) for form in forms for spec in form["specs"]}
    sources.preload(sorted(names - {""}))
    if any(form["options"]["wandb"]["mode"] != "disabled" for form in forms) and "WANDB_SERVICE" not in os.environ:
        preload()
        service = start_shared_service()
        cleanup.callback(service.stop)
        os.environ.update(service.environment)
    return sources
