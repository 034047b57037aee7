"""The HTTP side of the gateway: uvicorn's server and protocol, as the gateway runs them, and the two lanes."""
