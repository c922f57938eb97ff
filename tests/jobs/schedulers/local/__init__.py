"""Tests of jobs/schedulers/local."""
