"""Tests of anlp/core."""
