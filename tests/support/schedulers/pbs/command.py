"""The entry of every command of the pretended PBS: `command.py NAME SITE WORDS...`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[4]))  # programs are started by their path

from tests.support.schedulers.pbs.fake_pbs import HOST, RefusedError, Site, calls
from tests.support.schedulers.pbs.qdel import qalter, qdel
from tests.support.schedulers.pbs.qstat import qselect, qstat
from tests.support.schedulers.pbs.qsub import qsub

MAINS: Mapping[str, Callable[[Site, Sequence[str]], int]] = {
    "qsub": qsub,
    "qstat": qstat,
    "qselect": qselect,
    "qalter": qalter,
    "qdel": qdel,
}


def main(argv: Sequence[str]) -> int:
    command, folder, *words = argv
    site = Site(Path(folder), json.loads((Path(folder) / "config.json").read_text()))
    with (site.folder / "calls").open("a") as file:
        file.write(json.dumps([command, *words]) + "\n")
    try:
        if words != ["--version"]:
            time.sleep(site.config["hang_s"])
            _fail_if_down(site, command)
        return MAINS[command](site, words)
    except RefusedError as refused:
        print(refused.text, file=sys.stderr)
        return refused.code


def _fail_if_down(site: Site, command: str) -> None:
    asked = (
        len([call for call in calls(site.folder) if call[1:] != ["--version"]])
        if site.config["down_calls"]
        else 1
    )
    if site.config["down"] or asked <= site.config["down_calls"]:
        lost = f"{command}: cannot connect to server {HOST} (errno=15010)"
        if command == "qdel":
            lost = f"Couldn't connect to cluster: {HOST}"
        raise RefusedError(f"Connection refused\n{lost}", 255 if command == "qstat" else 162)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
