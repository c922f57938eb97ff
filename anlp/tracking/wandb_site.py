"""The wandb server of this environment, by the version of wandb that is installed."""

from __future__ import annotations

import os

from anlp import wandb_site
from anlp.wandb_site import Site, is_answering

__all__ = ["Site", "find_site", "is_answering"]


def find_site() -> Site:
    """The server that wandb would use here, and the key for it if there is one."""
    return wandb_site.find_site(os.environ.get("WANDB_BASE_URL") or _default_url())


def _default_url() -> str:
    import wandb

    return str(wandb.Settings().base_url)
