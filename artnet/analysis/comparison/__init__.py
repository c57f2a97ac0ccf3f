"""Differences between models in test top-1, tested as differences, with the family of comparisons corrected for."""
