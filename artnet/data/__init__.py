"""From shards to batches: choose a split, order it, decode and augment with threads."""
