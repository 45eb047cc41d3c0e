"""Clients of a running Triton, driven by the model's own metadata. Importable alone: numpy and tritonclient suffice.

with GrpcClient("grpc://127.0.0.1:8001") as client:
    answer = client.infer("resnet50", images)["output"]
"""

from clients.async_client import AsyncGrpcClient
from clients.client import Client, GrpcClient, HttpClient, connect
from clients.images import load_image
from clients.models import Classification
from clients.settings import Retry, Tls

__all__ = [
    "AsyncGrpcClient",
    "Classification",
    "Client",
    "GrpcClient",
    "HttpClient",
    "Retry",
    "Tls",
    "connect",
    "load_image",
]
