"""Servers, connections, delivery. The only package that imports nats-py."""
