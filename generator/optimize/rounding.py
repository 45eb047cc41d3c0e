"""The effect of rounding to FP16 or BF16, computed in FP32: every value is cast to the narrow type and back."""

import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from modelrepo.generator.graphs import edit, taps
from modelrepo.generator.graphs.walk import MODEL_FILE, graphs
from modelrepo.generator.optimize import half, probes
from modelrepo.generator.optimize.recipe import Request
from modelrepo.generator.specs.tensors import Array

SHADOW = "/rounded"


def round_trip(name: str, into: str, element_type: int) -> list[Any]:
    """Return two Casts that round the FP32 tensor ``name`` to an element type and write ``into``, FP32 again."""
    from onnx import TensorProto, helper

    narrow = f"{into}/narrow"
    return [
        helper.make_node("Cast", [name], [narrow], name=f"{narrow}/cast", to=element_type),
        helper.make_node("Cast", [narrow], [into], name=f"{into}/cast", to=TensorProto.FLOAT),
    ]


def costs(request: Request, layers: Collection[str], element_type: int) -> Mapping[str, float]:
    """Return the share of its answer by which each layer of the main graph changes if its tensors are rounded.

    Each layer is run twice on the same FP32 tensors: as it is, and with inputs, weights and outputs rounded to the
    element type. The share is the root mean square of the differences / that of the answers, the worst over the probe
    inputs; infinity if only the rounded answer is not finite.
    """
    with tempfile.TemporaryDirectory(dir=request.folder) as folder:
        outputs = _write_shadows(request, layers, element_type, Path(folder))
        wanted = {each for names in outputs.values() for name in names for each in (name, name + SHADOW)}
        found = dict.fromkeys(outputs, 0.0)
        for values in taps.tapped(Path(folder) / MODEL_FILE, probes.probe_inputs(request), wanted):
            for layer, names in outputs.items():
                found[layer] = max([found[layer], *(share_lost(values[name], values[name + SHADOW]) for name in names)])
    return found


def share_lost(precise: Array, rounded: Array) -> float:
    """Return the root mean square of the differences / that of the precise values; 0.0 for no values."""
    import numpy as np

    finite = np.isfinite(precise)
    if not np.isfinite(rounded[finite]).all():
        return float("inf")
    wanted = precise[finite].astype(np.float64)
    scale = float(np.sqrt(np.mean(np.square(wanted)))) if wanted.size else 0.0
    if not scale:
        return 0.0
    return float(np.sqrt(np.mean(np.square(wanted - rounded[finite])))) / scale


def _write_shadows(
    request: Request, layers: Collection[str], element_type: int, folder: Path
) -> dict[str, tuple[str, ...]]:
    """Write the model with a rounded double of each layer; return the FP32 outputs of each layer."""
    from onnx import TensorProto

    model = edit.inferred(edit.load(request.export.path))
    types = edit.element_types(model)
    chosen = [node for node in model.graph.node if node.name in layers]
    outputs = {
        node.name: tuple(name for name in node.output if types.get(name) == TensorProto.FLOAT) for node in chosen
    }
    read = dict.fromkeys(name for node in chosen for name in node.input if types.get(name) == TensorProto.FLOAT)
    for name in read:
        model.graph.node.extend(round_trip(name, f"{name}/input", element_type))
    for node in chosen:
        double = model.graph.node.add()
        double.CopyFrom(node)
        double.name += SHADOW
        double.input[:] = [f"{name}/input" if name in read else name for name in node.input]
        double.output[:] = [f"{name}/exact" if name else "" for name in node.output]
        for name in outputs[node.name]:
            model.graph.node.extend(round_trip(f"{name}/exact", name + SHADOW, element_type))
    edit.save(model, folder)
    return outputs


def write_twin(model: Any, element_type: int, folder: Path) -> Path:
    """Write an FP32 model that rounds as an FP16 or BF16 one does, and return its path; ``model`` is consumed.

    Weights have their rounded values, and two Casts round every output that was of the narrow type.
    """
    import numpy as np
    from onnx import TensorProto, numpy_helper

    model = edit.inferred(model)
    types = edit.element_types(model)
    edit.retype(
        model,
        element_type,
        TensorProto.FLOAT,
        lambda place, tensor: numpy_helper.to_array(tensor).astype(np.float32),
    )
    for inner in graphs(model):
        rounded = []
        for node in inner.node:
            rounded.append(node)
            for place, name in enumerate(node.output):
                if types.get(name) == element_type and (node.op_type == "Cast" or node.op_type not in half.MOVING):
                    node.output[place] = f"{name}/exact"
                    rounded += round_trip(f"{name}/exact", name, element_type)
        del inner.node[:]
        inner.node.extend(rounded)
    return edit.save(model, folder)[0]
