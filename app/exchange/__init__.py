"""One request, one answer: all policy, and no I/O."""
