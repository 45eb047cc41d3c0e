"""HTTP: requests and answers encoded by tritonclient, over connections that any thread may use.

tritonclient's own HTTP client belongs to one thread and has no limit for a whole call, so only its encoding is used.
"""

import gzip
import http.client
import json
import socket
import ssl
import zlib
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from selectors import EVENT_READ, DefaultSelector
from time import monotonic
from typing import Any
from urllib.parse import quote

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
from modelrepo.clients.settings import Address, Settings, Tls
from modelrepo.clients.wire import make_inputs, make_outputs, read_answer, step_of

CHUNK = 1 << 20
# Calls whose answer is empty.
SILENT = ("load", "unload", "register", "unregister")
HEADER_LENGTH = "Inference-Header-Content-Length"
COMPRESS: Mapping[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress}


@dataclass(frozen=True)
class Call:
    """An HTTP request."""

    method: str
    path: str
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Reply:
    """An HTTP response, read to its end."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


class HttpWire:
    """Connections to one server, kept open between calls."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._address = settings.address
        self._tls = _tls_context(settings.tls) if settings.address.secure else None
        self._idle: deque[http.client.HTTPConnection] = deque()

    def call(self, ask: Ask) -> Any:
        """Make a call and return the content of its answer: outputs by name, a JSON document, or a boolean."""
        reply = self._exchange(make_call(ask, self._settings), ask.seconds)
        if ask.call in ("live", "ready", "model_ready"):
            return reply.status == http.client.OK
        if reply.status != http.client.OK:
            raise _refusal(reply, self._address)
        if ask.call == "infer":
            return _answer(ask.arguments[0], reply)
        return None if ask.call in SILENT else _document(reply, self._address)

    def _exchange(self, call: Call, seconds: float | None) -> Reply:
        """Send a call once and read its answer: a server may have begun with a request that it never answers."""
        end = None if seconds is None else monotonic() + seconds
        connection = self._kept() or self._connection()
        try:
            if connection.sock is None:
                connection.timeout = _left(end)
                connection.connect()
            reply = self._exchange_on(connection, call, end)
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)
        return reply

    def _kept(self) -> http.client.HTTPConnection | None:
        """Return an idle connection that the server has not closed, or None."""
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            if connection.sock is not None and not _readable(connection.sock):
                return connection
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self._address.host, self._address.port
        if self._tls is not None:
            return http.client.HTTPSConnection(host, port, context=self._tls)
        return http.client.HTTPConnection(host, port)

    def _exchange_on(self, connection: http.client.HTTPConnection, call: Call, end: float | None) -> Reply:
        """Send a call and read its answer; ConnectionLost if the connection ends before it is complete."""
        sock: socket.socket = connection.sock
        try:
            sock.settimeout(_left(end))
            connection.request(call.method, call.path, call.body, dict(call.headers))
            sock.settimeout(_left(end))
            response = connection.getresponse()
            return Reply(response.status, response.headers, _read(response, sock, end))
        except (ssl.SSLEOFError, http.client.IncompleteRead) as error:
            raise _lost(self._address) from error
        except (TimeoutError, ssl.SSLError):  # a server may refuse the client's certificate as late as here
            raise
        except OSError as error:
            raise _lost(self._address) from error

    def translate(self, error: Exception) -> ClientError:
        """Return an error of a connection as a ClientError."""
        address = self._address
        match error:
            case ClientError():
                return error
            case TimeoutError():
                return DeadlineExceeded(
                    f"no answer from {address} within the deadline", "Give it more time, or less work"
                )
            case ssl.SSLError():
                return SettingsError(f"no TLS connection to {address}: {error}", "Check the certificates of Tls")
            case http.client.HTTPException():
                return NotTriton(f"the server at {address} does not speak HTTP", "Use Triton's HTTP port")
            case OSError():
                reason = error.strerror or str(error)
                return ServerUnavailable(f"{address} is unavailable: {reason}", "Is the server running?")
            case _:
                raise error

    def close(self) -> None:
        """Close the connections that no call uses."""
        while self._idle:
            self._idle.pop().close()


def _readable(sock: socket.socket) -> bool:
    """Whether an idle connection has data. As no call uses it, that is its end."""
    with DefaultSelector() as selector:  # select() fails for descriptors above 1023
        selector.register(sock, EVENT_READ)
        return bool(selector.select(timeout=0))


def _read(response: http.client.HTTPResponse, sock: socket.socket, end: float | None) -> bytes:
    """Read a body to its end, within the time that is left."""
    body = bytearray()
    while not response.isclosed():
        sock.settimeout(_left(end))
        piece = response.read1(CHUNK)
        if not piece:
            break
        body += piece
    response.close()
    announced = response.headers.get("Content-Length", str(len(body)))
    if not announced.isdecimal():
        raise http.client.HTTPException(f"an answer of length {announced!r}")
    missing = int(announced) - len(body)
    if missing:
        raise http.client.IncompleteRead(b"", missing)
    return bytes(body)


