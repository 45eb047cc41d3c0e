"""What a model computes on the way: its tensors, one run after another."""

import tempfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from generator.backends import onnxruntime
from generator.errors import ConversionError, VerificationError
from generator.graphs import outline
from generator.optimize.recipe import Request
from generator.specs.tensors import Array, Arrays, Signature
from generator.verification.inputs import Pool, generated
from generator.verification.verify import usable

# Inputs to measure on where the user gives none: those whose answers say most, of three random ones and a large one.
FAMILIES = ("random 1", "random 2", "random 3", "large (x10)")
SEED = 0
# What numpy can hold, as ONNX Runtime calls it: it hands out no BF16.
FLOATS = ("tensor(float)", "tensor(float16)", "tensor(double)")


def tapped(path: Path, inputs: Iterable[Arrays], only: Collection[str] | None = None) -> Iterator[dict[str, Array]]:
    """Run the ONNX model at ``path`` as it is written, on the CPU, and yield per input its tensors of floats by name.

    These are its inputs, outputs and what nodes of its main graph give, or those in ``only``. For the length of the
    runs a second model file lies beside the first, whose weights it shares.
    """
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tapped") as file:
        file.write(_with_all_outputs(path, only).SerializeToString())
        file.flush()
        session = onnxruntime.open_session(Path(file.name), optimized=False, mapped=True)
        names = [output.name for output in session.get_outputs() if output.type in FLOATS]
        for arrays in inputs:
            found = {**arrays, **dict(zip(names, session.run(names, dict(arrays)), strict=True))}
            yield {name: array for name, array in found.items() if array.dtype.kind == "f"}


def _with_all_outputs(path: Path, only: Collection[str] | None) -> Any:
    """Return the model with what its nodes give as outputs; ONNX Runtime infers their types."""
    import onnx

    model = outline.read(path)
    known = {value.name for value in model.graph.output}
    given = dict.fromkeys(name for node in model.graph.node for name in node.output if name and name not in known)
    chosen = given if only is None else [name for name in given if name in only]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in chosen)
    return model


def asked(request: Request, count: int = len(FAMILIES)) -> list[Arrays]:
    """Return up to ``count`` inputs, each a batch of one: of the request's data if it has any, generated otherwise.

    Raises ConversionError where the model answers none of them.
    """
    signature = request.export.signature
    if request.data:
        return _singles(request.data, signature)[:count]
    run = onnxruntime.open_model(request.export.path)
    reason = ""
    for _, pool in generated(signature, 1, SEED):
        rows = [pool.families.index(family) for family in FAMILIES]
        try:
            kept = usable(pool.only(rows), run, signature)
        except VerificationError as error:
            reason = error.message
            continue
        return _singles([kept], signature)[:count]
    raise ConversionError(
        f"the model answers none of the generated inputs, so nothing can be measured on it: {reason}",
        "Give inputs that it answers with --calibration",
    )


def _singles(pools: Sequence[Pool], signature: Signature) -> list[Arrays]:
    return [pool.single(row, signature) for pool in pools for row in range(len(pool.families))]
