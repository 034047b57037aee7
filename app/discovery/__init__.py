"""Finds the services that describe themselves on NATS (ADR-32)."""
