"""REST: the service as JSON and pictures over HTTP, with a WebSocket for streams."""
