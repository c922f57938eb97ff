"""Tests of jobs/runs."""
