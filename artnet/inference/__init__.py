"""The network of a run at work: the forward pass, and predictions for a split."""
