"""Training: from a run's configuration to its result."""
