"""How things are written: HTTP fields, NATS messages, subjects, units, schemas. Pure."""
