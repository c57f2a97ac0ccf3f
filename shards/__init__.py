"""Label lists and image folders to WebDataset tar shards with an index, and reading them back.

This package imports nothing else of the project.
"""
