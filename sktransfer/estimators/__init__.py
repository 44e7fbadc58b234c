"""The estimators, one per file."""
