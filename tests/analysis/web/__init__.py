"""Tests of analysis/web."""
