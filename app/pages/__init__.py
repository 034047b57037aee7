"""The gateway's own pages: documentation, health, metrics, problems, status."""
