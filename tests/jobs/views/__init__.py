"""Tests of jobs/views."""
