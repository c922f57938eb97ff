"""Tests of anlp/tasks."""
