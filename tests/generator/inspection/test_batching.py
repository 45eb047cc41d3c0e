"""Whether samples can be stacked, and which tensor or operator decides: as a run of the model shows it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelrepo.generator.inspection.inspection import Batching
from modelrepo.generator.inspection.onnx_model import inspect
from tests import onnx_files
from tests.generator.inspection.random_graphs import drawn, keeps_apart

FLOAT = TensorProto.FLOAT
SQUARE = numpy_helper.from_array(np.linspace(-1, 1, 16, dtype=np.float32).reshape(4, 4), "w")
ZERO = numpy_helper.from_array(np.array([0]), "zero")
FLAT = numpy_helper.from_array(np.array([-1, 2]), "flat")
SIX = numpy_helper.from_array(np.array([-1, 8]), "eight")
X3: onnx_files.Declared = ("x", FLOAT, ["batch", 3, 4])
Y3: onnx_files.Declared = ("y", FLOAT, ["batch", 3, 4])


def batching(folder: Path, *nodes: onnx.NodeProto, **parts: Any) -> Batching:
    path = folder / "net.onnx"
    model = onnx_files.model(nodes=nodes, **{"initializers": (SQUARE, ZERO, FLAT, SIX), **parts})
    path.write_bytes(model.SerializeToString())
    found = inspect(path)
    assert not found.faults
    assert found.batching
    return found.batching


def node(kind: str, *names: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, list(names), ["y"], name="n", **attributes)


def stays_apart(path: Path, shape: Sequence[int]) -> bool:
    """Whether samples get the same answers alone and in a batch."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    batch = np.random.default_rng(0).normal(size=(5, *shape)).astype(np.float32)
    try:
        together, *_ = session.run(None, {"x": batch})
    except Exception:  # a Reshape that some batches do not fit
        return False
    alone = [session.run(None, {"x": batch[row : row + 1]})[0] for row in range(5)]
    return together.shape[0] == 5 and np.allclose(together, np.concatenate(alone), atol=1e-5)


APART = [
    (node("MatMul", "x", "w"), onnx_files.ROWS, onnx_files.ANSWERS),
    (node("Softmax", "x"), onnx_files.ROWS, onnx_files.ANSWERS),
    (node("LayerNormalization", "x", "w", axis=1), X3, None),
    (node("TopK", "x", "one"), onnx_files.ROWS, None),
    (node("CumSum", "x", "one"), onnx_files.ROWS, onnx_files.ANSWERS),
    (node("ReduceMean", "x", "one"), X3, None),
    (node("Transpose", "x", perm=[0, 2, 1]), X3, None),
]
MIXED = [
    (node("Softmax", "x", axis=0), onnx_files.ROWS, onnx_files.ANSWERS),
    (node("CumSum", "x", "zero"), onnx_files.ROWS, onnx_files.ANSWERS),
    (node("Hardmax", "x", axis=0), onnx_files.ROWS, onnx_files.ANSWERS),
    (node("LpNormalization", "x", axis=0), onnx_files.ROWS, onnx_files.ANSWERS),
    (node("ReduceMean", "x", "zero"), onnx_files.ROWS, ("y", FLOAT, [1, 4])),
    (node("Reshape", "x", "eight"), onnx_files.ROWS, ("y", FLOAT, ["n", 8])),
    (node("Reshape", "x", "flat"), onnx_files.ROWS, ("y", FLOAT, ["n", 2])),
    (node("Gather", "x", "zero", axis=0), onnx_files.ROWS, ("y", FLOAT, ["n", 4])),
    (node("Flatten", "x", axis=2), X3, ("y", FLOAT, ["n", 4])),
    (node("Transpose", "x", perm=[1, 0]), onnx_files.ROWS, ("y", FLOAT, ["n", "m"])),
]


