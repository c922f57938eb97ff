"""Tests of anlp/data."""
