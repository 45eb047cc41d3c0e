"""What a model takes and gives, for `modelrepo infer` without an input: a list, and commands that ask it."""

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from modelrepo.clients.models import ENCODED, PIXELS, TEXT, Model, Tensor

# Elements of an input that an example writes out, and inputs that it names one by one.
WRITTEN, NAMED = 12, 4
# What an input takes that takes what clients have, and how it is given.
ABOUT = {PIXELS: "a picture's pixels", ENCODED: "a picture's file", TEXT: "a text"}
KINDS = {PIXELS: "picture.jpg", ENCODED: "picture.jpg", TEXT: "--text 'A text'"}


def model_text(model: Model, examples: Sequence[str]) -> str:
    """Return the inputs and outputs of a model as a table, and the examples."""
    batches = f"takes 1 to {model.max_batch_size} rows a request" if model.max_batch_size else "does not batch"
    rows = [("", "name", "type", "shape", "")]
    rows += [("input", *_row(tensor), _about(tensor)) for tensor in model.inputs]
    rows += [("output", *_row(tensor), "with class names" * tensor.labels) for tensor in model.outputs]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    versions = f"version{'s' * (len(model.versions) > 1)} {', '.join(model.versions)}"
    shown = [f"  {each}" for each in examples]
    return "\n".join([f"{model.name}, {versions}, {batches}", "", *lines, "", "Ask it, such as with:", *shown])


def model_document(model: Model, examples: Sequence[str]) -> str:
    """Return the inputs and outputs of a model as one JSON object."""
    found: dict[str, Any] = {
        "model": model.name,
        "versions": list(model.versions),
        "max_batch_size": model.max_batch_size,
        "inputs": [
            {**_document(tensor), "optional": tensor.optional, **({"kind": tensor.kind} if tensor.kind else {})}
            for tensor in model.inputs
        ],
        "outputs": [{**_document(tensor), "labels": tensor.labels} for tensor in model.outputs],
        "examples": list(examples),
    }
    return json.dumps(found, indent=2)


def examples(
    model: Model, url: str | None, images: bool, options: str = "", fills: Mapping[str, str | float] | None = None
) -> list[str]:
    """Return command lines that ask a model; ``images`` if it is known how one becomes its input.

    ``options`` follow the model's name. ``fills`` has values for inputs that don't accept zeros.
    """
    start = f"modelrepo infer {model.name}" + (f" --url {url}" if url else "") + options
    own = [f"{start} {KINDS[tensor.kind]}" for tensor in model.inputs if tensor.kind]
    if own and len(model.inputs) == 1:
        return own
    found = [f"{start} picture.jpg"] if images else [f"{start} samples.npz"]
    if all(_elements(tensor, model) in (1, None) for tensor in model.inputs) or (
        len(model.inputs) == 1 and len(model.inputs[0].dims) <= 2
    ):
        found = [f"{start} rows.csv", f"{start} rows.csv --labels COLUMN --output answers.csv"]
    values = {each.name: example(each, (fills or {}).get(each.name)) for each in model.inputs if not each.optional}
    if None not in values.values():
        if len(values) == 1:
            found.append(f"{start} --input {shlex.quote(str(next(iter(values.values()))))}")
        elif len(values) <= NAMED:
            given = (f"--input {shlex.quote(name)}={shlex.quote(str(value))}" for name, value in values.items())
            found.append(" ".join([start, *given]))
    return found


def _about(tensor: Tensor) -> str:
    return ", ".join(filter(None, (ABOUT.get(tensor.kind), "optional" * tensor.optional)))


def _row(tensor: Tensor) -> tuple[str, str, str]:
    return tensor.name, tensor.datatype, f"[{', '.join(map(str, tensor.dims))}]"


def _document(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.dims)}


def _elements(tensor: Tensor, model: Model) -> int | None:
    """Return how many values a row has; None if that is free."""
    count = 1
    for dim in tensor.dims[1 if model.max_batch_size else 0 :]:
        count *= dim
    return count if count > 0 else None


def example(tensor: Tensor, fill: str | float | None = None) -> str | None:
    """Return a value in JSON, of zeros if there is no ``fill``; None if it would be long."""
    dims = [1 if dim == -1 else dim for dim in tensor.dims]
    count = 1
    for dim in dims:
        count *= dim
    if count > WRITTEN:
        return None
    zero = "text" if tensor.datatype == "BYTES" else False if tensor.datatype == "BOOL" else 0
    value: Any = zero if fill is None else fill if tensor.datatype.startswith(("FP", "BF", "BYTES")) else int(fill)
    for dim in reversed(dims):
        value = [value] * dim
    return json.dumps(value)
