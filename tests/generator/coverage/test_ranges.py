"""Outputs that are compared in another way."""

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from modelrepo.generator.coverage.ranges import arbitrary_outputs, has_ties, known_ranges
from tests import onnx_files

FLOAT, INT = TensorProto.FLOAT, TensorProto.INT64


def test_a_sigmoid_and_moves_after_it_have_a_known_range(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Sigmoid", ["x"], ["probability"]),
        helper.make_node("Unsqueeze", ["probability", "axis"], ["y"]),
        helper.make_node("Mul", ["probability", "x"], ["z"]),
    ]
    outputs = [("y", FLOAT, None), ("z", FLOAT, None)]
    axis = numpy_helper.from_array(np.array([1]), "axis")
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_files.model(nodes, outputs=outputs, initializers=[axis]).SerializeToString())
    assert known_ranges(path) == {"y": 1.0}


def test_the_places_of_the_largest_values_are_arbitrary_among_equal_ones(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("TopK", ["x", "k"], ["y", "places"]),
        helper.make_node("Cast", ["places"], ["z"], to=FLOAT),
    ]
    outputs = [("y", FLOAT, None), ("places", INT, None), ("z", FLOAT, None)]
    k = numpy_helper.from_array(np.array([2]), "k")
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_files.model(nodes, outputs=outputs, initializers=[k]).SerializeToString())
    assert arbitrary_outputs(path) == {"places", "z"}


def test_equal_values_are_tied_only_where_they_compete(tmp_path: Path) -> None:
    nodes = [helper.make_node("TopK", ["x", "k"], ["y", "places"])]
    k = numpy_helper.from_array(np.array([2]), "k")
    path = tmp_path / "model.onnx"
    outputs = [("y", FLOAT, None), ("places", INT, None)]
    path.write_bytes(onnx_files.model(nodes, outputs=outputs, initializers=[k]).SerializeToString())
    assert has_ties(path, {"x": np.array([[5, 3, 3, 1]], "f4")})
    assert not has_ties(path, {"x": np.array([[5, 4, 3, 1]], "f4")})
