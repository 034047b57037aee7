"""Benchmarks: figures beside a peer that is measured in the same run."""
