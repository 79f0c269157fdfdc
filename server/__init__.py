"""The planning service: one model, one queue, and the two protocols that lead to it, REST and gRPC."""
