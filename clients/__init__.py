"""Clients of a running Triton that use the model's own metadata. They need numpy and tritonclient only.

with GrpcClient("grpc://127.0.0.1:8001") as client:
    answer = client.infer("resnet50", images)["output"]
"""

from modelrepo.clients.async_client import AsyncGrpcClient
from modelrepo.clients.client import Client, GrpcClient, HttpClient, connect
from modelrepo.clients.images import load_image, load_pixels
from modelrepo.clients.models import Classification, Turn
from modelrepo.clients.settings import Retry, Tls

__all__ = [
    "AsyncGrpcClient",
    "Classification",
    "Client",
    "GrpcClient",
    "HttpClient",
    "Retry",
    "Tls",
    "Turn",
    "connect",
    "load_image",
    "load_pixels",
]
