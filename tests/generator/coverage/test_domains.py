"""The range of an input of which only the type is known."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from modelrepo.generator.coverage.domains import narrowed
from modelrepo.generator.errors import InputRefused
from modelrepo.generator.specs.tensors import Domain, Signature, TensorSpec, unknown_domain

OUTPUT = TensorSpec("y", "float32", ("batch", 3))
SEQUENCE = TensorSpec("x", "float32", ("batch", 6, 4))
ANY = "(float[batch, 6, 4] x) => (float[batch, 6, 4] y) { y = Identity(x) }"


def written(path: Path, text: str = ANY) -> Path:
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18]> g {text}')
    path.write_bytes(model.SerializeToString())
    return path


def whole(name: str, *shape: int | str) -> TensorSpec:
    return TensorSpec(name, "int64", shape, unknown_domain("int64"))


def answering(takes: Callable[..., Any]) -> Callable[..., Any]:
    def run(arrays: Any) -> Any:
        if not takes(**arrays):
            raise InputRefused("the source model fails")
        return {"y": np.ones((len(next(iter(arrays.values()))), 3), np.float32)}

    return run


def domains(takes: Callable[..., Any], inputs: tuple[TensorSpec, ...], path: Path) -> dict[str, Domain]:
    signature = narrowed(answering(takes), Signature(inputs, (OUTPUT,)), path, 0)
    return {spec.name: spec.domain for spec in signature.inputs}


def test_lengths_are_between_one_and_the_longest_that_is_answered(tmp_path: Path) -> None:
    inputs = (SEQUENCE, whole("n", "batch"))
    found = domains(lambda x, n: ((n >= 1) & (n <= x.shape[1])).all(), inputs, written(tmp_path / "model.onnx"))
    assert found["n"] == Domain(1.0, 6.0, known=False)


def test_two_inputs_with_ranges_of_their_own_are_found(tmp_path: Path) -> None:
    inputs = (SEQUENCE, whole("n", "batch"), whole("k", "batch"))
    found = domains(
        lambda x, n, k: ((n >= 1) & (n <= 6)).all() and ((k >= 1) & (k <= 2)).all(),
        inputs,
        written(tmp_path / "model.onnx"),
    )
    assert (found["n"].high, found["k"].high) == (6.0, 2.0)


def test_an_index_reaches_the_whole_table_at_once(tmp_path: Path) -> None:
    graph = (
        "(int64[batch, 3] i) => (float[batch, 3] y) <float[50] w = {"
        + ",".join(["1.0"] * 50)
        + "}> { y = Gather(w, i) }"
    )
    found = domains(
        lambda i: (np.abs(i) < 50).all(), (whole("i", "batch", 3),), written(tmp_path / "model.onnx", graph)
    )
    assert found["i"] == Domain(0.0, 49.0, known=False)


def test_numbers_of_a_root_are_above_zero(tmp_path: Path) -> None:
    inputs = (TensorSpec("x", "float32", ("batch", 3), unknown_domain("float32")),)
    found = domains(lambda x: (x > 0).all(), inputs, written(tmp_path / "model.onnx"))
    assert found["x"].low is not None
    assert found["x"].low > 0


@pytest.mark.parametrize("takes", [lambda n: True, lambda n: False])
def test_nothing_changes_if_the_usual_values_do_or_none_do(takes: Any, tmp_path: Path) -> None:
    spec = whole("n", "batch")
    assert domains(takes, (spec,), written(tmp_path / "model.onnx"))["n"] == spec.domain


def test_a_known_domain_is_not_searched(tmp_path: Path) -> None:
    def ask(arrays: Any) -> Any:
        raise AssertionError

    signature = Signature((TensorSpec("n", "int64", ("batch",), Domain(1.0, 3.0)),), (OUTPUT,))
    assert narrowed(ask, signature, tmp_path / "none.onnx", 0) is signature
