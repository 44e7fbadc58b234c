"""Comparing estimators: splits, fits, results, and labeled texts from files."""
