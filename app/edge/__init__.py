"""What a route asks of its caller before anything is sent. Pure."""
