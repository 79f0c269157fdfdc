"""What a gRPC service offers, asked of the service itself:  python examples/reflection.py [ADDRESS]

grpcurl asks the same way:  grpcurl -plaintext 127.0.0.1:8001 describe vjepa2_ac.v1.Planning
"""

from __future__ import annotations

import sys

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase


def describe(address: str) -> list[str]:
    """Every call of every service, as the proto file writes it."""
    lines = []
    with grpc.insecure_channel(address) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        pool = DescriptorPool(database)
        for name in sorted(database.get_services()):
            lines.append(f"service {name}")
            for method in pool.FindServiceByName(name).methods:
                asks = f"{'stream ' if method.client_streaming else ''}{method.input_type.name}"
                answers = f"{'stream ' if method.server_streaming else ''}{method.output_type.name}"
                lines.append(f"  rpc {method.name}({asks}) returns ({answers})")
    return lines


if __name__ == "__main__":
    print("\n".join(describe(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:8001")))
