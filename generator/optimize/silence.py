"""Tools of ONNX Runtime, kept from the terminal: what they print, and what the sessions log that they open."""

from collections.abc import Iterator
from contextlib import contextmanager

from modelrepo.generator.system.quiet import quiet

# As ONNX Runtime counts: warnings and worse, which is its default, and what ends the process.
WARNING, FATAL = 2, 4


@contextmanager
def silent() -> Iterator[None]:
    """Be quiet about sessions too: they log on the process's own stderr, where Python can't redirect it."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(FATAL)
    try:
        with quiet():
            yield
    finally:
        onnxruntime.set_default_logger_severity(WARNING)