@pytest.mark.parametrize(("step", "given", "answer"), APART, ids=lambda each: getattr(each, "op_type", ""))
def test_samples_that_stay_apart_can_be_stacked(tmp_path: Path, step: Any, given: Any, answer: Any) -> None:
    one = numpy_helper.from_array(np.array([1]), "one")
    scale = numpy_helper.from_array(
        np.ones((3, 4) if step.op_type == "LayerNormalization" else (4, 4), np.float32), "w"
    )
    outputs = [(answer or ("y", FLOAT, None))]
    if step.op_type == "TopK":
        step = helper.make_node("TopK", ["x", "one"], ["y", "indices"])
    found = batching(tmp_path, step, inputs=(given,), outputs=outputs, initializers=(scale, one))
    assert (found.verdict, found.by) == ("yes", "x")
    assert stays_apart(tmp_path / "net.onnx", given[2][1:])


@pytest.mark.parametrize(("step", "given", "answer"), MIXED, ids=lambda each: getattr(each, "op_type", ""))
def test_what_mixes_samples_is_named(tmp_path: Path, step: Any, given: Any, answer: Any) -> None:
    found = batching(tmp_path, step, inputs=(given,), outputs=(answer,))
    assert found.verdict == "no"
    assert found.by in ("n", "y")
    assert not stays_apart(tmp_path / "net.onnx", given[2][1:])


def test_a_recurrent_layer_over_the_batch_is_found(tmp_path: Path) -> None:
    weights = [numpy_helper.from_array(np.ones((1, 8, 4), np.float32) / 9, "i")]
    weights += [numpy_helper.from_array(np.ones((1, 8, 2), np.float32) / 9, "r")]
    step = helper.make_node("LSTM", ["x", "i", "r"], ["h"], name="lstm", hidden_size=2)
    last = helper.make_node("Squeeze", ["h", "one"], ["y"])
    weights.append(numpy_helper.from_array(np.array([1]), "one"))
    answer = ("y", FLOAT, ["batch", 3, 2])
    found = batching(tmp_path, step, last, inputs=(X3,), outputs=(answer,), initializers=weights)
    assert (found.verdict, found.by) == ("no", "lstm")
    assert not stays_apart(tmp_path / "net.onnx", (3, 4))


def test_scores_between_the_samples_of_a_batch_are_found(tmp_path: Path) -> None:
    nodes = (
        helper.make_node("Transpose", ["x"], ["t"]),
        helper.make_node("MatMul", ["x", "t"], ["s"], name="scores"),
        helper.make_node("MatMul", ["s", "x"], ["y"]),
    )
    found = batching(tmp_path, *nodes)
    assert (found.verdict, found.by) == ("no", "scores")


@pytest.mark.parametrize(
    ("given", "answer", "by", "verdict", "reason"),
    [
        (("x", FLOAT, [1, 4]), ("y", FLOAT, [1, 4]), "x", "no", "always 1; if that is a batch"),
        (("x", FLOAT, []), ("y", FLOAT, []), "x", "no", "is a scalar"),
        (("x", FLOAT, ["n", 4]), ("y", FLOAT, ["n", 4]), "x", "yes", "keeps the samples of a batch apart"),
        (("x", FLOAT, [None, 4]), ("y", FLOAT, [None, 4]), "x", "yes", "needs --make-batch-dynamic"),
    ],
)
def test_the_first_dimensions_decide(
    tmp_path: Path, given: Any, answer: Any, by: str, verdict: str, reason: str
) -> None:
    found = batching(tmp_path, node("Relu", "x"), inputs=(given,), outputs=(answer,))
    assert (found.by, found.verdict) == (by, verdict)
    assert reason in found.reason


def test_inputs_whose_first_dimensions_have_other_names_are_not_judged(tmp_path: Path) -> None:
    found = batching(
        tmp_path, node("MatMul", "x", "b"), inputs=(("x", FLOAT, ["n", 4]), ("b", FLOAT, ["m", 4, 4])), outputs=(Y3,)
    )
    assert (found.verdict, found.by) == ("unknown", "b")


