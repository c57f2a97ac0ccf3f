"""Engine 3: searches with Ray Tune."""
