"""Tests of jobs/schedulers/pbs."""
