"""The search for inputs: what it asks, and what it reaches."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelrepo.generator.coverage.observer import Observer
from modelrepo.generator.coverage.search import Search
from modelrepo.generator.errors import InputRefused, VerificationError
from modelrepo.generator.graphs import runtime
from modelrepo.generator.specs.findings import Verification
from modelrepo.generator.specs.options import Effort
from modelrepo.generator.specs.tensors import Arrays, Domain, Signature, TensorSpec
from modelrepo.generator.verification.verify import Run, verify
from tests import onnx_files

FLOAT, INT, STRING = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING
UNKNOWN = Domain(known=False)


def proven(
    source: Run,
    nodes: list[Any],
    spec: TensorSpec,
    effort: Effort | None = None,
    constants: dict[str, Any] | None = None,
) -> Verification:
    """Compare a source with a graph from ``x`` to ``y``, with the search's inputs."""
    kind = {"float32": FLOAT, "int64": INT, "object": STRING}[spec.dtype]
    path = Path("model.onnx")
    model = onnx_files.model(
        nodes,
        [("x", kind, list(spec.shape))],
        [("y", FLOAT, ["batch", None])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()],
    )
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    path.write_bytes(model.SerializeToString())
    signature = Signature((spec,), (TensorSpec("y", "float32", ("batch", 2)),))
    search = Search(path, signature, effort or Effort(), 0)
    found = verify(source, runtime.open_model(path), signature, max_batch_size=4, seed=0, probing=search)
    return replace(found, coverage=search.coverage())


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


X = TensorSpec("x", "float32", ("batch", 2), UNKNOWN)
WHOLE = TensorSpec("x", "int64", ("batch", 2), UNKNOWN)
IDENTITY = [helper.make_node("Identity", ["x"], ["y"])]
TO_FLOAT = helper.make_node("Cast", ["z"], ["y"], to=FLOAT)


@pytest.mark.parametrize("wrong_at", [-150.0, 9000.0, 0.5, -19.0, 2.5], ids=lambda value: f"wrong at {value}")
def test_values_that_a_conversion_may_get_wrong_are_asked(wrong_at: float) -> None:
    def source(arrays: Arrays) -> dict[str, Any]:
        x = arrays["x"]
        broken = (x == wrong_at) if abs(wrong_at) < 100 else (x * np.sign(wrong_at) >= abs(wrong_at))
        return {"y": np.where(broken, np.float32(-7), x)}

    with pytest.raises(VerificationError, match="output 'y' differs"):
        proven(source, IDENTITY, X)


