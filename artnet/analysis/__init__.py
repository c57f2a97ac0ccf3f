"""Evaluation of finished runs: the tables and the report page of a sweep."""
