"""What this machine offers trainings: CPUs, GPUs, slots of both, and an environment."""
