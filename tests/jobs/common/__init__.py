"""Tests of jobs/common."""
