"""The inputs of a model as a file of the user's samples shows them."""

from pathlib import Path
from typing import Any

from modelrepo.generator.specs.tensors import InputShape


def sampled(path: Path | None, column: str = "") -> tuple[InputShape, ...]:
    """Return the arrays of a file of samples as inputs, one without a name for a .npy; none for other files.

    The array ``column`` holds the labels, and is left out.

    Raises OptionError for a file that can't be read.
    """
    from modelrepo.generator.verification import datasets

    if path is None or path.suffix not in datasets.ARRAYS:
        return ()
    arrays = datasets.load(path, "")
    return tuple(
        InputShape(name, array.shape, _dtype(array)) for name, array in arrays.items() if name != column or not name
    )


def _dtype(array: Any) -> str:
    """Return the type that a model takes for an array: float32 for numpy's default of float64, object for text."""
    return {"float64": "float32"}.get(array.dtype.name, "object" if array.dtype.kind in "US" else array.dtype.name)