@pytest.mark.parametrize("divisor", [3, -3])
def test_whole_numbers_below_zero_are_asked(divisor: int) -> None:
    def floored(arrays: Arrays) -> dict[str, Any]:
        return {"y": (arrays["x"] // divisor).astype("f4")}

    nodes = [helper.make_node("Div", ["x", "divisor"], ["z"]), TO_FLOAT]
    with pytest.raises(VerificationError, match="output 'y' differs"):
        proven(floored, nodes, WHOLE, constants={"divisor": np.int64(divisor)})


def test_indices_reach_both_ends_and_below_zero_and_never_beyond_what_the_source_takes() -> None:
    table = np.arange(14, dtype="f4").reshape(7, 2)
    asked: set[int] = set()

    def source(arrays: Arrays) -> dict[str, Any]:
        places = arrays["x"][:, 0]
        if places.min() < -7 or places.max() > 6:
            raise InputRefused("the source model fails on x: index out of range")
        asked.update(places.tolist())
        return {"y": table[places]}

    first = [
        helper.make_node("Gather", ["x", "zero"], ["column"], axis=1),
        helper.make_node("Gather", ["table", "column"], ["y"]),
    ]
    found = proven(
        source, first, TensorSpec("x", "int64", ("batch", 1), UNKNOWN), None, {"table": table, "zero": np.int64(0)}
    )
    assert {-7, -1, 0, 6} <= asked
    assert found.coverage
    assert found.coverage.covered == found.coverage.behaviours == 2  # both ends; the constant index is none


def test_a_number_that_an_input_is_compared_with_is_asked_exactly() -> None:
    def strictly(arrays: Arrays) -> dict[str, Any]:
        return {"y": (arrays["x"] > np.float32(0.3)).astype("f4")}

    def nodes(operator: str) -> list[Any]:
        return [helper.make_node(operator, ["x", "limit"], ["z"]), TO_FLOAT]

    limit = {"limit": np.float32(0.3)}
    assert proven(strictly, nodes("Greater"), X, constants=limit).passed
    with pytest.raises(VerificationError, match="differs"):
        proven(strictly, nodes("GreaterOrEqual"), X, constants=limit)


def test_edges_that_only_the_source_knows_are_asked_exactly() -> None:
    edge = 0.1  # not a float32: the largest below it is compared as being below
    spec = TensorSpec("x", "float32", ("batch", 2), Domain(known=False, edges=((edge,), (7.25,))))

    def source(arrays: Arrays) -> dict[str, Any]:
        return {"y": np.float32(arrays["x"].astype("f8") <= [edge, 7.25])}

    nodes = [helper.make_node("LessOrEqual", ["x", "limit"], ["z"]), TO_FLOAT]
    below = np.nextafter(np.float32(edge), np.float32(0))
    assert proven(source, nodes, spec, constants={"limit": np.array([below, 7.25], "f4")}).passed
    with pytest.raises(VerificationError, match="differs"):
        proven(source, nodes, spec, constants={"limit": np.array([edge, 7.25], "f4")})


def test_missing_values_are_asked_if_the_source_takes_them() -> None:
    spec = TensorSpec("x", "float32", ("batch", 2), Domain(known=False, missing=True))

    def filled(arrays: Arrays) -> dict[str, Any]:
        return {"y": np.nan_to_num(arrays["x"], nan=3)}

    with pytest.raises(VerificationError, match="differs by inf"):
        proven(filled, IDENTITY, spec)


def test_a_branch_that_only_some_inputs_take_is_reached() -> None:
    """The mean of a picture decides: no generated input of the usual families has one above 100."""
    branches = {
        name: helper.make_graph(
            [helper.make_node("Mul", ["x", factor], [name])],
            name,
            [],
            [helper.make_tensor_value_info(name, FLOAT, None)],
        )
        for name, factor in (("bright", "small"), ("dark", "one"))
    }
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], keepdims=0),
        helper.make_node("Greater", ["mean", "limit"], ["is_bright"]),
        helper.make_node("If", ["is_bright"], ["y"], then_branch=branches["bright"], else_branch=branches["dark"]),
    ]
    constants = {"limit": np.float32(100), "small": np.float32(1 / 255), "one": np.float32(1)}

    def source(factor: float) -> Run:
        def run(arrays: Arrays) -> dict[str, Any]:
            return {"y": arrays["x"] * np.float32(factor if arrays["x"].mean() > 100 else 1)}

        return run

    found = proven(source(1 / 255), nodes, X, constants=constants)
    assert found.coverage
    assert "If y: then" not in found.coverage.missing
    with pytest.raises(VerificationError, match="differs"):
        proven(source(1 / 254), nodes, X, constants=constants)


def test_the_graphs_around_a_model_have_no_behaviours_of_their_own() -> None:
    """The pixels of a picture are never below zero, and nobody can make them so."""
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], "prepare/Relu_0"),
        helper.make_node("Relu", ["a"], ["b"], "Relu_0"),
        helper.make_node("Relu", ["b"], ["y"], "finish/Relu_0"),
    ]
    path = Path("model.onnx")
    path.write_bytes(
        onnx_files.model(nodes, [("x", FLOAT, ["n", 2])], [("y", FLOAT, ["n", 2])], []).SerializeToString()
    )
    for beside, places in (((), 3), (("prepare/", "finish/"), 1)):
        observer = Observer(path, beside=beside)
        observer.observe({"x": np.ones((1, 2), np.float32)})
        assert [tally.place.split()[1] for tally in observer.tallies.values()].count("Relu_0") == 1
        assert len(observer.tallies) == places


