"""What a pool loads once so that none of its forked runs has to: torch, the tasks, the data sets, wandb's service."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

from anlp.data.sources import Sources
from anlp.record import read_jsonl
from anlp.settings import element_from_json
from anlp.tracking.wandb_service import preload, start_shared_service
from anlp.training.warm import warm_up


def prepare(batch: Path, cleanup: ExitStack, *, index: int | None = None) -> Sources:
    """The data sets of a batch file, loaded; runs that mirror to wandb find its service in their environment.

    With an index, only what that element needs.

    What cannot be loaded is left to the runs that need it, which report it in their results.
    """
    warm_up()
    forms = list(islice(read_jsonl(batch), index, None if index is None else index + 1))
    sources = Sources(Path(forms[0]["options"]["data_dir"]), batch.resolve().parents[2])
    sources.preload_elements(map(element_from_json, forms))
    if _mirrors(forms) and "WANDB_SERVICE" not in os.environ:
        preload()
        importlib.import_module("anlp.tracking.wandb")
        service = start_shared_service()
        cleanup.callback(service.stop)
        os.environ.update(service.environment)
    return sources


def _mirrors(forms: Iterable[Mapping[str, Any]]) -> bool:
    return any(form["options"]["wandb"]["mode"] != "disabled" for form in forms)
