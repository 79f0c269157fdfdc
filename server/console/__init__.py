"""The console: one static page that sends requests to the service as any other caller does."""
