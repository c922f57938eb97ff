"""Tests of anlp."""
