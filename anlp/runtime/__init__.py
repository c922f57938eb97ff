"""Processes that run runs: the fork server, packed runs, Slurm tasks, containers."""
