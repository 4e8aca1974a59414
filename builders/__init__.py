"""`datasets` builders, one a module: `candidates`, `trees`, `pairs`."""
