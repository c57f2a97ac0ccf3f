"""What can be asked of a grid, whichever engine runs it."""
