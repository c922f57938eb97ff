"""Errors, run specs, leases, filters and messages; imports the standard library, pydantic and PyYAML only."""
