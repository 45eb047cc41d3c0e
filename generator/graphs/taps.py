"""The values of the tensors inside an ONNX graph."""

import tempfile
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from modelrepo.generator.graphs import outline, runtime
from modelrepo.generator.specs.tensors import Array, Arrays

# The float types that numpy can hold, by ONNX Runtime's names; it does not return BF16.
FLOATS = ("tensor(float)", "tensor(float16)", "tensor(double)")


def tapped(path: Path, inputs: Iterable[Arrays], only: Collection[str] | None = None) -> Iterator[dict[str, Array]]:
    """Run the ONNX model at ``path`` as it is written, on the CPU, and yield the float tensors of each run by name.

    These are its inputs, its outputs and the outputs of the nodes of its main graph, or those in ``only``. During the
    runs a second model file lies beside the first and shares its weights.
    """
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tapped") as file:
        file.write(_with_all_outputs(path, only).SerializeToString())
        file.flush()
        session = runtime.open_session(Path(file.name), optimized=False, mapped=True)
        names = [output.name for output in session.get_outputs() if output.type in FLOATS]
        for arrays in inputs:
            answers = session.run(names, dict(arrays)) if names else []  # of no names, it answers everything
            found = {**arrays, **dict(zip(names, answers, strict=True))}
            yield {name: array for name, array in found.items() if array.dtype.kind == "f"}


def _with_all_outputs(path: Path, only: Collection[str] | None) -> Any:
    """Return the model with the outputs of its nodes as outputs; ONNX Runtime infers their types."""
    import onnx

    model = outline.read(path)
    known = {value.name for value in model.graph.output}
    given = dict.fromkeys(name for node in model.graph.node for name in node.output if name and name not in known)
    chosen = given if only is None else [name for name in given if name in only]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in chosen)
    return model