def test_every_leaf_of_a_forest_is_reached() -> None:
    sklearn = pytest.importorskip("sklearn.ensemble")
    skl2onnx = pytest.importorskip("skl2onnx")
    random = np.random.default_rng(0)
    table = random.normal(size=(300, 3)).astype("f4")
    forest = sklearn.RandomForestRegressor(8, random_state=0, max_depth=6).fit(table, table[:, 0] * table[:, 1])
    path = Path("forest.onnx")
    path.write_bytes(skl2onnx.to_onnx(forest, table[:1]).SerializeToString())
    spec = TensorSpec("X", "float32", ("batch", 3), UNKNOWN)
    signature = Signature((spec,), (TensorSpec("variable", "float32", ("batch", 1)),))

    def source(arrays: Arrays) -> dict[str, Any]:
        if np.isnan(arrays["X"]).any():
            raise InputRefused("the source model fails on X: it takes no missing values")
        return {"variable": forest.predict(arrays["X"]).astype("f4")[:, np.newaxis]}

    search = Search(path, signature, Effort(), 0)
    verify(source, runtime.open_model(path), signature, max_batch_size=8, seed=0, probing=search)
    assert search.coverage().covered == search.coverage().behaviours > 100


def test_the_search_is_the_same_for_the_same_seed() -> None:
    asked: list[list[bytes]] = []

    def source(arrays: Arrays) -> dict[str, Any]:
        asked[-1].append(arrays["x"].tobytes())
        return {"y": np.maximum(arrays["x"], 0)}

    for _ in range(2):
        asked.append([])
        proven(source, [onnx_files.RELU], X)
    assert asked[0] == asked[1]


def test_more_effort_asks_more_and_a_time_ends_the_search() -> None:
    def source(arrays: Arrays) -> dict[str, Any]:
        return {"y": np.maximum(arrays["x"], 0)}

    quick, normal = (proven(source, [onnx_files.RELU], X, Effort(name)) for name in ("quick", "normal"))
    assert quick.cases < normal.cases
    assert proven(source, [onnx_files.RELU], X, Effort(seconds=0.01)).passed


def test_no_text_makes_a_model_of_texts_differ_unasked() -> None:
    spec = TensorSpec("x", "object", ("batch", 1), UNKNOWN)

    def source(arrays: Arrays) -> dict[str, Any]:
        return {"y": np.array([[float(str(text).isascii())] for text in arrays["x"][:, 0]], "f4")}

    nodes = [
        helper.make_node(
            "LabelEncoder",
            ["x"],
            ["y"],
            domain="ai.onnx.ml",
            keys_strings=["é"],
            values_floats=[0.0],
            default_float=1.0,
        )
    ]
    with pytest.raises(VerificationError, match="differs"):
        proven(source, nodes, spec)


@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_a_single_number_is_searched_as_well(dtype: str) -> None:
    """An input without dimensions, of a model without batches."""
    kind = FLOAT if dtype == "float32" else INT
    path = Path("model.onnx")
    identity = helper.make_node("Identity", ["x"], ["y"])
    path.write_bytes(onnx_files.model([identity], [("x", kind, [])], [("y", kind, [])]).SerializeToString())
    signature = Signature((TensorSpec("x", dtype, (), UNKNOWN),), (TensorSpec("y", dtype, ()),))

    def source(arrays: Arrays) -> dict[str, Any]:
        return {"y": np.where(arrays["x"] == -7 if dtype == "int64" else arrays["x"] == 2.5, 0, arrays["x"])}

    search = Search(path, signature, Effort(), 0)
    with pytest.raises(VerificationError, match="differs"):
        verify(source, runtime.open_model(path), signature, max_batch_size=4, seed=0, probing=search)


def test_a_large_number_is_asked_only_of_a_source_that_takes_numbers_of_some_size() -> None:
    """A source may take memory for a length before it refuses it."""
    asked: dict[int, int] = {}

    def source(most: int) -> Run:
        def run(arrays: Arrays) -> dict[str, Any]:
            largest = int(np.abs(arrays["x"]).max())
            asked[most] = max(asked.get(most, 0), largest)
            if largest > most:
                raise InputRefused("the source model fails on x: too long")
            return {"y": arrays["x"].astype("f4")}

        return run

    nodes = [helper.make_node("Cast", ["x"], ["y"], to=FLOAT)]
    for most in (9, 2**63 - 1):
        proven(source(most), nodes, WHOLE)
    assert asked[9] < 20000
    assert asked[2**63 - 1] > 2**31
