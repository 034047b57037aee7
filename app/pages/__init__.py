"""What the gateway says of itself: docs, health, problems, OpenAPI."""
