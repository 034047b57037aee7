"""Example responders: each is one file, and runs in its own process (`python -m responders.greet`).

They share `_lifecycle` with each other. With the gateway they share only subjects and payloads.
"""
