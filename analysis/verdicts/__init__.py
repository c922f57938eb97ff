"""Verdicts on learning curves: rules, evidence, breakdown by setting."""
