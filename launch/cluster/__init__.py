"""Engine 2: runs as jobs of SLURM."""
