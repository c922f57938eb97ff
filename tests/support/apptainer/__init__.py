"""Tests of support/apptainer."""
