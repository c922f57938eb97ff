"""Tests of jobs/schedulers."""
