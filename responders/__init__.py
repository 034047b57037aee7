"""Example responders: one file each, each a process of its own (`python -m responders.greet`).

They share `_lifecycle` with each other, and nothing but subjects and payloads with the gateway.
"""
