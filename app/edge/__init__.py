"""The conditions that a route sets for its callers. They are checked before anything is sent to NATS. Pure."""
