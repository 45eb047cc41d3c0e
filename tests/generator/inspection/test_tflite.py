"""TensorFlow Lite files: graphs, tensors, quantization and metadata, read without TensorFlow."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelrepo.generator.inspection.inspection import Node, Tensor
from modelrepo.generator.inspection.tflite import TYPES, inspect
from modelrepo.generator.inspection.tflite_operators import CUSTOM, NAMES, PLACEHOLDER
from tests.generator.inspection.damage import survives


def schema() -> Any:
    """Return the classes that flatc made of TensorFlow Lite's schema; they need no TensorFlow."""
    from ai_edge_litert import schema_py_generated

    return schema_py_generated


def tensor(name: str, shape: list[int], kind: int, buffer: int = 0, scales: int = 0, batch: int = -1) -> Any:
    made = schema().TensorT()
    made.name, made.shape, made.type, made.buffer = name, shape, kind, buffer
    made.shapeSignature = [batch, *shape[1:]] if not buffer else None
    if scales:
        made.quantization = schema().QuantizationParametersT()
        made.quantization.scale, made.quantization.zeroPoint = [0.5] * scales, [0] * scales
    return made


def operator(code: int, inputs: list[int], outputs: list[int]) -> Any:
    made = schema().OperatorT()
    made.opcodeIndex, made.inputs, made.outputs = code, inputs, outputs
    return made


def code(number: int, custom: str | None = None) -> Any:
    made = schema().OperatorCodeT()
    made.deprecatedBuiltinCode, made.builtinCode, made.customCode = min(number, PLACEHOLDER), number, custom
    return made


def written(path: Path, batch: int = -1, custom: str | None = None, held: int = 20) -> Path:
    """Write a network with a dense layer of bytes, and an operator whose number needs more than a byte."""
    import flatbuffers  # type: ignore[import-untyped]

    names = schema()
    floats, bytes_ = names.TensorType.FLOAT32, names.TensorType.INT8
    last = code(names.BuiltinOperator.CUSTOM, custom) if custom else code(names.BuiltinOperator.GELU)
    graph = names.SubGraphT()
    graph.tensors = [
        tensor("x", [1, 4], floats, batch=batch),
        tensor("w", [5, 4], bytes_, buffer=1, scales=5),
        tensor("hidden", [1, 5], floats, batch=batch),
        tensor("y", [1, 5], floats, batch=batch),
    ]
    graph.inputs, graph.outputs = [0], [3]
    graph.operators = [operator(0, [0, 1, -1], [2]), operator(1, [2], [3])]
    empty, weights, runtime = names.BufferT(), names.BufferT(), names.BufferT()
    weights.data, runtime.data = np.zeros(held, np.uint8), np.frombuffer(b"2.11.0\0\0", np.uint8)
    metadata = names.MetadataT()
    metadata.name, metadata.buffer = "min_runtime_version", 2
    signature, takes, gives = names.SignatureDefT(), names.TensorMapT(), names.TensorMapT()
    (takes.name, takes.tensorIndex), (gives.name, gives.tensorIndex) = ("words", 0), ("scores", 3)
    signature.inputs, signature.outputs, signature.signatureKey = [takes], [gives], "serve"
    model = names.ModelT()
    model.version, model.description = 3, "a test"
    model.operatorCodes = [code(names.BuiltinOperator.FULLY_CONNECTED), last]
    model.subgraphs, model.buffers, model.metadata = [graph], [empty, weights, runtime], [metadata]
    model.signatureDefs = [signature]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path


def test_the_tables_are_those_of_the_schema() -> None:
    operators = {value: name for name, value in vars(schema().BuiltinOperator).items() if not name.startswith("_")}
    assert dict(enumerate(NAMES)) == operators
    assert operators[CUSTOM] == "CUSTOM"
    assert operators[PLACEHOLDER] == "PLACEHOLDER_FOR_GREATER_OP_CODES"
    types = {value: name.lower() for name, value in vars(schema().TensorType).items() if not name.startswith("_")}
    assert dict(enumerate(name for name, _ in TYPES)) == types


def test_a_model_is_described(tmp_path: Path) -> None:
    found = inspect(written(tmp_path / "net.tflite"))
    assert found.valid
    assert found.inputs == (Tensor("x", "FP32", (None, 4)),)
    assert found.outputs == (Tensor("y", "FP32", (None, 5)),)
    assert found.batching is not None
    assert found.batching.verdict == "yes"
    assert found.operators == {"FULLY_CONNECTED": 1, "GELU": 1}
    assert found.nodes[0] == Node("hidden", "FULLY_CONNECTED", ("x", "w"), ("hidden",), ("w",), ((None, 5),))
    (weight,) = found.weights
    assert (weight.name, weight.layer, weight.data_type, weight.parameters, weight.bytes) == (
        "w",
        "hidden",
        "INT8",
        20,
        20,
    )
    assert found.facts == (
        ("schema", "3"),
        ("description", "a test"),
        ("oldest runtime", "2.11.0"),
        ("signature serve", "words -> scores"),
    )
    assert found.remarks[0] == "quantized tensors: 1 int8, some with a scale for each channel"


def test_a_fixed_size_of_the_batch_is_named(tmp_path: Path) -> None:
    batching = inspect(written(tmp_path / "net.tflite", batch=1)).batching
    assert batching is not None
    assert (batching.verdict, batching.by) == ("no", "x")


def test_a_custom_operator_is_named(tmp_path: Path) -> None:
    found = inspect(written(tmp_path / "net.tflite", custom="Own"))
    assert found.operators == {"FULLY_CONNECTED": 1, "custom:Own": 1}
    assert found.uses[0].reason == "it has operators of its own: Own"


def test_short_values_are_a_fault(tmp_path: Path) -> None:
    assert inspect(written(tmp_path / "net.tflite", held=19)).faults == ("the values of w are cut off: 19 bytes of 20",)


def test_labels_that_are_packed_behind_a_model_are_named(tmp_path: Path) -> None:
    path = written(tmp_path / "net.tflite")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("labels.txt", "cat\ndog\n")
    path.write_bytes(path.read_bytes() + packed.getvalue())
    assert dict(inspect(path).facts)["files packed in it"] == "labels.txt"


@pytest.mark.parametrize(("content", "fault"), [(b"", "it is empty"), (b"abc", "it is not a TensorFlow Lite file")])
def test_other_files_are_a_fault(tmp_path: Path, content: bytes, fault: str) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(content)
    assert inspect(path).faults == (fault,)


def test_damaged_files_never_raise(tmp_path: Path) -> None:
    path = written(tmp_path / "net.tflite")
    assert sum(not each.valid for each in survives(inspect, path)) > 50
