"""The console: one static page that asks the service as any other caller would."""
