"""Reads and writes formats: HTTP fields, NATS messages, subjects, units, schemas. Pure."""
