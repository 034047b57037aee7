"""YAML to routes, every mistake with its place."""
