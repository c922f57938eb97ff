"""Tests of jobs/containers."""
