"""Tests of jobs/submission."""
