"""The input data of a measurement: rows of values within the model's domains, in perf_analyzer's JSON."""

import base64
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from pathlib import Path

import numpy as np

from modelrepo.clients.inputs import numpy_dtype
from modelrepo.clients.models import Model, Tensor
from modelrepo.generator.errors import OptionError
from modelrepo.generator.repository.manifest import Manifest
from modelrepo.generator.specs.tensors import Array, Dim, Domain, Signature, TensorSpec
from modelrepo.generator.verification import datasets
from modelrepo.generator.verification.inputs import FAMILIES, RANDOM, make_pool
from modelrepo.perf.measuring import had

ROWS = 8
# perf_analyzer reads all rows into memory, as text.
MOST_BYTES = 64e6
# The limit of one sample, which is held here several times, also as text.
MOST_OF_ROW = 500e6
# Tried in this order for dimensions of any size, until the model answers: real sequences are rarely shorter than 128.
SIZES = (128, 224, 32, 1)
Shapes = Mapping[str, Sequence[int]]


def signature(model: Model, manifest: Manifest | None) -> Signature:
    """Return the signature of a served model; allowed values are known for models published here only."""
    known = {spec.name: spec for spec in manifest.provenance.source.inputs} if manifest else {}
    return Signature(
        tuple(_spec(tensor, model, known.get(tensor.name)) for tensor in model.inputs if not tensor.optional),
        tuple(_spec(tensor, model, None) for tensor in model.outputs),
    )


def _spec(tensor: Tensor, model: Model, known: TensorSpec | None) -> TensorSpec:
    batched = model.max_batch_size > 0
    dims: list[Dim] = [f"{tensor.name}_{axis}" if dim < 0 else dim for axis, dim in enumerate(tensor.dims)]
    if batched:
        dims[0] = "batch"
    if known and len(known.shape) == len(dims):  # equal names are equal sizes
        dims = [
            own if isinstance(own, str) and isinstance(dim, str) else dim
            for own, dim in zip(known.shape, dims, strict=True)
        ]
    domain = known.domain if known else Domain(known=False)
    return TensorSpec(tensor.name, numpy_dtype(tensor.datatype).name, tuple(dims), domain)


def likely_rows(
    model: Model, manifest: Manifest | None, size: int, shapes: Shapes, seed: int
) -> list[dict[str, Array]]:
    """Return rows for a model: photographs, their files and texts for inputs of a kind, random values for others.

    Arguments and errors are those of ``random_rows``, and of ``had.made``.
    """
    wanted, batched, kinds = signature(model, manifest), model.max_batch_size > 0, had.of_kinds(model)
    names = [tensor.name for tensor in kinds]
    others = replace(wanted, inputs=tuple(spec for spec in wanted.inputs if spec.name not in names))
    given = {name: shape for name, shape in shapes.items() if name not in names}
    rows = random_rows(others, batched, size, given, seed) if others.inputs or given else []
    count = len(rows) or ROWS
    for tensor in kinds:
        values = had.made(tensor, batched, 1, shapes.get(tensor.name), seed)
        count = min(count, _count(had.size_of_value(values[0])))
        values = had.made(tensor, batched, count, shapes.get(tensor.name), seed)
        rows = [{**row, tensor.name: value} for row, value in zip(rows or [{}] * count, values, strict=False)]
    return rows


def had_rows(path: Path, model: Model) -> list[dict[str, Array]]:
    """Return the user's pictures or texts as rows; OptionError for a file that does not fit."""
    return had.of_file(path, model, _count)


def random_rows(wanted: Signature, batched: bool, size: int, shapes: Shapes, seed: int) -> list[dict[str, Array]]:
    """Return rows of random values, each one sample, with ``size`` for every dimension of any size.

    ``shapes`` gives whole shapes, without the batch dimension, by input name; OptionError for one that does not fit.
    """
    unknown = shapes.keys() - {spec.name for spec in wanted.inputs}
    if unknown:
        names = ", ".join(spec.name for spec in wanted.inputs)
        raise OptionError(f"--shape names the input {min(unknown)!r}", f"The model takes {names}")
    inputs = [replace(spec, shape=("row", *_sized(spec, batched, size, shapes))) for spec in wanted.inputs]
    size_of_row = sum(prod(map(int, spec.shape[1:])) * np.dtype(spec.dtype).itemsize for spec in inputs)
    if size_of_row > MOST_OF_ROW:
        raise OptionError(f"a sample would have {size_of_row / 1e6:,.0f} MB", "Choose smaller ones with --shape")
    count = _count(size_of_row)
    pool = make_pool(inputs, len(FAMILIES) - len(RANDOM) + count, seed)
    rows = [row for row, family in enumerate(pool.families) if family.startswith("random")]
    return [pool.whole(row) for row in rows[:count]]


def _sized(spec: TensorSpec, batched: bool, size: int, shapes: Shapes) -> tuple[int, ...]:
    shape, given = spec.shape[batched:], shapes.get(spec.name)
    if given is None:
        sizes = [size if isinstance(dim, str) else dim for dim in shape]
        if not batched and len(shape) > 1 and isinstance(shape[0], str):
            sizes[0] = 1  # most likely the batch dimension of a model that is served without batching
        return tuple(sizes)
    if len(given) != len(shape) or any(
        isinstance(dim, int) and dim != own for dim, own in zip(shape, given, strict=True)
    ):
        dims = ",".join(str(dim) for dim in shape)
        raise OptionError(
            f"--shape {spec.name}:{','.join(map(str, given))} does not fit",
            f"A sample of {spec.name} is [{dims}], without the batch dimension",
        )
    return tuple(given)


def sample_rows(path: Path, wanted: Signature, batched: bool) -> list[dict[str, Array]]:
    """Return the user's samples as rows without the batch dimension; OptionError for a file that does not fit."""
    rows = [
        pool.whole(row)
        for pool in datasets.read(path, wanted if batched else _unbatched(wanted)).pools
        for row in range(len(pool.families))
    ]
    return rows[: _count(sum(array.nbytes for array in rows[0].values()))]


def _unbatched(wanted: Signature) -> Signature:
    """Return the signature with a tensor that does not batch: ``datasets`` recognises such models by one."""
    return (
        wanted
        if wanted.batch_dim is None
        else replace(wanted, outputs=(*wanted.outputs, TensorSpec("", "float32", ())))
    )


def _count(row_bytes: int) -> int:
    return max(1, min(ROWS, int(MOST_BYTES / max(1, row_bytes))))


def write(rows: Sequence[Mapping[str, Array]], path: Path) -> None:
    """Write rows as perf_analyzer's input data: raw bytes in base64, so that no digit of a float is lost."""
    data = [{name: _cell(array) for name, array in row.items()} for row in rows]
    path.write_text(json.dumps({"data": data}), "utf-8")


def _cell(array: Array) -> dict[str, object]:
    raw = _text_bytes(array) if array.dtype == np.object_ else np.ascontiguousarray(array).tobytes()
    return {"content": {"b64": base64.b64encode(raw).decode()}, "shape": list(array.shape) or [1]}


def _text_bytes(array: Array) -> bytes:
    """Return strings in Triton's format: each after its length, 4 bytes, little-endian."""
    texts = [item if isinstance(item, bytes) else str(item).encode() for item in array.ravel()]
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)
