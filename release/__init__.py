"""Builds the files of a release: `make release`. It uses only the standard library, git, and tools that it starts."""


class NotReadyError(Exception):
    """There can be no release of this tree. The text says why, and what to do."""
