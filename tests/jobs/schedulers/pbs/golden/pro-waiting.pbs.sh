#!/bin/bash
#PBS -N mnist.3f2a9c0d1e4b.0
#PBS -l select=1:ncpus=1:mem=4096mb
#PBS -l walltime=04:00:00
#PBS -j oe
#PBS -o /home/user/anlp/runs/mnist/batches/3.out/0.^array_index^.log
#PBS -r y
#PBS -m n
#PBS -J 0-9

# Runs elements 0 to 9 of /home/user/anlp/runs/mnist/batches/3.jsonl.
# All of it again: qsub /home/user/anlp/runs/mnist/batches/3.0.pbs.sh
# One of it, here: PBS_ARRAY_INDEX=0 bash /home/user/anlp/runs/mnist/batches/3.0.pbs.sh    (that is element 0)
# Neither does harm: a run that has its result, or that another process is at, is left alone.
# It was submitted to start once the canaries have ended well (qsub -W depend).

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
umask 077
export LANG=C.UTF-8
export PATH=/home/user/anlp/.venv/bin:"${PATH:-/usr/local/bin:/usr/bin:/bin}"
cd '/home/user/my project' || fail 'cannot enter /home/user/my project: is it on a file system that nodes see?'

index="${PBS_ARRAY_INDEX:-${PBS_ARRAYID:-}}"
[[ "$index" =~ ^[0-9]+$ ]] || fail "not a sub-job of an array: PBS_ARRAY_INDEX is not set"
element=$((0 + 10#$index))

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

# PBS gives no warning: ours comes 120 s before the limit, to the program alone; a signal to
# the whole job would end the process that mounts an image, too. USR2: apptainer hands it on, but not SIGURG.
(
    nap=
    trap '[ -z "$nap" ] || kill "$nap"; exit' TERM
    left=$((14280 - SECONDS))
    sleep "$((left > 0 ? left : 0))" &
    nap=$!
    wait "$nap" && kill -0 "$$" && kill -s USR2 "$program"
) >/dev/null 2>&1 &
timer=$!

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
