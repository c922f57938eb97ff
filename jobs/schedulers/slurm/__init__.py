"""The scheduler `slurm`."""
