"""Tests of anlp/tracking."""
