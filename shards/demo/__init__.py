"""A demo data set: procedural paintings laid out like WikiArt."""
