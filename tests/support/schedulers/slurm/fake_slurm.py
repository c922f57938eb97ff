"""A Slurm that takes everything and starts nothing: programs for PATH that answer at once and
record their calls.

They are shell scripts, since the benchmarks time commands that call them.
"""

from __future__ import annotations

from pathlib import Path

MAX_ARRAY_SIZE = 1001  # Slurm's default
COMMON = """\
#!/bin/bash
here={folder}
echo "${{0##*/}} $*" >> "$here/calls"
"""
PROGRAMS = {
    "scontrol": """\
if [ "$1" = ping ]; then echo 'Slurmctld(primary) at head is UP'
else echo 'MaxArraySize            = {limit}'; fi
""",
    "sbatch": """\
for word in "$@"; do
    case $word in
        --array=*) last=${{word#--array=0-}}; last=${{last%%%*}} ;;
        --job-name=*) name=${{word#--job-name=}} ;;
    esac
done
id=$((4711 + $(wc -l < "$here/arrays")))
echo "$id $last $name" >> "$here/arrays"
echo "$id"
""",
    # waiting arrays have one row, and those under way a row for each task: the longest answer there
    # is
    "squeue": """\
while read -r id last name; do
    if [ -e "$here/cancelled.$id" ]; then continue; fi
    if [[ "$*" == *%j* ]]; then echo "$id|0-$last|$name"
    elif [ {state} = PENDING ]; then echo "$id|0-$last|PENDING||JobHeldUser"
    else seq 0 "$last" | sed "s/.*/$id|&|{state}|n7|None/"; fi
done < "$here/arrays"
""",
    "sacct": """\
while read -r id last name; do
    if [ -e "$here/cancelled.$id" ]; then
        echo "${{id}}_[0-$last]|CANCELLED by 0|0:0|0:0|None assigned"
    fi
done < "$here/arrays"
""",
    "scancel": """\
for word in "$@"; do touch "$here/cancelled.${{word%%_*}}"; done
""",
}


def install(folder: Path, *, state: str = "RUNNING", limit: int = MAX_ARRAY_SIZE) -> Path:
    """Writes the programs; returns the folder for PATH.

    Args:
        folder: an empty one, or none yet.
        state: of every task that was submitted and not cancelled.
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
