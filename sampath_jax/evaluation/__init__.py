"""Predictions, metrics and reports."""
