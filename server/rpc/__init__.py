"""gRPC: the service as `vjepa2_ac.v1.Planning`, with health checks and reflection."""
