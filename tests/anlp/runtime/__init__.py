"""Tests of anlp/runtime."""
