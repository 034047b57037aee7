"""What a route may declare, and which route a request has."""
