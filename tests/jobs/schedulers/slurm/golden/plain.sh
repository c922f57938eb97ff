#!/bin/bash
# Runs elements of /home/user/runs/mnist/batches/3.jsonl: task i of the array is element $1 + i.
# By hand: sbatch --array=0-19 /home/user/runs/mnist/batches/3.slurm/job.sh 0
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=1
#SBATCH --chdir='/home/user/my work'
#SBATCH --output=/home/user/runs/mnist/batches/3.slurm/%A_%a.out
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR2@90

# SIGUSR2 warns of the time limit or of preemption; it must not end what does not listen yet
trap '' USR2
export SUBMITIT_EXECUTOR=slurm
exec /home/user/venv/bin/python -m anlp.runtime.slurm_task --batch /home/user/runs/mnist/batches/3.jsonl --continuations 20 --limit-min 0 --first "${1:?first element of this array}"
