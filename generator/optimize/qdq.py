"""Graphs with QuantizeLinear and DequantizeLinear around their layers: checks, a summary, and costs per layer."""

import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from modelrepo.generator.errors import ConversionError, first_line
from modelrepo.generator.graphs import edit, taps, typed
from modelrepo.generator.optimize import half, made, probes, rounding
from modelrepo.generator.optimize.recipe import Request
from modelrepo.generator.optimize.silence import silent

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
# The operators that compute with weights, and nearly all of what a model computes.
LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
# The first operator set whose DequantizeLinear has a scale per channel.
MIN_OPSET = 13
# ONNX Runtime's ending for the unquantized tensor, if the tensor is also an output of the model.
BEFORE = "_QuantizeLinear_Input"
SHADOW = "/lowered"
# How many inputs the layers are compared on: two, so that a single unusual one doesn't decide.
ASKED = 2


def refuse(model: Any, name: str) -> None:
    """Raise ConversionError if a model can't be quantized to the precision ``name``."""
    made.refuse_quantized(model, name)
    if not any(node.op_type in LAYERS for node in model.graph.node):
        raise ConversionError(
            f"{made.kind(model)} has no layer that {name} changes: none of {', '.join(LAYERS)}", made.STAY
        )
    _refuse_other_floats(model, name)


def _with_scales(model: Any, name: str) -> Any:
    """Return a model in the first operator set with a scale for each channel, if its own is older.

    Raises ConversionError if onnx can't convert it. What it converts is compared with the source, like every graph.
    """
    from onnx import version_converter

    opset = edit.opset_of(model)
    if opset >= MIN_OPSET:
        return model
    declared = [[*model.graph.input], [*model.graph.output]]
    try:
        converted = edit.without_weights(model, lambda light: version_converter.convert_version(light, MIN_OPSET))
    except RuntimeError as error:  # ConvertError and others have no other common class
        raise ConversionError(
            f"{name} needs a scale for each channel, which opset {opset} lacks, and the model can't be converted to "
            f"opset {MIN_OPSET}: {first_line(error)}",
            f"Export the model with opset {MIN_OPSET}",
        ) from error
    for found, wanted in zip((converted.graph.input, converted.graph.output), declared, strict=True):
        del found[:]
        found.extend(wanted)  # onnx names the dimensions that have no name, or are -1
    return converted


def _refuse_other_floats(model: Any, name: str) -> None:
    """Raise ConversionError if weights are not FP32: ONNX Runtime would quantize them at each request, or never."""
    from onnx import TensorProto

    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    types |= {node.output[0]: tensor.data_type for node, tensor in _constants(model)}
    for node in model.graph.node:
        if node.op_type in LAYERS and types.get(node.input[1], TensorProto.FLOAT) != TensorProto.FLOAT:
            there = TensorProto.DataType.Name(types[node.input[1]])
            raise ConversionError(
                f"the weights of {node.op_type} {node.name!r} are {there}, but {name} needs FP32 ones",
                "Start from an FP32 model",
            )


def check_stored(model: Any, layers: Collection[str]) -> None:
    """Raise ConversionError if weights of these layers are not stored as INT8 with a scale for each channel.

    Products of two activations are skipped: they have no weights.
    """
    from onnx import TensorProto

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    made_by = {name: node for node in model.graph.node for name in node.output}
    for node in model.graph.node:
        if node.name not in layers:
            continue
        dequantize = made_by[node.input[1]]
        stored, scale = (constants.get(name) for name in dequantize.input[:2])
        if stored is None:
            if _from_constants(dequantize.input[0], constants, made_by):
                raise ConversionError(f"the weights of {node.name!r} are quantized at each request, not stored as INT8")
            continue
        if stored.data_type != TensorProto.INT8:
            raise ConversionError(f"the weights of {node.name!r} are not stored as INT8")
        if scale is None or (edit.elements(scale) == 1 and min(stored.dims) > 1):
            raise ConversionError(f"the weights of {node.name!r} have one scale for all channels")


