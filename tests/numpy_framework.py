"""A framework of a few lines, both a source and an exporter: models written in numpy, and as ONNX by hand.

It lets a test publish a real ONNX model in milliseconds, and has models that torchvision lacks: they mix the samples of
a batch, return NaN, or are exported wrong.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from modelrepo.generator.errors import SourceError
from modelrepo.generator.export.exporter import Exporter
from modelrepo.generator.graphs import onnx_file
from modelrepo.generator.progress import Progress
from modelrepo.generator.sources.source import Source
from modelrepo.generator.specs.artifacts import ONNX, Export, Weights
from modelrepo.generator.specs.options import Options
from modelrepo.generator.specs.source import SourceModel
from modelrepo.generator.specs.tensors import Array, Arrays, TensorSpec

INPUT = TensorSpec("input", "float32", ("batch", 4))
OPSET, IR_VERSION = 20, 10


@dataclass(frozen=True)
class Model:
    """A numpy computation, the same as ONNX nodes with the initializer W, and the shape of its output."""

    compute: Callable[[Array, Array], Array]
    nodes: tuple[onnx.NodeProto, ...]
    shape: tuple[str | int, ...] = ("batch", 3)


def _linear(array: Array, weights: Array) -> Array:
    product: Array = np.matmul(array, weights)
    return product


def _centred(array: Array, weights: Array) -> Array:
    return _linear(array - array.mean(axis=0, keepdims=True), weights)


LINEAR = helper.make_node("MatMul", ["input", "W"], ["output"])
CENTRED = (
    helper.make_node("Constant", [], ["axes"], value_ints=[0]),
    helper.make_node("ReduceMean", ["input", "axes"], ["mean"]),
    helper.make_node("Sub", ["input", "mean"], ["centred"]),
    helper.make_node("MatMul", ["centred", "W"], ["output"]),
)
FROZEN = (
    helper.make_node("MatMul", ["input", "W"], ["product"]),
    helper.make_node("Constant", [], ["shape"], value_ints=[2, 3]),
    helper.make_node("Reshape", ["product", "shape"], ["output"]),
)
DOUBLED = (
    helper.make_node("MatMul", ["input", "W"], ["product"]),
    helper.make_node("Concat", ["product", "product"], ["output"], axis=0),
)
TOTAL = (
    helper.make_node("MatMul", ["input", "W"], ["product"]),
    helper.make_node("ReduceSum", ["product"], ["output"], keepdims=0),
)

MODELS: Mapping[str, Model] = {
    "linear": Model(_linear, (LINEAR,)),
    "mixes_samples": Model(_centred, CENTRED),
    "sums_the_batch": Model(lambda array, weights: np.asarray((array @ weights).sum(), "float32"), TOTAL, ()),
    "frozen_batch": Model(_linear, FROZEN),
    "doubles_the_batch": Model(lambda array, weights: np.tile(array @ weights, (2, 1)), DOUBLED, ("twice", 3)),
    "exported_wrong": Model(lambda array, weights: np.abs(array @ weights), (LINEAR,)),
    "lets_rounding_decide": Model(lambda array, weights: np.sin(3e7 * array.astype("float64")) @ weights, (LINEAR,)),
    "answers_nan": Model(lambda array, weights: np.log(-1 - np.abs(array)) @ weights, (LINEAR,)),
}


def known() -> tuple[str, ...]:
    return tuple(MODELS)


def check(name: str, options: Options) -> None:
    if name not in MODELS:
        raise SourceError(f"unknown numpy model {name!r}")


def load(name: str, options: Options, progress: Progress) -> SourceModel:
    check(name, options)
    model = MODELS[name]
    weights = np.random.default_rng(options.seed).standard_normal((4, 3)).astype("float32")

    def run(arrays: Arrays) -> dict[str, Any]:
        with np.errstate(invalid="ignore"):
            return {"output": model.compute(arrays["input"], weights).astype("float32")}

    return SourceModel(
        reference=f"numpy:{name}",
        framework="numpy",
        native=(model, weights),
        inputs=(INPUT,),
        output_names=("output",),
        run=run,
        weights=Weights("random", f"seed {options.seed}", untrained=False),
        labels=("cat", "dog", 'a "quoted" fish'),
    )


def export(source: SourceModel, folder: Path, options: Options) -> Export:
    model, weights = source.native
    folder.mkdir()
    path = folder / "model.onnx"
    graph = helper.make_graph(
        list(model.nodes),
        "numpy",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, INPUT.shape)],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, model.shape)],
        [numpy_helper.from_array(weights, "W")],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(proto)
    onnx.save(proto, path)
    return Export(path, (path,), onnx_file.read_signature(graph), "numpy", OPSET, IR_VERSION)


def add(sources: dict[str, Source], exporters: dict[tuple[str, str], Exporter]) -> None:
    """Add the framework to the tables of sources and exporters."""
    sources["numpy"] = SOURCE
    exporters["numpy", ONNX] = TO_ONNX


SOURCE = Source(
    form="numpy:NAME",
    summary="models for tests",
    frameworks=("numpy",),
    load=load,
    check=check,
    known=known,
    options=("weights", "input_shape", "opset", "exporter", "trust_source"),
    packages=("numpy",),
)
TO_ONNX = Exporter(export=export, packages=("numpy",))
