"""gRPC by tritonclient, blocking or awaited: making each call, reading its answer, translating its errors."""

import re
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from modelrepo.clients.calls import Ask, Request
from modelrepo.clients.errors import (
    ClientError,
    ConnectionLost,
    DeadlineExceeded,
    MessageTooLarge,
    NoExplicitMode,
    NotTriton,
    ServerRefused,
    ServerUnavailable,
    SettingsError,
    UnknownModel,
)
from modelrepo.clients.models import Answered
from modelrepo.clients.settings import Address, Settings
from modelrepo.clients.wire import make_inputs, make_outputs, read_answer, step_of

# The largest message that protobuf allows, and so the default limit: gRPC's own is 4 MB.
LARGEST_MESSAGE = 2**31 - 1
# The time for one attempt to connect, which gRPC calls by another name (GRPC_ARG_MIN_RECONNECT_BACKOFF_MS is the
# min_connect_timeout of its subchannel.cc): a busy server takes seconds to greet. The pauses between attempts are not
# affected.
CONNECT_MILLISECONDS = 20_000
# For each call tritonclient's method, and the key of the content in its JSON.
METHODS: Mapping[str, tuple[str, str | None]] = {
    "live": ("is_server_live", None),
    "ready": ("is_server_ready", None),
    "model_ready": ("is_model_ready", None),
    "server": ("get_server_metadata", ""),
    "index": ("get_model_repository_index", "models"),
    "metadata": ("get_model_metadata", ""),
    "config": ("get_model_config", "config"),
    "statistics": ("get_inference_statistics", ""),
    "load": ("load_model", None),
    "unload": ("unload_model", None),
    "register": ("register_system_shared_memory", None),
    "unregister": ("unregister_system_shared_memory", None),
}


class GrpcWire:
    """One channel. ``start`` makes a call, or with ``asynchronous`` its coroutine; ``finish`` reads the reply."""

    def __init__(self, settings: Settings, max_message_bytes: int, asynchronous: bool = False) -> None:
        self._settings = settings
        self._max_message_bytes = max_message_bytes
        self._module = import_module("tritonclient.grpc.aio" if asynchronous else "tritonclient.grpc")
        tls = settings.tls
        self.client = self._module.InferenceServerClient(
            settings.address.netloc,
            ssl=settings.address.secure,
            root_certificates=tls.root_certificates,
            private_key=tls.private_key,
            certificate_chain=tls.certificate_chain,
            channel_args=channel_arguments(settings.address, max_message_bytes),
        )

    def start(self, ask: Ask) -> Any:
        """Make a call, or its coroutine."""
        common = {"headers": dict(self._settings.headers), "client_timeout": ask.seconds}
        if ask.call == "infer":
            return self._infer(ask.arguments[0], common)
        if ask.call == "load":
            name, config = ask.arguments
            return self.client.load_model(name, config=config, **common)
        method, key = METHODS[ask.call]
        if key is not None:
            common["as_json"] = True
        return getattr(self.client, method)(*ask.arguments, **common)

    def _infer(self, request: Request, common: dict[str, Any]) -> Any:
        size = sum(array.nbytes for array in request.inputs.values())
        if request.region is None and size > self._max_message_bytes:
            raise too_large(f"the request has {size:,} bytes", self._max_message_bytes)
        return self.client.infer(
            request.model,
            make_inputs(request, self._module),
            model_version=request.version,
            outputs=make_outputs(request, self._module),
            timeout=request.microseconds,
            compression_algorithm=self._settings.compression,
            **step_of(request),
            **common,
        )

    def finish(self, ask: Ask, reply: Any) -> Any:
        """Return the content of a reply: outputs by name, a JSON document, or a boolean."""
        if ask.call == "infer":
            return _answer(ask.arguments[0], reply)
        key = METHODS[ask.call][1]
        return reply.get(key, []) if key else reply

    def translate(self, error: Exception) -> ClientError:
        """Return an error of tritonclient as a ClientError."""
        if isinstance(error, ClientError):
            return error
        from tritonclient.utils import InferenceServerException

        if not isinstance(error, InferenceServerException):
            raise error
        status, message = str(error.status()), " ".join(str(error.message()).split())
        return _meaning(status, message, self._settings.address, self._max_message_bytes)


