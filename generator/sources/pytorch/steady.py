"""Models whose answer to some inputs hangs on rounding: which boxes are found, or how a plain image has moved."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from modelrepo.generator.errors import Unsteady
from modelrepo.generator.specs.source import SourceModel
from modelrepo.generator.specs.tensors import Arrays

# By how much an input around 1 is changed, up and down, to see that: detectors' scores and boxes then move up to ten
# times as far as when they are converted. They may move as far as FP32 is allowed (see comparison.py).
CHANGE, ALLOWED = 1e-5, 1e-3
KEPT_BYTES = 256 << 20


def steady(source: SourceModel) -> SourceModel:
    """Return a source that refuses inputs whose answers hang on rounding, as where two scores are all but equal.

    It raises Unsteady: no comparison could tell anything, since any conversion may answer them otherwise. Answers are
    kept, since exporting and verification ask the same several times, and here each costs three.
    """
    from modelrepo.generator.verification.remembered import Remembered  # brings numpy, which no help page needs

    def ask(arrays: Arrays) -> dict[str, Any]:
        answer = source.run(arrays)
        for change in (CHANGE, -CHANGE):
            if not _alike(answer, source.run({name: _changed(array, change) for name, array in arrays.items()})):
                told = f"it answers otherwise where the input changes by {CHANGE:g}"
                raise Unsteady(f"the source model lets rounding decide: {told}", answer)
        return answer

    kept = Remembered(ask, KEPT_BYTES)
    return replace(source, run=lambda arrays: dict(kept.recall(arrays)))


def _changed(array: Any, change: float) -> Any:
    import numpy as np

    noise = np.random.default_rng(0).standard_normal(array.shape)
    return (array + change * noise).astype(array.dtype)


def _alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    import numpy as np

    for name, answer in one.items():
        again = other[name]
        if answer.shape != again.shape:
            return False
        limit = ALLOWED * np.abs(answer).max(initial=0.0) if answer.dtype.kind == "f" else 0.0
        if np.abs(answer.astype(float) - again).max(initial=0.0) > limit:
            return False
    return True
