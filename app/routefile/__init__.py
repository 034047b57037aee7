"""Reads route files: YAML becomes routes, and each error names its file, line and column."""
