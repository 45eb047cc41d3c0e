"""The table of behaviours: what each row sees in the operands of one run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, ValueInfoProto, helper, numpy_helper

from modelrepo.generator.coverage.behaviours import ROWS
from modelrepo.generator.coverage.observer import Observer
from tests import onnx_files

FLOAT, INT = TensorProto.FLOAT, TensorProto.INT64
Case = tuple[str, dict[str, Any], list[Any], list[str]]


def observed(tmp_path: Path, operator: str, attributes: dict[str, Any], operands: list[Any]) -> dict[str, bool]:
    """Return the behaviours of a node that one run shows."""
    arrays = [np.asarray(each) for each in operands]
    arrays = [each.astype("f4") if each.dtype == np.float64 else each for each in arrays]
    names = [f"x{place}" for place in range(len(arrays))]
    domain = "ai.onnx.ml" if operator in ML else ""
    node = helper.make_node(operator, names, ["y"], domain=domain, **attributes)
    kinds = [helper.np_dtype_to_tensor_dtype(each.dtype) for each in arrays]
    graph = helper.make_graph(
        [node],
        "test",
        [helper.make_tensor_value_info(*each, None) for each in zip(names, kinds, strict=True)],
        [ValueInfoProto(name="y")],
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("ai.onnx.ml", 3)]
    path = tmp_path / "model.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString())
    observer = Observer(path, takes_missing=True)
    observer.observe(dict(zip(names, arrays, strict=True)))
    assert not observer.reasons
    found: dict[str, bool] = {}
    for tally in observer.tallies.values():
        found |= dict(zip(tally.names, map(bool, tally.seen), strict=True))
    return found


ML = {"LabelEncoder", "OneHotEncoder", "Imputer", "Binarizer", "TreeEnsembleRegressor"}
TREE = {
    "nodes_treeids": [0, 0, 0],
    "nodes_nodeids": [0, 1, 2],
    "nodes_featureids": [0, 0, 0],
    "nodes_values": [0.5, 0.0, 0.0],
    "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"],
    "nodes_truenodeids": [1, 0, 0],
    "nodes_falsenodeids": [2, 0, 0],
    "nodes_missing_value_tracks_true": [1, 0, 0],
    "target_treeids": [0, 0],
    "target_nodeids": [1, 2],
    "target_ids": [0, 0],
    "target_weights": [1.0, 2.0],
    "n_targets": 1,
}
BEHAVIOURS: list[Case] = [
    ("Relu", {}, [[-1.0, -2.0]], ["a value below zero"]),
    ("Relu", {}, [[-1.0, 2.0]], ["a value below zero", "a value above zero"]),
    ("Sigmoid", {}, [[-19.0, 1.0]], ["a value below -18", "a value below zero", "a value above zero"]),
    ("Exp", {}, [[-100.0]], ["a value below -88.8", "a value below zero"]),
    ("Log", {}, [[0.5]], ["a value below one"]),
    ("Softmax", {}, [[-20.0, 0.0]], ["values more than 18 apart"]),
    ("Clip", {}, [[3.0, 5.0], np.float32(4), np.float32(9)], ["a value below"]),
    ("Where", {}, [[True, True], [1.0, 1.0], [2.0, 2.0]], ["true"]),
    ("Not", {}, [[False]], ["false"]),
    ("Sqrt", {}, [[0.5]], ["a value below one"]),
    ("BitwiseNot", {}, [[3]], ["a value of several bits"]),
    ("NonZero", {}, [[0, 0]], ["none"]),
    ("Less", {}, [[1.0, 2.0], [1.0, 5.0]], ["less", "equal"]),
    ("Equal", {}, [[1, 2], [1, 1]], ["equal", "not equal"]),
    ("Max", {}, [[3.0], [1.0]], ["the first"]),
    ("Div", {}, [[-7, 4], [2, 2]], ["a dividend below zero, with a rest", "a dividend above zero"]),
    ("Mod", {}, [[-6], [3]], ["a dividend below zero, without a rest"]),
    ("Mod", {"fmod": 1}, [[-6.5], [3.0]], ["a dividend below zero"]),
    ("Add", {}, [[-1], [1]], ["a value below zero"]),
    ("Add", {}, [[-1.0], [1.0]], []),
    ("Round", {}, [[2.5, -0.7]], ["the half above an even number", "a value below zero"]),
    ("Floor", {}, [[-0.5]], ["a fraction below zero"]),
    ("Pow", {}, [[-2.0], [2.0]], ["a base below zero"]),
    ("Cast", {"to": INT}, [[-1.5]], ["a fraction below zero", "a value below zero"]),
    ("Cast", {"to": FLOAT}, [[-3]], ["a value below zero"]),
    ("Cast", {"to": TensorProto.BOOL}, [[0.0, 0.3]], ["zero", "a fraction"]),
    ("Gather", {}, [[10.0, 20.0, 30.0], [0, -1]], ["the first place", "the last place"]),
    ("OneHot", {}, [[-1, 5], 3, [0.0, 1.0]], ["a place below zero", "a place beyond the last"]),
    ("ArgMax", {}, [[1.0, 1.0]], ["a tie"]),
    ("ArgMax", {}, [[1.0, 2.0]], []),
    ("QuantizeLinear", {}, [[-1.0, 300.0], np.float32(1), np.uint8(0)], ["a value below", "a value above"]),
    ("IsNaN", {}, [[np.nan]], ["NaN"]),
    ("IsInf", {}, [[np.inf]], ["infinity"]),
    ("Binarizer", {"threshold": 0.0}, [[[1.0, -1.0]]], ["a value at or below zero", "a value above zero"]),
    ("Imputer", {"imputed_value_floats": [1.0], "replaced_value_float": np.nan}, [[[np.nan]]], ["a missing value"]),
    (
        "LabelEncoder",
        {"keys_int64s": [3, 4], "values_floats": [0.5, 0.7]},
        [[3, 9]],
        ["the category 3", "an unknown category"],
    ),
    ("OneHotEncoder", {"cats_int64s": [3, 4], "zeros": 1}, [[[4]]], ["the category 4"]),
    ("TreeEnsembleRegressor", TREE, [[[0.5]]], ["leaf 1 of 2"]),
    ("TreeEnsembleRegressor", TREE, [[[np.nan]]], ["leaf 1 of 2", "a missing value of column 0 at a split"]),
]  # fmt: skip


@pytest.mark.parametrize("case", BEHAVIOURS, ids=lambda case: f"{case[0]} {case[2]}"[:40])
def test_a_run_shows_these_behaviours_and_no_others(tmp_path: Path, case: Case) -> None:
    operator, attributes, operands, expected = case
    shown = observed(tmp_path, operator, attributes, operands)
    assert [name for name, seen in shown.items() if seen] == expected


def test_every_row_of_the_table_is_tested() -> None:
    tested = {case[0] for case in BEHAVIOURS} | TEXTS
    assert [row.operators for row in ROWS if not tested & {*row.operators}] == []


# Seen in tests of estimators: skl2onnx writes them.
TEXTS = {"StringNormalizer", "Tokenizer", "TfIdfVectorizer", "CategoryMapper"}


def branching() -> Any:
    """Return a model with an If whose branches hold a Where and a Relu, and a Loop within one of them."""
    body = helper.make_graph(
        [
            helper.make_node("Relu", ["carried"], ["kept"]),
            helper.make_node("Add", ["kept", "x"], ["carried_out"]),
            helper.make_node("Identity", ["going"], ["going_out"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", INT, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("carried", FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("going_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("carried_out", FLOAT, None),
        ],
    )
    yes = helper.make_graph(
        [helper.make_node("Loop", ["turns", "", "x"], ["looped"], body=body)],
        "yes",
        [],
        [helper.make_tensor_value_info("looped", FLOAT, None)],
    )
    no = helper.make_graph(
        [helper.make_node("Clip", ["x", "zero"], ["clipped"])],
        "no",
        [],
        [helper.make_tensor_value_info("clipped", FLOAT, None)],
    )
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["positive"]),
        helper.make_node("If", ["positive"], ["y"], then_branch=yes, else_branch=no),
    ]
    return onnx_files.model(
        nodes,
        [("x", FLOAT, ["n"]), ("turns", INT, [])],
        [("y", FLOAT, None)],
        [numpy_helper.from_array(np.asarray(0, "f4"), "zero")],
    )


@pytest.fixture
def observer(tmp_path: Path) -> Observer:
    path = tmp_path / "model.onnx"
    path.write_bytes(branching().SerializeToString())
    return Observer(path)


Given = Callable[[list[float], int], dict[str, Any]]


def given(x: list[float], turns: int) -> dict[str, Any]:
    return {"x": np.array(x, "f4"), "turns": np.array(turns)}


def test_the_branch_that_did_not_run_is_missing(observer: Observer) -> None:
    observer.observe(given([-1.0, -2.0], 1))
    _, _, missing = observer.counted()
    assert [text for text in missing if text.startswith("If")] == ["If y: then"]


def test_graphs_within_branches_and_loops_are_observed(observer: Observer) -> None:
    observer.observe(given([2.0, -1.0], 3))
    seen = {
        (tally.place, name)
        for tally in observer.tallies.values()
        for name, each in zip(tally.names, tally.seen, strict=True)
        if each
    }
    assert ("Loop looped", "several turns") in seen
    assert ("Relu kept", "a value below zero") in seen
    observer.observe(given([2.0, 1.0], 0))
    assert observer.tallies[next(key for key in observer.tallies if key[0].endswith("looped"))].seen.tolist() == [
        True, False, True,
    ]  # fmt: skip


def test_an_observation_that_shows_nothing_new_says_so(observer: Observer) -> None:
    assert observer.observe(given([2.0], 1))
    assert not observer.observe(given([2.0], 1))
    assert observer.observe(given([-2.0], 1))
