"""Models with outputs that depend on rounding for some inputs: which boxes are found, how a plain image moved."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from modelrepo.generator.errors import Unsteady
from modelrepo.generator.specs.source import SourceModel
from modelrepo.generator.specs.tensors import Arrays

# The change of an input around 1, up and down, that shows it: detectors' scores and boxes then move up to ten times as
# far as by conversion. They may move as far as FP32 is allowed (see comparison.py).
CHANGE, ALLOWED = 1e-5, 1e-3
KEPT_BYTES = 256 << 20


def steady(source: SourceModel) -> SourceModel:
    """Return a source that refuses inputs for which rounding decides, such as two scores that are nearly equal.

    It raises Unsteady: such outputs can't be compared, since any conversion may change them. Outputs are kept, since
    exporting and verification ask the same inputs several times, and each takes three runs here.
    """
    from modelrepo.generator.verification.remembered import Remembered  # imports numpy, which no help page needs

    def ask(arrays: Arrays) -> dict[str, Any]:
        answer = source.run(arrays)
        for change in (CHANGE, -CHANGE):
            if not _close(answer, source.run({name: _changed(array, change) for name, array in arrays.items()})):
                reason = f"its outputs change if the input changes by {CHANGE:g}"
                raise Unsteady(f"the source model lets rounding decide: {reason}", answer)
        return answer

    kept = Remembered(ask, KEPT_BYTES)
    return replace(source, run=lambda arrays: dict(kept.recall(arrays)))


def _changed(array: Any, change: float) -> Any:
    import numpy as np

    noise = np.random.default_rng(0).standard_normal(array.shape)
    return (array + change * noise).astype(array.dtype)


def _close(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    import numpy as np

    for name, answer in one.items():
        again = other[name]
        if answer.shape != again.shape:
            return False
        limit = ALLOWED * np.abs(answer).max(initial=0.0) if answer.dtype.kind == "f" else 0.0
        if np.abs(answer.astype(float) - again).max(initial=0.0) > limit:
            return False
    return True
