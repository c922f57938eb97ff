"""Tests of analysis/data."""
