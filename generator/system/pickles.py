"""The operations of a pickle, read and not run."""

import pickletools
import warnings
from collections.abc import Iterator
from typing import IO, Any


def operations(pickled: bytes | IO[bytes]) -> Iterator[tuple[str, Any]]:
    """Yield the name and the argument of each operation of a pickle, up to its STOP; ValueError for a damaged one.

    Python warns of the escapes that a damaged text may hold, which is nothing to a user: that is kept back.
    """
    steps = pickletools.genops(pickled)
    while True:
        with warnings.catch_warnings():  # for each step, because a filter that is set across a yield is set for all
            warnings.simplefilter("ignore", DeprecationWarning)
            step = next(steps, None)
        if step is None:
            return
        yield step[0].name, step[1]
