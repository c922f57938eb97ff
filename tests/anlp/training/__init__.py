"""Tests of anlp/training."""
