"""The parts of a route, and the table that finds the route of a request."""
