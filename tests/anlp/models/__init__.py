"""Tests of anlp/models."""
