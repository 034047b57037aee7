"""Callers: bytes in, bytes out. uvicorn's server and protocol as the gateway runs them, and the two lanes."""
