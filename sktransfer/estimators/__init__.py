"""What users call: one estimator per file, on one base."""
