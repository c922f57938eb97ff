"""Tests of anlp/datasets."""
