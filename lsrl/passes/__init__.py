"""Graph → graph: one pass a file, each a function of the file's name."""
