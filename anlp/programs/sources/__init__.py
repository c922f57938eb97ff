"""Readers of what a program leaves: each reads only what is new, and tolerates torn ends."""
