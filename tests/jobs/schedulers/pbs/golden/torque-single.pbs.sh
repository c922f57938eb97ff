#!/bin/bash
#PBS -N mnist.3f2a9c0d1e4b.7
#PBS -l nodes=1:ppn=1
#PBS -l mem=4096mb
#PBS -l walltime=04:00:00
#PBS -l scratch_local=10gb
#PBS -q long
#PBS -j oe
#PBS -o /home/user/anlp/runs/mnist/batches/3.out/7.0.log
#PBS -r y
#PBS -m n

# Runs element 7 of /home/user/anlp/runs/mnist/batches/3.jsonl.
# All of it again: qsub /home/user/anlp/runs/mnist/batches/3.7.pbs.sh
# One of it, here: bash /home/user/anlp/runs/mnist/batches/3.7.pbs.sh
# Neither does harm: a run that has its result, or that another process is at, is left alone.

# shellcheck disable=SC2317  # functions that only a trap calls
fail() {
    echo "${HOSTNAME:-here}: $1" >&2
    exit 72
}

# too many runs of the batch failed alike: what has not begun is held back
if [ -e /home/user/anlp/runs/mnist/batches/3.tripped ]; then
    echo "${HOSTNAME:-here}: held back: too many runs failed alike" >&2
    exit 5
fi

# qdel and the time limit send TERM and leave about 10 s: the program saves a checkpoint and leaves with 3. By hand,
# Ctrl-C and a lost connection do the same: what runs in the background does not hear of them itself.
program=
signalled=
forward() {
    signalled=1
    program="${program:-${!:-}}"
    [ -n "$program" ] || exit 3
    signal="$1"
    shift
    trap '' "$@"  # once: a second one could meet Python while it leaves, and kill it
    kill -s "$signal" "$program" 2>/dev/null
}
trap 'forward TERM TERM INT HUP' TERM INT HUP
trap 'forward USR2 USR2' USR2

# A job starts in $HOME with a login shell's environment and nothing of the one that submitted it.
umask 027
export LANG=C.UTF-8
if ! type module >/dev/null 2>&1; then
    for file in /etc/profile.d/modules.sh /etc/profile.d/lmod.sh; do
        # shellcheck disable=SC1090
        [ -r "$file" ] && . "$file"
    done
fi
module load gcc/12.2 cuda/12.4 || fail "module load failed: gcc/12.2 cuda/12.4"
export PATH=/home/user/anlp/.venv/bin:"${PATH:-/usr/local/bin:/usr/bin:/bin}"
# the user's own file: secrets go no other way
if [ -r /home/user/.config/anlp/env ]; then
    set -a
    # shellcheck disable=SC1090,SC1091
    . /home/user/.config/anlp/env
    set +a
else
    echo 'env_file /home/user/.config/anlp/env: cannot be read on this node' >&2
fi
cd '/home/user/my project' || fail 'cannot enter /home/user/my project: is it on a file system that nodes see?'

element=7

# temporary files go to the job's own scratch directory, where the site gives one
scratch=
clean() {
    [ -z "$scratch" ] || rm -rf -- "$scratch"
}
trap clean EXIT
if [ -n "${SCRATCHDIR:-}" ]; then
    scratch="$(mktemp -d "$SCRATCHDIR/anlp.XXXXXX")" || fail "cannot write to $SCRATCHDIR"
    export TMPDIR="$scratch"
fi

/home/user/anlp/.venv/bin/python -m anlp.run --batch /home/user/anlp/runs/mnist/batches/3.jsonl --index "$element" --job "${PBS_JOBID:-}" &
program=$!

timer=

# a signal ends `wait` early; the code of the program is what counts
code=
while :; do
    signalled=
    wait "$program" 2>/dev/null
    now=$?
    # a program that died as the signal came is no child any more (127), or bash 5.2 says -1
    if [ "$now" -lt 0 ] || [ "$now" -eq 127 ] && [ -n "$code" ]; then break; fi
    code=$now
    if [ -z "$signalled" ]; then break; fi
done
[ -z "$timer" ] || kill "$timer" 2>/dev/null
exit "${code:-143}"
