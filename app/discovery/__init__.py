"""Services that describe themselves on NATS (ADR-32)."""
