"""The public keys of issuers of tokens, fetched in the background."""
