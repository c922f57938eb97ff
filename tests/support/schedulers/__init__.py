"""Tests of support/schedulers."""
