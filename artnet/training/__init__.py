"""What a run does between its configuration and its result."""
