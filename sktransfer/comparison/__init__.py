"""Estimators side by side: the comparison, what it measured, and texts out of files."""
