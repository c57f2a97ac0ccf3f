"""Tests on a real SLURM cluster: README.md says how one is made of this machine."""
