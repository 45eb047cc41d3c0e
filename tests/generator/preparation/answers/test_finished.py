"""`generate --with-postprocessing`: what is published, what is refused, and that wrong answers are noticed."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from modelrepo.generator.preparation import answers
from modelrepo.generator.preparation.answers import deciding
from modelrepo.generator.preparation.answers.finish import Finish
from modelrepo.generator.specs.tensors import Array
from tests.conftest import Generate, assert_refused
from tests.onnx_files import FLOAT, write

RANDOM = np.random.default_rng(0)
QUICK = ("--with-postprocessing", "--verify-effort", "quick", "--client-dir", "none", "-q")


def classifier(name: str, *, shares: bool = False, classes: int = 7) -> Path:
    """Write a linear classifier of ``classes``, with a softmax if its answers are ``shares``."""
    weights = numpy_helper.from_array(RANDOM.standard_normal((4, classes)).astype(np.float32), "w")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["logits"])]
    nodes += [helper.make_node("Softmax" if shares else "Identity", ["logits"], ["y"])]
    return write(name, nodes=nodes, outputs=[("y", FLOAT, ["batch", classes])], initializers=[weights])


def yolo(name: str) -> Path:
    """Write a head of 6 classes and 12 anchors, as YOLOv8 answers: centres, widths and heights, and scores."""
    parts = [numpy_helper.from_array(RANDOM.standard_normal((4, 120)).astype(np.float32), "w")]
    parts += [numpy_helper.from_array(np.array([0, 10, 12]), "shape"), numpy_helper.from_array(np.array([4, 6]), "cut")]
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["flat"]),
        helper.make_node("Reshape", ["flat", "shape"], ["rows"]),
        helper.make_node("Split", ["rows", "cut"], ["raw", "logits"], axis=1),
        helper.make_node("Softplus", ["raw"], ["boxes"]),
        helper.make_node("Sigmoid", ["logits"], ["scores"]),
        helper.make_node("Concat", ["boxes", "scores"], ["y"], axis=1),
    ]
    return write(name, nodes=nodes, outputs=[("y", FLOAT, ["batch", 10, 12])], initializers=parts)


def names(count: int) -> str:
    Path("names.txt").write_text("".join(f"class {number}\n" for number in range(count)), "utf-8")
    return "names.txt"


def served(name: str, rows: Array) -> dict[str, Array]:
    session = onnxruntime.InferenceSession(f"model_repository/{name}/1/model.onnx")
    return dict(zip([each.name for each in session.get_outputs()], session.run(None, {"x": rows}), strict=True))


def test_a_classifier_with_names_is_published_with_its_best_labels(generate: Generate) -> None:
    path = classifier("net.onnx")
    outcome = generate("--model", str(path), "--labels", names(7), "--top-k", "3", *QUICK, "--json")
    assert outcome.code == 0, outcome.err
    rows = RANDOM.standard_normal((3, 4)).astype(np.float32)
    found = served("net", rows)
    logits = onnxruntime.InferenceSession(str(path)).run(None, {"x": rows})[0]
    order = np.argsort(-logits, axis=1)[:, :3]
    assert found["labels"].tolist() == [[f"class {number}" for number in row] for row in order]
    assert outcome.result["max_batch_size"] == 16
    assert any("taken as logits" in note for note in outcome.result["notes"])
    config = Path("model_repository/net/config.pbtxt").read_text()
    assert "label_filename" not in config
    assert 'name: "labels"\n  data_type: TYPE_STRING\n  dims: [ 3 ]' in config


def test_shares_are_served_as_they_are_and_without_names_only_numbers(generate: Generate) -> None:
    outcome = generate("--model", str(classifier("net.onnx", shares=True)), *QUICK, "--json")
    assert outcome.code == 0, outcome.err
    found = served("net", RANDOM.standard_normal((2, 4)).astype(np.float32))
    assert found.keys() == {"scores", "classes"}
    assert found["scores"].shape == (2, 5)
    assert any("have no names" in note for note in outcome.result["notes"])


@pytest.mark.parametrize(("arguments", "batch"), [((), 16), (("--max-batch-size", "0"), 0)])
def test_a_yolo_is_published_with_boxes(generate: Generate, arguments: tuple[str, ...], batch: int) -> None:
    path = yolo("net.onnx")
    own = ("--head", "yolo", "--labels", names(6), "--max-detections", "5", "--score-threshold", "0.6")
    outcome = generate("--model", str(path), *own, *arguments, *QUICK, "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.result["max_batch_size"] == batch
    found = served("net", RANDOM.standard_normal((2, 4)).astype(np.float32))
    assert {name: each.shape for name, each in found.items()} == {
        **{"scores": (2, 5), "classes": (2, 5), "labels": (2, 5)},
        **{"boxes": (2, 5, 4), "count": (2, 1)},
    }
    assert ((found["scores"] > 0.6).sum(axis=1, keepdims=True) == found["count"]).all()


def test_labelled_samples_count_the_first_class_of_a_list(generate: Generate) -> None:
    path = classifier("net.onnx")
    rows = RANDOM.standard_normal((64, 4)).astype(np.float32)
    right = onnxruntime.InferenceSession(str(path)).run(None, {"x": rows})[0].argmax(axis=1)
    right[:16] = (right[:16] + 1) % 7
    np.savez("samples.npz", x=rows, labels=right)
    own = ("--labels", names(7), "--samples", "samples.npz")
    outcome = generate("--model", str(path), *own, *QUICK, "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.result["verification"]["accuracy"]["value"] == 0.75


@pytest.mark.parametrize("precision", ["fp16", "int8-dynamic"])
def test_a_lower_precision_keeps_labels_and_numbers_in_their_types(generate: Generate, precision: str) -> None:
    own = ("--labels", names(7), "--precision", precision)
    outcome = generate("--model", str(classifier("net.onnx")), *own, *QUICK)
    assert outcome.code == 0, outcome.err
    found = served(f"net_{precision}", RANDOM.standard_normal((2, 4)).astype(np.float32))
    assert [found[name].dtype.name for name in ("scores", "classes", "labels")] == ["float32", "int64", "object"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "nothing says what its outputs mean (y[batch, 7])"),
        (("--head", "yolo"), "--head yolo can't read y[batch, 7]"),
        (("--labels", "names.txt", "--top-k", "9"), "--top-k 9 is more than the 7 classes"),
        (("--labels", "names.txt", "--iou-threshold", "0.3"), "--iou-threshold has no effect on onnx:net.onnx"),
        (("--labels", "names.txt", "--pooling", "mean"), "--pooling has no effect on onnx:net.onnx"),
    ],
)
def test_what_has_no_effect_is_refused(generate: Generate, arguments: tuple[str, ...], message: str) -> None:
    names(7)
    assert_refused(generate("--model", str(classifier("net.onnx")), *arguments, *QUICK), 2, message)


def test_an_option_of_answers_needs_with_postprocessing(generate: Generate) -> None:
    outcome = generate("--model", str(classifier("net.onnx")), "--top-k", "3", "-q")
    assert_refused(outcome, 2, "--top-k has no effect on onnx. It applies to: --with-postprocessing")


def _with_swapped_names(finish: Finish) -> None:
    named = next(each for each in finish.fragment.model.graph.initializer if each.name == "names")
    named.string_data[0], named.string_data[1] = named.string_data[1], named.string_data[0]


def _without_softmax(finish: Finish) -> None:
    node = next(each for each in finish.fragment.model.graph.node if each.op_type == "Softmax")
    node.CopyFrom(onnx.helper.make_node("Sigmoid", node.input, node.output))


@pytest.mark.parametrize("spoil", [_with_swapped_names, _without_softmax])
def test_a_wrong_graph_after_a_model_is_noticed(
    generate: Generate, monkeypatch: pytest.MonkeyPatch, spoil: object
) -> None:
    right = deciding.finish

    def wrong(*arguments: object) -> Finish:
        made = right(*arguments)  # type: ignore[arg-type]
        spoil(made)  # type: ignore[operator]
        return made

    monkeypatch.setattr(answers, "finish", wrong)
    outcome = generate("--model", str(classifier("net.onnx")), "--labels", names(7), "--top-k", "1", *QUICK)
    assert outcome.code == 5
    assert not Path("model_repository/net").exists()
