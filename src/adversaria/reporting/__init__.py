"""Pages about runs: comparisons and diagnoses."""
