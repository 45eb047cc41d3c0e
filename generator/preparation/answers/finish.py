"""What is done with a model's answers: as a graph, and as the reference that the graph is compared with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from modelrepo.generator.specs.preparation import Fragment
from modelrepo.generator.specs.tensors import Array, Arrays, Dim, TensorSpec

# The operators here mean the same in this operator set and in all later ones.
OPSET, IR = 13, 8
# The names of tensors' types in ONNX's text, by numpy's.
TYPES = {
    **{"float16": "float16", "float32": "float", "float64": "double", "object": "string", "bool": "bool"},
    **{f"{sign}int{bits}": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}
# The name of a class that pads a list.
NOTHING = ""


@dataclass(frozen=True)
class Finish:
    """A graph after a model, and the same as a function of the model's outputs, and of the inputs that it reads."""

    fragment: Fragment
    run: Callable[[Arrays], dict[str, Array]]
    notes: tuple[str, ...] = ()
    embeddings: tuple[str, ...] = ()  # the outputs that mean a direction


def fragment(
    nodes: str,
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
    constants: Mapping[str, Array],
    joins: Mapping[str, str],
) -> Fragment:
    """Return a graph whose ``nodes`` are written in ONNX's text.

    ``constants`` are its initializers by name, as far as nodes read them; numpy's strings are texts. ``joins`` has
    the graph's inputs, by the tensors of the model that they are.
    """
    import onnx

    text = (
        f'<ir_version: {IR}, opset_import: ["" : {OPSET}]>\n'
        f"finish ({_declared(inputs)}) => ({_declared(outputs)}) {{\n{nodes}\n}}"
    )
    model = onnx.parser.parse_model(text)
    read = {name for node in model.graph.node for name in node.input}
    model.graph.initializer.extend(_constant(name, values) for name, values in constants.items() if name in read)
    return Fragment(model, inputs, outputs, joins)


def _constant(name: str, values: Array) -> Any:
    from onnx import TensorProto, helper, numpy_helper

    if values.dtype.kind in "UO":
        encoded: Any = [str(each).encode("utf-8", "replace") for each in values.ravel()]
        return helper.make_tensor(name, TensorProto.STRING, values.shape, encoded)
    return numpy_helper.from_array(values, name)


def _declared(specs: tuple[TensorSpec, ...]) -> str:
    return ", ".join(f"{TYPES[spec.dtype]}[{', '.join(map(_dim, spec.shape))}] {spec.name}" for spec in specs)


def _dim(dim: Dim) -> str:
    """Return a dimension as ONNX's text has it: its name only if that is a plain one."""
    return str(dim) if isinstance(dim, int) or dim.isidentifier() else "?"
