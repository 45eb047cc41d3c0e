"""The types of the tensors inside an ONNX graph, also after operators that ONNX's own inference does not know."""

import tempfile
from pathlib import Path
from typing import Any

from modelrepo.generator.graphs import outline, runtime

# ONNX Runtime's name of the type of FP32 tensors.
FLOAT = "tensor(float)"


def declare_floats(path: Path) -> None:
    """Declare in the ONNX file at ``path`` which tensors of its main graph are FP32, if it states no type of them.

    ONNX's inference stops at operators of other domains, such as ai.onnx.ml's Scaler, and ONNX Runtime's quantizers
    leave tensors without a type alone (no issue known). ONNX Runtime infers the types of all that it runs. Sizes are
    not declared. Raises any error of ONNX Runtime.
    """
    import onnx

    untyped = _untyped(outline.read(path))
    if not untyped:
        return
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".untyped") as file:
        model = outline.read(path)
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in untyped)
        file.write(model.SerializeToString())
        file.flush()
        session = runtime.open_session(Path(file.name), optimized=False, mapped=True)
        floats = [output.name for output in session.get_outputs() if output.type == FLOAT and output.name in untyped]
    model = onnx.load(str(path), load_external_data=False)
    model.graph.value_info.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in floats
    )
    path.write_bytes(model.SerializeToString())


def _untyped(model: Any) -> dict[str, None]:
    """Return the tensors that nodes of the main graph make, and that no type is stated of, in order."""
    typed = {value.name for value in (*model.graph.value_info, *model.graph.output)}
    return dict.fromkeys(name for node in model.graph.node for name in node.output if name and name not in typed)
