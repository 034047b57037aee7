"""Fetches the public keys of issuers of tokens in the background."""
