"""Tests of jobs/gridfile."""
