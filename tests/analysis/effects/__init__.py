"""Tests of analysis/effects."""
