"""The errors of a client as one tree; every message says what was expected, and what to do.

ClientError
├── SettingsError       a URL, certificate, header or option of the client that can't be used
├── InputError          the inputs do not fit the model; found before anything was sent
├── DependencyError     a package that only this call needs is not installed
├── ServerUnavailable   nothing answers, or the server is not ready; the only error that is retried: nothing was done
├── ConnectionLost      the connection ended before the answer: the request may have been executed, or not
├── NotTriton           something answers, but it is not a Triton Inference Server
├── DeadlineExceeded    no answer within the deadline
├── UnknownModel        the server does not have that model, or not in that version
├── MessageTooLarge     a request or an answer is larger than a limit allows
└── ServerRefused       the server answered with an error of its own, quoted in the message
    └── NoExplicitMode      it loads and unloads no models on request
"""

import difflib
from collections.abc import Iterable


class ClientError(Exception):
    """An error for the user: one line that says what is wrong, and a hint with the next step."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}. {self.hint}" if self.hint else self.message


class SettingsError(ClientError):
    """A URL, a certificate, a header or an option of the client can't be used."""


class InputError(ClientError):
    """An input does not fit the model: its name, dtype, shape or value. Nothing was sent."""


class DependencyError(ClientError):
    """A package that only this call needs is not installed."""


class ServerUnavailable(ClientError):
    """Nothing answers at the address, or the server is not ready, after all retries."""


class ConnectionLost(ClientError):
    """The connection ended after the request was sent and before its answer was complete; it is not retried.

    The server may have died, and it may have executed the request before that.
    """


class NotTriton(ClientError):
    """Something answers at the address, but not as a Triton Inference Server does."""


class DeadlineExceeded(ClientError):
    """There was no answer within the deadline; the server may still be working on it."""


class UnknownModel(ClientError):
    """The server does not have that model, or not in that version; the message names those that it has."""


class MessageTooLarge(ClientError):
    """A request or an answer is larger than the client's, the server's or the protocol's limit."""


class ServerRefused(ClientError):
    """The server answered with an error; the message quotes it."""


class NoExplicitMode(ServerRefused):
    """The server loads and unloads no models on request: it polls its repository, or never looks at it again."""

    SAID = "explicit model load / unload is not allowed"

    def __init__(self, message: str, hint: str = "Start it with --model-control-mode=explicit") -> None:
        super().__init__(message, hint)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return a sentence with the known words nearest to ``word``, or with all known words if none is near."""
    words = sorted(known)
    near = difflib.get_close_matches(word, words, n=3, cutoff=0.6)
    if near:
        return f"Did you mean {' or '.join(near)}?"
    return f"There is {', '.join(words[:20])}" if words else "There is none"
