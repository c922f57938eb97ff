"""Tests of support/schedulers/slurm."""
