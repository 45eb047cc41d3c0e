"""The settings of a client: the address in a URL, TLS, headers, and retries."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import uniform
from typing import TypedDict
from urllib.parse import urlsplit

from modelrepo.clients.errors import SettingsError

SCHEMES = {"grpc": ("grpc", False), "grpcs": ("grpc", True), "http": ("http", False), "https": ("http", True)}
USUAL_PORTS = {"grpc": 8001, "http": 8000}
DEADLINE = 60.0
LOOPBACK = ("localhost", "127.0.0.1", "::1")
COMPRESSIONS = (None, "gzip", "deflate")
# RFC 9110's token; gRPC allows fewer characters, and only lower-case ones.
_HEADER_NAME = {"http": re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"), "grpc": re.compile(r"[0-9a-z_.-]+")}
_HEADER_VALUE = re.compile(r"[\x20-\x7e]*")


@dataclass(frozen=True)
class Address:
    """A server's address: the protocol, ``grpc`` or ``http``, and for HTTP the path before ``/v2``."""

    protocol: str
    host: str
    port: int
    secure: bool
    path: str = ""

    @property
    def netloc(self) -> str:
        """Host and port, as in a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def on_loopback(self) -> bool:
        """Whether the server runs on this machine."""
        return self.host in LOOPBACK

    def __str__(self) -> str:
        return f"{self.protocol}{'s' * self.secure}://{self.netloc}{self.path}"


def parse_url(url: str, protocol: str | None = None) -> Address:
    """Return the address in ``grpc://host:port``, ``grpcs://``, ``http://``, ``https://``, or a bare ``host:port``.

    Raises SettingsError for anything else, and for a scheme that does not belong to ``protocol``.
    """
    scheme, separator, _ = url.partition("://")
    if not separator:
        if protocol is None:
            raise SettingsError(f"the URL {url!r} has no scheme", f"Write grpc://{url} or http://{url}")
        scheme, url = protocol, f"{protocol}://{url}"
    found, secure = SCHEMES.get(scheme.lower(), (None, False))
    if found is None:
        raise SettingsError(f"unknown scheme in the URL {url!r}", f"Use one of {', '.join(SCHEMES)}")
    if protocol not in (None, found):
        other = "HttpClient" if found == "http" else "GrpcClient"
        raise SettingsError(f"the URL {url!r} is not for {protocol}", f"Use {other}, or connect()")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise SettingsError(f"the URL {url!r} can't be read: {error}") from error
    if parts.username or parts.password:
        raise SettingsError(f"the URL of {host} holds a user or a password", "Send them in a header")
    if not host or re.search(r"[\s@?#]", url) or (found == "grpc" and parts.path.strip("/")):
        raise SettingsError(f"the URL {url!r} can't be used", f"Write it as {scheme}://host:port")
    try:
        host.encode("idna")
    except UnicodeError as error:
        raise SettingsError(f"the URL {url!r} has an impossible host name", "Write it as host:port") from error
    if not port:
        raise SettingsError(f"the URL {url!r} names no port", f"Triton's usual one is {USUAL_PORTS[found]}")
    return Address(found, host, port, secure, parts.path.rstrip("/"))


@dataclass(frozen=True)
class Tls:
    """PEM files: the root certificates for the server's (default: the system's), and the client's key and chain."""

    root_certificates: Path | None = None
    private_key: Path | None = None
    certificate_chain: Path | None = None

    def check(self) -> None:
        """Raise SettingsError unless every file is readable, and the client's key and certificate come together."""
        for path in filter(None, (self.root_certificates, self.private_key, self.certificate_chain)):
            try:
                path.open("rb").close()
            except OSError as error:
                raise SettingsError(f"can't read the certificate file {path}: {error.strerror}") from error
        if (self.private_key is None) != (self.certificate_chain is None):
            raise SettingsError("a client needs both a private key and a certificate chain", "Give both or none")


@dataclass(frozen=True)
class Retry:
    """How often to ask an unavailable server again, and the seconds before each retry: doubling, up to ``most``."""

    times: int = 4
    first: float = 0.1
    most: float = 2.0

    def pauses(self) -> Iterator[float]:
        """Yield the seconds to wait before each retry, shortened at random so that clients spread out."""
        for number in range(self.times):
            yield min(self.most, self.first * 2**number) * uniform(0.5, 1.0)  # noqa: S311 - no secret


class ClientOptions(TypedDict, total=False):
    """The options of every client beside the URL, by keyword.

    deadline      seconds for a call without one of its own, retries included; None: no limit. Default: 60
    headers       sent with every call. Default: none
    tls           certificates, for grpcs:// and https:// only. Default: the system's
    compression   "gzip" or "deflate". Default: None
    retry         how often to ask an unavailable server again. Default: Retry()
    """

    deadline: float | None
    headers: Mapping[str, str] | None
    tls: Tls | None
    compression: str | None
    retry: Retry | None


@dataclass(frozen=True)
class Settings:
    """A client's settings: the server's address, and ``ClientOptions`` with their defaults filled in."""

    address: Address
    deadline: float | None
    headers: Mapping[str, str]
    tls: Tls
    compression: str | None
    retry: Retry

    def __post_init__(self) -> None:
        if self.compression not in COMPRESSIONS:
            raise SettingsError(f"unknown compression {self.compression!r}", "Use gzip, deflate or None")
        check_deadline(self.deadline)
        self.tls.check()


# Eleven days: the clocks of both protocols do not overflow.
LONGEST_DEADLINE = 1_000_000


def check_deadline(seconds: float | None) -> None:
    """Raise SettingsError unless a deadline is None or a positive number of seconds."""
    if seconds is not None and not 0 < seconds <= LONGEST_DEADLINE:
        raise SettingsError(
            f"can't use a deadline of {seconds} seconds",
            f"Give more than 0 and at most {LONGEST_DEADLINE}, or None for no limit",
        )


def make_settings(
    url: str,
    protocol: str,
    *,
    deadline: float | None = DEADLINE,
    headers: Mapping[str, str] | None = None,
    tls: Tls | None = None,
    compression: str | None = None,
    retry: Retry | None = None,
) -> Settings:
    """Return a client's settings from its URL and ``ClientOptions``; SettingsError for a value that can't be used."""
    address = parse_url(url, protocol)
    if tls is not None and not address.secure:
        raise SettingsError(f"TLS certificates were given, but {address} is not a TLS URL", f"Use {protocol}s://")
    checked = check_headers(headers or {}, protocol)
    return Settings(address, deadline, checked, tls or Tls(), compression, retry or Retry())


def check_headers(headers: Mapping[str, str], protocol: str) -> dict[str, str]:
    """Return the headers in the protocol's spelling; SettingsError for one that would break a request."""
    lower = {name.lower(): value for name, value in headers.items()}
    for name, value in lower.items():
        # gRPC reads values of names that end in -bin as binary; the others describe the body, which we send.
        ours = name in ("content-length", "transfer-encoding") or (protocol == "grpc" and name.endswith("-bin"))
        if ours or not _HEADER_NAME[protocol].fullmatch(name):
            raise SettingsError(f"{name!r} can't be sent as a header")
        if not _HEADER_VALUE.fullmatch(value):
            raise SettingsError(f"the value of the header {name} has characters other than printable ASCII")
    return lower
