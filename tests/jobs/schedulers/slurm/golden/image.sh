#!/bin/bash
# Runs elements of /home/user/runs/mnist/batches/3.jsonl: task i of the array is element $1 + i.
# By hand: sbatch --array=0-19 /home/user/runs/mnist/batches/3.slurm/job.sh 0
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=1
#SBATCH --time=30
#SBATCH --chdir=/home/user/work
#SBATCH --output=/home/user/runs/mnist/batches/3.slurm/%A_%a.out
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR2@90

export SUBMITIT_EXECUTOR=slurm
# of the environment the image gets these variables and no others; values never become words of a command
for name in "${!ANLP_@}" "${!CUDA_@}" "${!NCCL_@}" "${!NVIDIA_@}" "${!PBS_@}" "${!PYTORCH_@}" "${!SLURM_@}" "${!SUBMITIT_@}" "${!TORCH_@}" "${!WANDB_@}" \
    LANG LC_ALL LOGNAME TMPDIR TZ USER OMP_NUM_THREADS MKL_NUM_THREADS NUMEXPR_NUM_THREADS \
    OPENBLAS_NUM_THREADS VECLIB_MAXIMUM_THREADS HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy https_proxy \
    no_proxy; do
    if [ -n "${!name+set}" ]; then export "APPTAINERENV_$name=${!name}"; fi
done
# a temporary directory of the job's own is seen inside as well
case "${TMPDIR:-}" in
    '' | /tmp | /tmp/* | *[,:]*) ;;
    *) if [ -d "$TMPDIR" ]; then export APPTAINER_BIND="${APPTAINER_BIND:+$APPTAINER_BIND,}$TMPDIR"; fi ;;
esac
# SIGUSR2 warns of the time limit or of preemption. This shell alone gets it, and hands it to the program alone:
# the process that mounts the image has to live on. SIGTERM goes to everybody; it ends no script that still waits.
program=
signalled=
trap 'signalled=1; [ -z "$program" ] || kill -s USR2 "$program"' USR2
trap 'signalled=1' TERM
(
    trap '' USR2
    exec apptainer -q exec --cleanenv --no-eval --bind /home/user/runs/mnist:/home/user/runs/mnist --pwd /home/user/runs/mnist '/images/a b.sif' sh -c 'trap "" USR2; exec python "$@"' sh -m anlp.runtime.slurm_task --batch /home/user/runs/mnist/batches/3.jsonl --continuations 20 --limit-min 30 --in-image --first "${1:?first element of this array}"
) &
program=$!
# a signal ends `wait` early; the code of the program is what counts
code=
while :; do
    signalled=
    wait "$program"
    now=$?
    if [ "$now" -eq 127 ] && [ -n "$code" ]; then break; fi
    code=$now
    if [ -z "$signalled" ]; then break; fi
done
if [ "$code" -eq 85 ]; then # it has saved a checkpoint and may be continued, and there is no scontrol in an image
    code=3
    scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}" ||
        echo "could not requeue; the next submit continues it" >&2
fi
if [ "$code" -eq 255 ]; then code=72; fi # the container did not start; accounts cut 255 down to 127
exit "$code"