def test_an_operator_of_another_domain_leaves_it_open(tmp_path: Path) -> None:
    model = onnx_files.model(nodes=(helper.make_node("Reflect", ["x"], ["y"], name="r", domain="own"),))
    model.opset_import.append(helper.make_opsetid("own", 1))
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    found = inspect(tmp_path / "net.onnx").batching
    assert found
    assert (found.verdict, found.by) == ("unknown", "r")


def test_a_graph_that_onnx_dies_of_is_left_open(tmp_path: Path) -> None:
    """See ``edit.infer_shapes``: a LabelEncoder behind an operator that onnx does not know ends the process."""
    nodes = (
        helper.make_node("Tokenizer", ["x"], ["t"], domain="com.microsoft", mark=0, mincharnum=1, pad_value="#"),
        helper.make_node(
            "LabelEncoder", ["t"], ["y"], domain="ai.onnx.ml", name="l", keys_strings=["a"], values_int64s=[1]
        ),
    )
    model = onnx_files.model(
        nodes=nodes, inputs=(("x", TensorProto.STRING, ["n"]),), outputs=(("y", TensorProto.INT64, ["n", "m"]),)
    )
    model.opset_import.extend([helper.make_opsetid("com.microsoft", 1), helper.make_opsetid("ai.onnx.ml", 3)])
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    found = inspect(tmp_path / "net.onnx")
    assert not found.faults
    assert found.batching
    assert (found.batching.verdict, found.batching.by) == ("unknown", "l")


def test_open_sizes_are_chosen_so_that_a_detector_fits_together(tmp_path: Path) -> None:
    half = numpy_helper.from_array(np.array([1, 1, 0.5, 0.5], np.float32), "half")
    twice = numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "twice")
    nodes = (
        helper.make_node("Resize", ["x", "", "half"], ["a"]),
        helper.make_node("Resize", ["a", "", "twice"], ["b"]),
        helper.make_node("Add", ["x", "b"], ["y"]),
    )
    picture = ("x", FLOAT, ["batch", 3, "h", "w"])
    found = batching(tmp_path, *nodes, inputs=(picture,), outputs=(("y", *picture[1:]),), initializers=(half, twice))
    assert found.verdict == "yes"


def test_a_reshape_in_the_place_of_a_transpose_is_found(tmp_path: Path) -> None:
    nodes = (
        helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0]),
        helper.make_node("Reshape", ["t", "rows"], ["y"], name="back"),
    )
    rows = numpy_helper.from_array(np.array([-1, 4]), "rows")
    found = batching(tmp_path, *nodes, initializers=(rows,))
    assert (found.verdict, found.by) == ("no", "back")
    assert not stays_apart(tmp_path / "net.onnx", (4,))


def test_random_graphs_that_are_said_to_keep_samples_apart_do(tmp_path: Path) -> None:
    said = {"yes": 0, "no": 0, "unknown": 0}
    for seed in range(120):
        model = drawn(seed)
        if model is not None:
            (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
            found = inspect(tmp_path / "net.onnx")
            assert found.batching
            assert not found.faults
            assert found.batching.verdict != "yes" or keeps_apart(model), seed
            said[found.batching.verdict] += 1
    assert min(said["yes"], said["no"]) > 15


def test_a_batch_that_is_sorted_by_its_lengths_is_left_open(tmp_path: Path) -> None:
    """A recurrent layer of PyTorch sorts the batch so, and undoes it."""
    nodes = (
        helper.make_node("Shape", ["n"], ["size"]),
        helper.make_node("TopK", ["n", "size"], ["sorted", "order"], name="sorting"),
        helper.make_node("Gather", ["x", "order"], ["y"], name="picking"),
    )
    lengths = ("n", TensorProto.INT64, ["batch"])
    found = batching(tmp_path, *nodes, inputs=(onnx_files.ROWS, lengths))
    assert (found.verdict, found.by) == ("unknown", "sorting")
