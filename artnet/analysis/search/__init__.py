"""Evaluation of a search: its configurations ranked on val, what mattered, and test for those that are confirmed."""
