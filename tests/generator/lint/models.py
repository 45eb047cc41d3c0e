"""Small models and repositories of them, for the tests of rules that read model files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modelrepo.generator.lint.check import check
from modelrepo.generator.lint.finding import Finding
from modelrepo.generator.lint.rules import rules
from modelrepo.generator.lint.subject import Host
from modelrepo.generator.triton.releases import release_named

BACKENDS = (
    *("onnx_files", "onnxruntime", "onnx_settings", "tensorrt", "openvino", "pytorch", "python"),
    *("backends", "machine", "version_folders"),
)
PARTS = ("ORT", "TRT", "OV", "PT", "PY", "VDIR", "VALL")
FLOAT, INT64 = 1, 7  # of TensorProto.DataType


def onnx_bytes(
    inputs: Sequence[Any] = (("x", FLOAT, ["N", 4]),),
    outputs: Sequence[Any] = (("y", FLOAT, ["N", 5]),),
    nodes: Sequence[Any] | None = None,
    opset: int = 17,
    ir: int = 8,
    initializers: Sequence[Any] | None = None,
) -> bytes:
    """Return an ONNX file; by default it multiplies rows of 4 with a matrix of 4 by 5."""
    import numpy as np
    from onnx import helper, numpy_helper

    weights = numpy_helper.from_array(np.ones((4, 5), np.float32), "w")
    graph = helper.make_graph(
        nodes or [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "graph",
        [helper.make_tensor_value_info(*each) if isinstance(each, tuple) else each for each in inputs],
        [helper.make_tensor_value_info(*each) if isinstance(each, tuple) else each for each in outputs],
        initializer=[weights] if initializers is None else initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)
    return bytes(model.SerializeToString())


def lay(folder: Path, config: str | None, files: Mapping[str, bytes | str]) -> Path:
    """Write a model folder with one version, and return it."""
    (folder / "1").mkdir(parents=True)
    if config is not None:
        (folder / "config.pbtxt").write_text(config, "utf-8")
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def host(release: str = "26.09", **more: Any) -> Host:
    """Return a host without a GPU."""
    return Host(release_named(release), **{"gpus": 0, **more})


def found(folder: Path, *hosts: Host) -> list[Finding]:
    """Return what the rules of backends find in a model folder."""
    return check(folder, hosts or [host()], rules(BACKENDS))


def codes(
    folder: Path, *hosts: Host, parts: Sequence[str] = ("ORT", "TRT", "OV", "PT", "PY", "VDIR", "VALL")
) -> set[str]:
    """Return the codes that are found."""
    return {each.code for each in found(folder, *hosts) if each.code.partition("-")[0] in parts}