def _from_constants(name: str, constants: Mapping[str, Any], made_by: Mapping[str, Any]) -> bool:
    """Whether a tensor is computed from constants only, so that it is the same for every request."""
    if name in constants or not name:
        return True
    if name not in made_by:
        return False
    return all(_from_constants(each, constants, made_by) for each in made_by[name].input)


def prepared(request: Request, folder: Path, name: str) -> Path:
    """Write the model with constants and normalisation folded into its layers, and every node named; return its path.

    No operator is added but plain ones of ONNX. Its own shape inference finds types, ``typed`` those after operators
    of other domains; ONNX Runtime's symbolic one would need sympy, and add only shapes that are not used. Raises
    ConversionError as ``refuse`` does for the precision ``name``, and OptionError if a node of ``request.kept`` does
    not exist.
    """
    from onnxruntime.quantization import quant_pre_process

    model = edit.load(request.export.path)
    refuse(model, name)
    model = _with_scales(model, name)
    named, *data = edit.save(model, folder / "named")
    path = folder / "prepared.onnx"
    with silent():
        quant_pre_process(str(named), str(path), skip_symbolic_shape=True, save_as_external_data=bool(data))
    typed.declare_floats(path)
    made.check_kept(edit.load(path), request.kept)
    return path


def quantized_layers(model: Any, element_types: Collection[int]) -> tuple[str, ...]:
    """Return the names of the layers whose input and weights are dequantized from one of the element types."""
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    types |= {node.output[0]: tensor.data_type for node, tensor in _constants(model)}
    dequantized = {
        node.output[0]
        for node in model.graph.node
        # An activation's type is that of its zero point.
        if node.op_type == DEQUANTIZE
        and any(types.get(name) in element_types for name in (*node.input[:1], *node.input[2:]))
    }
    return tuple(
        node.name for node in model.graph.node if node.op_type in LAYERS and dequantized.issuperset(node.input[:2])
    )


def _constants(model: Any) -> Iterator[tuple[Any, Any]]:
    for node in model.graph.node:
        if node.op_type == "Constant":
            yield from ((node, attribute.t) for attribute in node.attribute if attribute.name == "value")


def drop_unused_domains(model: Any) -> None:
    """Remove imports of operator sets that no node uses: ONNX Runtime's tools import all that they know."""
    used = {node.domain for node in edit.nodes(model)}
    for entry in [entry for entry in model.opset_import if entry.domain not in used]:
        model.opset_import.remove(entry)


def summary(before: Any, after: Any, name: str, layers: Collection[str], kept: Collection[str] = ()) -> str:
    """Say how many layers are quantized, and the size of the weights; ConversionError if there are none."""
    there = sum(node.op_type in LAYERS for node in before.graph.node)
    pairs = sum(node.op_type == QUANTIZE for node in after.graph.node)
    if {node.name for node in before.graph.node if node.op_type in LAYERS} <= {*kept}:
        raise ConversionError(f"all {there} layers are kept precise, so none became {name}", half.KEEP_FEWER)
    if not layers or not pairs:
        raise ConversionError(
            f"none of the model's {there} layers became {name}: ONNX Runtime's quantizer leaves them as they are",
            made.STAY,
        )
    return f"{len(layers)} of {there} layers are {name}, {pairs} Q/DQ pairs, {sizes(before, after)}"


def sizes(*models: Any) -> str:
    """Return the size of each model's tensors as text, joined by arrows."""
    return " -> ".join(made.megabytes(sum(map(edit.tensor_bytes, edit.tensors(model)))) for model in models)


def costs(request: Request, precise: Path, lowered: Path, layers: Collection[str]) -> Mapping[str, float]:
    """Return the share of its answer by which each layer changes if its input and weights are quantized.

    Each layer is run twice on the tensors of the ``precise`` model: as it is there, and with the quantized input and
    weights of the ``lowered`` one. The share is the root mean square of the differences / that of the answers, the
    worst over the probe inputs.
    """
    model = edit.load(precise)
    outputs = _Shadows(model, edit.load(lowered)).add(layers)
    found = dict.fromkeys(outputs, 0.0)
    wanted = {each for name in outputs.values() for each in (name, name + SHADOW)}
    with tempfile.TemporaryDirectory(dir=request.folder) as folder:
        path, *_ = edit.save(model, Path(folder))
        for values in taps.tapped(path, probes.probe_inputs(request, ASKED), wanted):
            for layer, name in outputs.items():
                found[layer] = max(found[layer], rounding.share_lost(values[name], values[name + SHADOW]))
    return found


