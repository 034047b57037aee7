"""Connections to NATS servers, and the delivery of requests and replies. The only package that imports nats-py."""
