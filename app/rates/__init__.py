"""Rate limits that many gateways count together, in a Redis or Valkey server."""
