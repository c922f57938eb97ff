"""Tests of support/schedulers/pbs."""
