"""One record for each response, and one file for each of its consumers."""
