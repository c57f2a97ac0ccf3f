"""A data set to try everything with: procedural paintings laid out like WikiArt."""
