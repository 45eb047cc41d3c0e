"""The answers of `modelrepo infer`: classes and outputs as text, as JSON, and as a .npz file."""

import json
import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from modelrepo.clients import Classification
from modelrepo.clients.models import Answer, Array
from modelrepo.generator.errors import OptionError

# The best classes of each sample.
Classes = Sequence[Sequence[Classification]]


def classes_text(model: str, version: str, classes: Classes, as_json: bool) -> str:
    """Return the best classes as a table, or as one object with ``label``, ``index`` and ``score`` of each."""
    if not as_json:
        return _table(classes)
    rows = [
        [{"label": each.label, "index": each.index, "score": _finite(each.score)} for each in sample]
        for sample in classes
    ]
    return _object(model, version, classes=rows)


def outputs_text(model: str, version: str, answer: Answer, as_json: bool) -> str:
    """Return the outputs as shortened arrays, or whole as one object with ``dtype``, ``shape`` and ``data`` of each."""
    if not as_json:
        return _arrays(answer)
    values = {
        name: {"dtype": _kind(array), "shape": list(array.shape), "data": _finite(_decoded(array).tolist())}
        for name, array in answer.items()
    }
    return _object(model, version, outputs=values)


def save(path: Path, answer: Answer) -> None:
    """Write the outputs to a .npz file; OptionError if it can't be written."""
    try:  # by hand: numpy.savez takes no array named "file"
        with zipfile.ZipFile(path, "w") as archive:
            for name, array in answer.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, _storable(array), allow_pickle=False)
    except OSError as error:
        raise OptionError(f"can't write {path}: {error.strerror}") from error


def _storable(array: Array) -> Array:
    """Return an array for a .npy file, with strings as numpy's own, which end at their last non-zero byte."""
    if array.dtype == object:
        return array.astype(bytes)
    return array.astype("float32") if array.dtype.name == "bfloat16" else array


def _table(classes: Classes) -> str:
    """Return the best classes as aligned columns, with the sample's number if there are several."""
    rows = [("sample", "rank", "label", "index", "score")]
    for number, sample in enumerate(classes):
        for rank, each in enumerate(sample, 1):
            rows.append((str(number), str(rank), each.label or "-", str(each.index), f"{each.score:.6g}"))
    columns = list(zip(*rows, strict=True))[0 if len(classes) > 1 else 1 :]
    widths = [max(map(len, column)) for column in columns]
    lines = zip(*columns, strict=True)
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def _arrays(answer: Answer) -> str:
    """Return each output's name, dtype and shape, and its values below, shortened if there are many."""
    parts = []
    for name, array in answer.items():
        text = np.array2string(_decoded(array), threshold=60, edgeitems=3, max_line_width=110, precision=6)
        parts.append(f"{name}  {_kind(array)} {list(array.shape)}\n{text}")
    return "\n\n".join(parts)


def _decoded(array: Array) -> Array:
    """Return an array with strings instead of bytes; bytes that are not UTF-8 become escapes."""
    if array.dtype != object:
        return array
    decoded = np.empty(array.shape, object)
    decoded.flat[:] = [item.decode("utf-8", "backslashreplace") for item in array.flat]
    return decoded


def _object(model: str, version: str, **found: Any) -> str:
    return json.dumps({"model": model, "version": version or None, **found}, indent=2, ensure_ascii=False)


def _kind(array: Array) -> str:
    return "string" if array.dtype == object else array.dtype.name


def _finite(value: Any) -> Any:
    """Return nested lists with NaN and infinities as the strings NaN, Infinity and -Infinity, as Protobuf does."""
    if isinstance(value, list):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value
