"""Errors, run specs, leases, filters and messages.

Imports the standard library, pydantic and PyYAML only.
"""
