"""Checks of a recipe's result, and its description."""

import subprocess
import sys
from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelrepo.generator.errors import ConversionError, OptionError, first_line, nearest
from modelrepo.generator.graphs import onnx_file, runtime
from modelrepo.generator.graphs.edit import nodes, opset_of
from modelrepo.generator.specs.artifacts import Export
from modelrepo.generator.specs.tensors import Dim, TensorSpec
from modelrepo.generator.system import process

# Operators of quantized graphs in ONNX and ONNX Runtime, besides those whose names begin with QLinear.
QUANTIZED_OPERATORS = frozenset(
    (
        *("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "ConvInteger"),
        *("MatMulIntegerToFloat", "DynamicQuantizeMatMul", "MatMulNBits", "QGemm", "QAttention"),
    )
)
# What models without layers are, by their operators of ai.onnx.ml.
KINDS = {
    **dict.fromkeys(("TreeEnsemble", "TreeEnsembleClassifier", "TreeEnsembleRegressor"), "a model of trees"),
    **dict.fromkeys(("SVMClassifier", "SVMRegressor"), "a support vector machine"),
    **dict.fromkeys(("LinearClassifier", "LinearRegressor"), "a linear model"),
}
STAY = "Publish it in FP32"
OPENING_SECONDS = 600
# Opens a model as the backend does, without importing modelrepo.
OPENING = """
import sys, onnxruntime
options = onnxruntime.SessionOptions()
options.log_severity_level = 4
try:
    onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
except Exception as error:
    sys.exit(str(error).strip().partition("\\n")[0])
"""


def described(files: tuple[Path, ...], base: Export, *notes: str) -> Export:
    """Return ``base`` with new ``files``, the model's first: a model with the same inputs and outputs.

    Raises ConversionError if it is not a valid ONNX model, or has different inputs or outputs.
    """
    import onnx

    path = files[0]
    try:
        onnx.checker.check_model(str(path))
    except onnx.checker.ValidationError as error:
        raise ConversionError(f"the result is not a valid ONNX model: {first_line(error)}") from error
    model = onnx.load(str(path), load_external_data=False)
    _check_signature(model, base)
    return replace(
        base, path=path, files=files, opset=opset_of(model), ir_version=model.ir_version, notes=(*base.notes, *notes)
    )


def check_types(path: Path) -> None:
    """Raise ConversionError if an operator has a type that its operator set does not allow."""
    import onnx

    try:
        onnx.checker.check_model(str(path), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ConversionError(f"the result has types that are not allowed: {first_line(error)}") from error


def opens(path: Path) -> bool:
    """Whether ONNX Runtime opens a model on a CPU as it will be served; False if it crashes.

    This is tried in its own process: ONNX Runtime 1.31 has a segmentation fault in the optimizations of some FP16
    graphs, such as torchvision's ViT-B/16 (NchwcTransformer after MatmulTransposeFusion). Raises ConversionError, with
    the reason, if ONNX Runtime refuses the model.
    """
    command = [sys.executable, "-P", "-c", OPENING, str(path)]  # -P: not the modules of the user's folder
    try:
        finished = process.run(command, timeout=OPENING_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise ConversionError(f"ONNX Runtime did not open the result within {OPENING_SECONDS} s") from error
    if finished.code > 0:
        reason = runtime.reason(RuntimeError(finished.last_words))
        raise ConversionError(f"ONNX Runtime can't open the result: {reason}")
    return finished.code == 0


def _check_signature(model: Any, base: Export) -> None:
    """Compare names, types and shapes with the file of ``base``; its signature may have more than a file declares."""
    import onnx

    wanted = onnx_file.read_signature(onnx.load(str(base.path), load_external_data=False).graph)
    got = onnx_file.read_signature(model.graph)
    named = {dim for spec in wanted.inputs for dim in spec.shape}
    for role, before, after in (("inputs", wanted.inputs, got.inputs), ("outputs", wanted.outputs, got.outputs)):
        pairs = zip(map(_named, before), map(_named, after), strict=True)
        if len(before) != len(after) or not all(_fits(one, other, named) for one, other in pairs):
            was, became = (", ".join(f"{spec} of {spec.dtype}" for spec in specs) for specs in (before, after))
            raise ConversionError(f"the model's {role} {was} became {became}")


def _named(spec: TensorSpec) -> TensorSpec:
    """Return a tensor whose negative dimensions, as Paddle writes them, are named: ONNX Runtime's tools drop them."""
    dims = (f"{spec.name}_{at}" if isinstance(dim, int) and dim < 0 else dim for at, dim in enumerate(spec.shape))
    return replace(spec, shape=tuple(dims))


def megabytes(size: int) -> str:
    """Return a number of bytes as text, in MB, kB or bytes."""
    if size < 1e3:
        return f"{size} bytes"
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"


def kind(model: Any) -> str:
    """Return what a model is in words, if its operators say so; else "the model"."""
    return next((KINDS[node.op_type] for node in nodes(model) if node.op_type in KINDS), "the model")


def refuse_quantized(model: Any, name: str) -> None:
    """Raise ConversionError if the model is already quantized; ``name`` is the wanted precision."""
    for node in nodes(model):
        if node.op_type in QUANTIZED_OPERATORS or node.op_type.startswith("QLinear"):
            raise ConversionError(
                f"the model is quantized already ({node.op_type} {node.name!r}), so {name} can't be made of it",
                "Start from the FP32 model",
            )


def check_kept(model: Any, kept: Iterable[str]) -> None:
    """Raise OptionError if a node to keep does not exist."""
    names = {node.name for node in nodes(model)}
    for name in kept:
        if name not in names:
            raise OptionError(f"the model has no node {name!r} to keep precise", nearest(name, names))


def _fits(before: TensorSpec, after: TensorSpec, named: Collection[Dim]) -> bool:
    """Whether a tensor is the same, or has inferred sizes or names where an exporter knew none: no ``named`` size.

    ONNX's shape inference calls such a dimension unk__0.
    """
    if len(before.shape) != len(after.shape) or replace(before, shape=()) != replace(after, shape=()):
        return False
    sizes = zip(before.shape, after.shape, strict=True)
    return all(
        one == other or (isinstance(one, str) and one not in named and other not in named) for one, other in sizes
    )
