"""FP8 graphs as nvidia-modelopt makes them, written by hand: the tool itself takes gigabytes and minutes."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from ml_dtypes import float8_e4m3fn
from onnx import helper, numpy_helper

from modelrepo.generator.optimize import fp8

LARGEST = 448.0


def quantized(model: onnx.ModelProto, largest: Mapping[str, float]) -> onnx.ModelProto:
    """Return a model whose matrix products have E4M3 at their inputs, and weights with a scale per column.

    ``largest`` has the largest magnitude of each product's input, by its name.
    """
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    constants = [numpy_helper.from_array(np.zeros((), float8_e4m3fn), "zero")]
    nodes = []
    for node in model.graph.node:
        if node.op_type == "MatMul":
            asked, name = node.input
            scale = np.abs(weights[name]).max(axis=0) / LARGEST
            constants += [
                numpy_helper.from_array(np.array(largest[asked] / LARGEST, np.float32), f"{asked}_scale"),
                numpy_helper.from_array(scale, f"{name}_scale"),
                numpy_helper.from_array((weights[name] / scale).astype(float8_e4m3fn), f"{name}_narrow"),
                numpy_helper.from_array(np.zeros(scale.shape, float8_e4m3fn), f"{name}_zero"),
            ]
            nodes += [
                helper.make_node("QuantizeLinear", [asked, f"{asked}_scale", "zero"], [f"{asked}_narrow"]),
                helper.make_node("DequantizeLinear", [f"{asked}_narrow", f"{asked}_scale", "zero"], [f"{asked}_wide"]),
                helper.make_node(
                    "DequantizeLinear", [f"{name}_narrow", f"{name}_scale", f"{name}_zero"], [f"{name}_wide"], axis=1
                ),
                helper.make_node("MatMul", [f"{asked}_wide", f"{name}_wide"], node.output, node.name),
            ]
        else:
            nodes.append(node)
    graph = helper.make_graph(nodes, "fp8", model.graph.input, model.graph.output, constants)
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)


def stand_in(model: onnx.ModelProto, release: str = fp8.RELEASE) -> Path:
    """Write a stand-in for the python with nvidia-modelopt: it prints a version, and writes ``model`` for any input.

    What modelopt makes of a model is not shown by it.
    """
    ready = Path("ready-made.onnx").resolve()
    ready.write_bytes(model.SerializeToString())
    script = Path("python-of-modelopt").resolve()
    script.write_text(f'#!/bin/sh\nif [ "$2" = -c ]; then echo {release}; else cp "{ready}" "$5"; fi\n')
    script.chmod(0o755)
    return script