def channel_arguments(address: Address, max_message_bytes: int) -> list[tuple[str, int]]:
    """Return gRPC's channel options: message sizes, and reconnecting as fast as our retries."""
    if not 0 < max_message_bytes <= LARGEST_MESSAGE:
        raise SettingsError(f"max_message_bytes is {max_message_bytes}", f"Give 1 to {LARGEST_MESSAGE}")
    return [
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", CONNECT_MILLISECONDS),
        ("grpc.max_reconnect_backoff_ms", 1000),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_http_proxy", 0 if address.on_loopback else 1),
    ]


def _answer(request: Request, reply: Any) -> Answered:
    response = reply.get_response()
    shapes = {output.name: tuple(output.shape) for output in response.outputs}
    return read_answer(request, shapes, response.model_version, reply.as_numpy)


def too_large(what: str, limit: int) -> MessageTooLarge:
    """Return the error of a message that is larger than the limit."""
    return MessageTooLarge(
        f"{what}, more than the limit of one gRPC message: {limit:,}",
        "Raise max_message_bytes, ask for fewer samples or outputs at once, or use shared memory or HTTP",
    )


def _meaning(status: str, message: str, address: Address, limit: int) -> ClientError:
    match status.rpartition(".")[2]:
        case "UNAVAILABLE" | "INTERNAL" | "UNKNOWN" if _is_other_protocol(message):
            return NotTriton(f"the server at {address} does not speak gRPC", "Use Triton's gRPC port")
        case "UNAVAILABLE" if address.secure and _is_about_tls(message):
            return SettingsError(f"no TLS connection to {address}: {_reason(message)}", "Check the certificates of Tls")
        case "UNAVAILABLE" if _is_lost(message):
            return ConnectionLost(f"{address} closed the connection before its answer was complete", "See its log")
        case "UNAVAILABLE" if NoExplicitMode.SAID in message:  # the status is that of a server that is unavailable
            return NoExplicitMode(f"{address} refused: {message}")
        case "UNAVAILABLE":
            return ServerUnavailable(f"{address} is unavailable: {_reason(message)}", "Is the server running?")
        case "DEADLINE_EXCEEDED":
            return DeadlineExceeded(f"no answer from {address} within the deadline", "Give it more time, or less work")
        case "RESOURCE_EXHAUSTED" if found := re.search(r"larger than max \((\d+) vs", message):
            kind = "the request" if "sent message" in message.lower() or "SERVER" in message else "the answer"
            return too_large(f"{kind} has {int(found[1]):,} bytes", limit)
        case "UNIMPLEMENTED":
            return NotTriton(f"the server at {address} does not know Triton's calls", "Use Triton's gRPC port")
        case "NOT_FOUND":
            return UnknownModel(message)
        case "INVALID_ARGUMENT" if "unknown model" in message.lower():
            return UnknownModel(message)
        case "UNAUTHENTICATED" | "PERMISSION_DENIED":
            return ServerRefused(f"{address} refused: {message}", "Send its credentials with headers")
        case _:
            return ServerRefused(f"{address} refused: {message}")


def _is_other_protocol(message: str) -> bool:
    """Whether gRPC's message means an HTTP/1 server, or one that hung up on gRPC's greeting."""
    text = message.lower()
    if "failed to connect" in text and "socket closed" in text:
        return True
    return any(sign in text for sign in ("http1.x", "http/1", "http status", "http2 header", "invalid content-type"))


def _is_about_tls(message: str) -> bool:
    """Whether a message of gRPC's is about TLS; its ``tcp handshaker`` is what connects below TLS, and without it."""
    text = message.lower().replace("tcp handshaker", "")
    return "handshake" in text or "certificate" in text


def _is_lost(message: str) -> bool:
    """Whether an open connection, which may have carried the request, ended: gRPC's status does not say."""
    text = message.lower()
    signs = ("socket closed", "stream removed", "connection reset", "broken pipe", "goaway")
    return "failed to connect" not in text and any(sign in text for sign in signs)


def _reason(message: str) -> str:
    """Return the last reason in gRPC's report of a failed connection."""
    last = message.rpartition("last error: ")[2]
    return re.sub(r"^(\w+: )?(ipv[46]:\S+: )?", "", last)