def _left(end: float | None) -> float | None:
    if end is None:
        return None
    left = end - monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _lost(address: Address) -> ConnectionLost:
    return ConnectionLost(f"{address} closed the connection before its answer was complete", "See its log")


def _tls_context(tls: Tls) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=tls.root_certificates)
        if tls.certificate_chain is not None:
            context.load_cert_chain(tls.certificate_chain, tls.private_key)
    except ssl.SSLError as error:
        raise SettingsError(f"a certificate file can't be used: {error}", "PEM files are expected") from error
    return context


def make_call(ask: Ask, settings: Settings) -> Call:
    """Return the HTTP request of a call."""
    base = settings.address.path
    headers = tuple(settings.headers.items())
    match ask.call, ask.arguments:
        case "live" | "ready", _:
            path = f"/v2/health/{ask.call}"
        case "server", _:
            path = "/v2"
        case "index", _:
            return Call("POST", f"{base}/v2/repository/index", b"{}", headers)
        case "load", (name, config):
            body = json.dumps({} if config is None else {"parameters": {"config": config}}).encode()
            return Call("POST", f"{base}/v2/repository/models/{quote(name, safe='')}/load", body, headers)
        case "unload", (name,):
            return Call("POST", f"{base}/v2/repository/models/{quote(name, safe='')}/unload", b"{}", headers)
        case "register", (name, key, size):
            body = json.dumps({"key": key, "offset": 0, "byte_size": size}).encode()
            return Call("POST", f"{base}/v2/systemsharedmemory/region/{quote(name)}/register", body, headers)
        case "unregister", (name,):
            return Call("POST", f"{base}/v2/systemsharedmemory/region/{quote(name)}/unregister", b"", headers)
        case "infer", (request,):
            return _infer_call(request, base, headers, settings.compression)
        case call, (name, version):
            path = _model_path(name, version) + {"metadata": "", "model_ready": "/ready", "statistics": "/stats"}.get(
                call, f"/{call}"
            )
    return Call("GET", f"{base}{path}", headers=headers)


def _model_path(name: str, version: str) -> str:
    return f"/v2/models/{quote(name, safe='')}" + (f"/versions/{version}" if version else "")


def _infer_call(request: Request, base: str, headers: tuple[tuple[str, str], ...], compression: str | None) -> Call:
    from tritonclient import http as module

    body, header_length = module.InferenceServerClient.generate_request_body(
        make_inputs(request, module), make_outputs(request, module), timeout=request.microseconds, **step_of(request)
    )
    more = {}
    if header_length is not None:
        more[HEADER_LENGTH] = str(header_length)
    if compression is not None:
        body = COMPRESS[compression](body)
        more |= {"Content-Encoding": compression, "Accept-Encoding": compression}
    return Call("POST", f"{base}{_model_path(request.model, request.version)}/infer", body, (*headers, *more.items()))


def _answer(request: Request, reply: Reply) -> Answered:
    from tritonclient import http as module

    length = reply.headers.get(HEADER_LENGTH)
    result = module.InferenceServerClient.parse_response_body(
        reply.body,
        header_length=None if length is None else int(length),
        content_encoding=reply.headers.get("Content-Encoding"),
    )
    response = result.get_response()
    shapes = {output["name"]: tuple(output["shape"]) for output in response.get("outputs", ())}
    return read_answer(request, shapes, str(response.get("model_version", "")), result.as_numpy)


def _document(reply: Reply, address: Address) -> Any:
    try:
        return json.loads(reply.body)
    except ValueError as error:
        raise _not_triton(address) from error


def _not_triton(address: Address) -> NotTriton:
    return NotTriton(f"the server at {address} is not a Triton Inference Server", "Use Triton's HTTP port")


def _refusal(reply: Reply, address: Address) -> ClientError:
    """Return the ClientError for an error answer."""
    try:
        message = " ".join(str(json.loads(reply.body)["error"]).split())
    except (ValueError, KeyError, TypeError):
        message = ""
    match reply.status:
        case 503 if NoExplicitMode.SAID in message:  # the status is that of a server that is unavailable
            return NoExplicitMode(f"{address} refused: {message}")
        case 503:
            return ServerUnavailable(f"{address} is unavailable: {message or 'status 503'}", "Is the server ready?")
        case 413:
            return MessageTooLarge(f"{address} does not take a request of this size", "Send fewer samples at once")
        case 401 | 403:
            return ServerRefused(f"{address} refused with status {reply.status}", "Send its credentials with headers")
        case status if not message:
            if status < http.client.INTERNAL_SERVER_ERROR:
                return _not_triton(address)
            return ServerRefused(f"{address} answered with status {status} and no explanation")
        case _ if "unknown model" in message.lower():
            return UnknownModel(message)
        case _ if "timeout expired" in message.lower():
            return DeadlineExceeded(f"{address} gave up: {message}", "Give it more time, or less work")
        case _:
            return ServerRefused(f"{address} refused: {message}")
