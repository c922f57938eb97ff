"""Tests of anlp/records."""
