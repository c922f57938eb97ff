"""A Slurm that takes everything and starts nothing: programs for PATH that answer at once and
record their calls; a test says what becomes of the tasks, and whether the programs answer at all.

They are shell scripts, since the benchmarks time commands that call them.
"""

from __future__ import annotations

from pathlib import Path

MAX_ARRAY_SIZE = 1001  # Slurm's default
DOWN = "Unable to contact slurm controller (connect failure)"
NO_DATABASE = "Problem talking to the database: Connection refused"
COMMON = """\
#!/bin/bash
here={folder}
echo "${{0##*/}} $*" >> "$here/calls"
if [ -e "$here/down" ]; then
    echo "${{0##*/}}: error: {down}" >&2
    exit 1
fi
read -r state < "$here/state"
"""
# prints the tasks of an array that were not cancelled, those that were, with `1` as second word
TASKS = """\
tasks() {{
    if [ -e "$here/cancelled.$1" ]; then
        seq 0 "$3" | awk -v some="$2" 'NR == FNR {{ gone[$1]; next }} ($1 in gone) == some' \\
            "$here/cancelled.$1" -
    elif [ "$2" = 0 ]; then
        seq 0 "$3"
    fi
}}
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
    "squeue": TASKS
    + """\
if [ -e "$here/forgotten" ]; then exit 0; fi
while read -r id last name; do
    if [[ "$*" == *%j* ]]; then echo "$id|0-$last|$name"
    elif [ "$state" = PENDING ] && [ ! -e "$here/cancelled.$id" ]; then
        echo "$id|0-$last|PENDING||JobHeldUser"
    else tasks "$id" 0 "$last" | sed "s/.*/$id|&|$state|n7|None/"; fi
done < "$here/arrays"
""",
    # an array of which no task ran and all were cancelled has one row, as in Slurm
    "sacct": TASKS
    + """\
if [ -e "$here/no_database" ]; then
    echo "sacct: error: {no_database}" >&2
    exit 1
fi
if [ -e "$here/silent" ]; then exit 0; fi
while read -r id last name; do
    if [ -e "$here/cancelled.$id" ] && [ -z "$(tasks "$id" 0 "$last")" ]; then
        echo "${{id}}_[0-$last]|CANCELLED by 0|0:0|0:0|None assigned"
    else
        tasks "$id" 1 "$last" | sed "s/.*/${{id}}_&|CANCELLED by 0|0:0|0:0|None assigned/"
        tasks "$id" 0 "$last" | sed "s/.*/${{id}}_&|$state|0:0|0:0|n7/"
    fi
done < "$here/arrays"
""",
    "scancel": """\
for word in "$@"; do
    case $word in *_*) ;; *) continue ;; esac
    spans=${{word#*_}}
    for span in $(echo "$spans" | tr -d '[]' | tr , ' '); do
        seq "${{span%-*}}" "${{span#*-}}"
    done >> "$here/cancelled.${{word%%_*}}"
done
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
    set_state(folder, state)
    words = {"folder": folder, "limit": limit, "down": DOWN, "no_database": NO_DATABASE}
    for name, body in PROGRAMS.items():
        program = folder / "bin" / name
        program.write_text((COMMON + body).format_map(words))
        program.chmod(0o755)
    return folder / "bin"


def set_silent(folder: Path, is_silent: bool = True) -> None:
    """The accounts answer and know no job: they lag, or they are of another cluster."""
    _set(folder / "silent", is_silent)


def forget_jobs(folder: Path) -> None:
    """The queue no longer knows jobs that have ended."""
    _set(folder / "forgotten", True)


def _set(path: Path, is_set: bool) -> None:
    if is_set:
        path.touch()
    else:
        path.unlink(missing_ok=True)


def add_array(folder: Path, job_id: str, size: int) -> None:
    """Adds an array as if it had been submitted before."""
    with (folder / "arrays").open("a") as arrays:
        arrays.write(f"{job_id} {size - 1} earlier\n")


def set_state(folder: Path, state: str) -> None:
    """Gives every task that was not cancelled this state: `RUNNING`, `TIMEOUT`."""
    (folder / "state").write_text(f"{state}\n")


def set_down(folder: Path, is_down: bool = True) -> None:
    """Lets every program fail, since the controller is away, or answer again."""
    _set_mark(folder / "down", is_down)


def set_no_database(folder: Path) -> None:
    """Lets sacct fail, since the accounts are away."""
    _set_mark(folder / "no_database", True)


def _set_mark(path: Path, is_set: bool) -> None:
    if is_set:
        path.touch()
    else:
        path.unlink(missing_ok=True)


def read_calls(folder: Path) -> list[str]:
    """The calls since the last `take_calls`, in order, with their arguments."""
    return (folder / "calls").read_text().splitlines()


def take_calls(folder: Path) -> list[str]:
    """The names of the programs that were called since the last time, in order."""
    names = [line.split()[0] for line in read_calls(folder)]
    (folder / "calls").write_text("")
    return names
