#!/bin/bash
# Runs elements of /home/user/runs/mnist/batches/3.jsonl: task i of the array is element $1 + i.
# By hand: sbatch --array=0-19 /home/user/runs/mnist/batches/3.slurm/job.sh 0
#SBATCH --partition=gpu
#SBATCH --account=physics
#SBATCH --qos=high
#SBATCH --constraint='[fast|new]'
#SBATCH --exclude='n[1-3],n7'
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=4
#SBATCH --gres=gpu:a100:2
#SBATCH --mem=8192M
#SBATCH --time=91
#SBATCH --reservation=course
#SBATCH --exclusive
#SBATCH --chdir='/home/user/my work'
#SBATCH --output=/home/user/runs/mnist/batches/3.slurm/%A_%a.out
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR2@90

# SIGUSR2 warns of the time limit or of preemption; it must not end what does not listen yet
trap '' USR2
export SUBMITIT_EXECUTOR=slurm
exec apptainer exec '/images/a b.sif' python -m anlp.runtime.slurm_task --batch /home/user/runs/mnist/batches/3.jsonl --continuations 20 --limit-min 91 --first "${1:?first element of this array}"
