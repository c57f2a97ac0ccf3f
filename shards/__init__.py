"""From label lists and image folders to WebDataset tar shards with an index, and back.

The bottom room: it imports nothing else of the project.
"""
