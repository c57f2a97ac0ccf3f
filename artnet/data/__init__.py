"""From shards to batches: select a split, order it, decode and augment it with threads."""
