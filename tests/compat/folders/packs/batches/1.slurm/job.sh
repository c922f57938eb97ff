#!/bin/bash
# Runs elements of /home/ann/runs/packs/batches/1.jsonl: task i of the array is element $1 + i.
# By hand: sbatch --array=0-2 /home/ann/runs/packs/batches/1.slurm/job.sh 0
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=2
#SBATCH --mem=4096M
#SBATCH --time=10
#SBATCH --chdir=/home/ann/anlp
#SBATCH --output=/home/ann/runs/packs/batches/1.slurm/%A_%a.out
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR2@90

# SIGUSR2 warns of the time limit or of preemption; it must not end what does not listen yet
trap '' USR2
export SUBMITIT_EXECUTOR=slurm
exec /home/ann/anlp/.venv/bin/python -m anlp.slurm_element --batch /home/ann/runs/packs/batches/1.jsonl --continuations 20 --limit-min 10 --first "${1:?first element of this array}"
