"""Tests of analysis/verdicts."""
