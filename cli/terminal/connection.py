"""The options of commands that ask a running server: its URL, headers, certificates, and how long to wait."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelrepo.generator.errors import OptionError

if TYPE_CHECKING:
    from modelrepo.clients import Client

Command = Callable[..., Any]
DEADLINE = 60.0
CONNECTION = (
    click.option("--deadline", type=float, default=DEADLINE, show_default=True, help="Seconds to wait for an answer."),
    click.option("--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="Send a header, such as a token."),
    click.option("--ca", type=click.Path(path_type=Path), metavar="FILE",
                 help="PEM file of the authorities to trust. Default: the system's."),
    click.option("--cert", type=click.Path(path_type=Path), metavar="FILE",
                 help="PEM file of this client's certificates."),
    click.option("--key", type=click.Path(path_type=Path), metavar="FILE",
                 help="PEM file of this client's private key."),
)  # fmt: skip
SERVER = (
    click.option("--url", help="A running server that follows: grpc://HOST:PORT, grpcs://, http:// or https://."),
    click.option("--wait", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS",
                 help="How long the server may take. Default: 600 if it loads on request, 60 if it polls."),
)  # fmt: skip


@dataclass(frozen=True)
class Connection:
    """How a server is asked: for how many seconds a call, with which headers and certificates."""

    deadline: float = DEADLINE
    headers: tuple[str, ...] = ()
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    def certificates(self) -> tuple[str, ...]:
        """Return the options for TLS that were given."""
        given = {"--ca": self.ca, "--cert": self.cert, "--key": self.key}
        return tuple(name for name, value in given.items() if value is not None)

    def client(self, url: str) -> "Client":
        """Return a client for a URL; SettingsError for what can't be used."""
        from modelrepo.cli.terminal.infer_inputs import read_headers
        from modelrepo.clients import Tls, connect

        tls = Tls(self.ca, self.key, self.cert) if self.certificates() else None
        return connect(url, deadline=self.deadline, headers=read_headers(self.headers), tls=tls)


@dataclass(frozen=True)
class At:
    """A running server that a change is applied to; ``wait`` is None for the default of what it does."""

    url: str
    connection: Connection
    wait: float | None


def connection_options(function: Command) -> Command:
    """Add the options of a connection to a command; it gets them as ``connection``."""

    @functools.wraps(function)
    def called(deadline: float, headers: tuple[str, ...], ca: Path | None, cert: Path | None, key: Path | None,
               **others: Any) -> Any:  # fmt: skip
        return function(connection=Connection(deadline, headers, ca, cert, key), **others)

    return _with(CONNECTION, called)


def server_options(function: Command) -> Command:
    """Add ``--url`` and the options that need it to a command; it gets them as ``at``, None without ``--url``."""

    @functools.wraps(function)
    def called(url: str | None, wait: float | None, connection: Connection, **others: Any) -> Any:
        given = [*(["--wait"] if wait is not None else []), *(["--header"] if connection.headers else [])]
        needless = [*given, *connection.certificates()]
        if url is None and needless:
            raise OptionError(f"{needless[0]} was given without --url", "Name the server with --url")
        return function(at=None if url is None else At(url, connection, wait), **others)

    return _with(SERVER, connection_options(called))


def _with(options: tuple[Callable[[Command], Command], ...], function: Command) -> Command:
    for option in reversed(options):
        function = option(function)
    return function
