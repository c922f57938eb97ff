"""Tests of anlp/builders."""
