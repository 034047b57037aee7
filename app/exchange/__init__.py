"""Turns one HTTP request into one answer: all rules, and no I/O."""
