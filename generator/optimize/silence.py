"""Silence for ONNX Runtime's tools: neither they nor the sessions that they open write to the terminal."""

from collections.abc import Iterator
from contextlib import contextmanager

from modelrepo.generator.system.quiet import quiet

# ONNX Runtime's log levels: warnings and worse (its default), and fatal errors only.
WARNING, FATAL = 2, 4


@contextmanager
def silent() -> Iterator[None]:
    """Silence sessions, too: they log to the process's own stderr, which Python can't redirect."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(FATAL)
    try:
        with quiet():
            yield
    finally:
        onnxruntime.set_default_logger_severity(WARNING)