class _Shadows:
    """Adds a quantized double of each layer to a precise model."""

    def __init__(self, model: Any, lowered: Any) -> None:
        self.model = model
        self.nodes = {node.name: node for node in lowered.graph.node}
        self.made_by = {name: node for node in lowered.graph.node for name in node.output}
        self.constants = {tensor.name: tensor for tensor in lowered.graph.initializer}
        self.copied: set[str] = set()

    def add(self, layers: Collection[str]) -> dict[str, str]:
        """Return the output of each layer; that of its double has the same name with SHADOW."""
        from onnxruntime.transformers.onnx_model import OnnxModel

        outputs = {}
        for node in [node for node in self.model.graph.node if node.name in layers]:
            double = self.model.graph.node.add()
            double.CopyFrom(node)
            double.name += SHADOW
            double.output[0] += SHADOW
            double.input[:2] = [self._copied(name) for name in self.nodes[node.name].input[:2]]
            outputs[node.name] = node.output[0]
        OnnxModel(self.model).topological_sort()
        return outputs

    def _copied(self, name: str) -> str:
        """Copy the nodes that make a quantized tensor, but read the precise model's tensor; return its new name."""
        if name in self.copied or not name:
            return name and name + SHADOW
        self.copied.add(name)
        if name in self.constants:
            tensor = self.model.graph.initializer.add()
            tensor.CopyFrom(self.constants[name])
            tensor.name += SHADOW
            return str(tensor.name)
        made = self.made_by[name]
        node = self.model.graph.node.add()
        node.CopyFrom(made)
        node.name += SHADOW
        node.output[0] += SHADOW
        precise = made.op_type == QUANTIZE and made.input[0] not in self.constants
        inputs = [made.input[0].removesuffix(BEFORE)] if precise else []
        node.input[:] = inputs + [self._copied(each) for each in made.input[len(inputs) :]]
        return str(node.output[0])


def write_twin(model: Any, folder: Path) -> Path:
    """Write a graph of FP8 Q/DQ pairs with plain FP32 operators instead; return its path. ``model`` is consumed.

    ONNX Runtime's optimizations move FP8 pairs to places where it has no FP8, but leave divisions and casts alone.
    """
    from onnx import TensorProto, helper

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    written = []
    for node in model.graph.node:
        first, scale, into = *(*node.input, "", "")[:2], node.output[0]
        if node.op_type == QUANTIZE:
            written.append(helper.make_node("Div", [first, scale], [f"{into}/scaled"], name=f"{node.name}/scaled"))
            written.append(
                helper.make_node(
                    "Cast", [f"{into}/scaled"], [into], name=f"{node.name}/cast", to=TensorProto.FLOAT8E4M3FN
                )
            )
        elif node.op_type == DEQUANTIZE and first in constants:
            values = model.graph.initializer.add()
            values.CopyFrom(_dequantized(node, constants[first], constants[scale]))
        elif node.op_type == DEQUANTIZE:
            written.append(
                helper.make_node("Cast", [first], [f"{into}/wide"], name=f"{node.name}/cast", to=TensorProto.FLOAT)
            )
            written.append(helper.make_node("Mul", [f"{into}/wide", scale], [into], name=f"{node.name}/scaled"))
        else:
            written.append(node)
    del model.graph.node[:]
    model.graph.node.extend(written)
    return edit.save(model, folder)[0]


def _dequantized(node: Any, values: Any, scale: Any) -> Any:
    """Return the FP32 constant that a DequantizeLinear computes."""
    import numpy as np
    from onnx import numpy_helper

    wide = numpy_helper.to_array(values).astype(np.float32)
    factor = numpy_helper.to_array(scale).astype(np.float32)
    if factor.ndim:
        axis = next((each.i for each in node.attribute if each.name == "axis"), 1)
        shape = [1] * wide.ndim
        shape[axis] = factor.size
        factor = factor.reshape(shape)
    return numpy_helper.from_array(wide * factor, node.output[0])
