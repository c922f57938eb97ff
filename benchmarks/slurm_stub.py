"""A Slurm that takes everything and starts nothing: programs for PATH that answer at once and record their calls."""

from __future__ import annotations

from pathlib import Path

MAX_ARRAY_SIZE = 1001  # Slurm's default
COMMON = """\
#!/bin/bash
here={folder}
echo "${{0##*/}} $*" >> "$here/calls"
"""
PROGRAMS = {
    "scontrol": "echo 'MaxArraySize            = {limit}'\n",
    "sbatch": """\
for word in "$@"; do case $word in --array=*) last=${{word#--array=0-}}; last=${{last%%%*}};; esac; done
id=$((4711 + $(wc -l < "$here/arrays")))
echo "$id $last" >> "$here/arrays"
echo "$id"
""",
    # a row for each task, as of an array under way: the longest answer there is
    "squeue": """\
while read -r id last; do seq 0 "$last" | sed "s/.*/$id|&|{state}|n7|None/"; done < "$here/arrays"
""",
    "sacct": "",
    "scancel": "",
}


def install(folder: Path, *, state: str = "RUNNING", limit: int = MAX_ARRAY_SIZE) -> Path:
    """Writes the programs; returns the folder for PATH.

    Args:
        folder: an empty one, or none yet.
        state: of every task that was submitted.
        limit: the site's MaxArraySize.
    """
    (folder / "bin").mkdir(parents=True)
    for name in ("calls", "arrays"):
        (folder / name).touch()
    for name, body in PROGRAMS.items():
        program = folder / "bin" / name
        program.write_text((COMMON + body).format(folder=folder, limit=limit, state=state))
        program.chmod(0o755)
    return folder / "bin"


def take_calls(folder: Path) -> list[str]:
    """The names of the programs that were called since the last time, in order."""
    path = folder / "calls"
    names = [line.split()[0] for line in path.read_text().splitlines()]
    path.write_text("")
    return names
