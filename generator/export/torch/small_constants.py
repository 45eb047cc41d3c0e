"""Constants that onnxscript's optimizer takes for 0 or 1, and leaves out.

It removes ``x + 1e-9`` and ``x * 1.000001``, since it compares with a tolerance; no issue known. So log(p + 1e-10)
becomes -inf where p is 0, and a norm that is kept from being 0 becomes NaN.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch


@contextmanager
def kept() -> Iterator[None]:
    """Let the optimizer leave out exact zeros and ones only."""
    from onnxscript.rewriter import _matcher

    exact = SimpleNamespace(**{**vars(math), "isclose": _equal})
    with patch.object(_matcher, "math", exact):
        yield


def _equal(one: Any, other: Any, **tolerances: float) -> bool:
    return bool(one == other)
