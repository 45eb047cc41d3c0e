"""`generate` in lower precisions: names, report, proofs, refusals, and unchanged models."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from google.protobuf import text_format
from onnx import TensorProto, helper, numpy_helper
from tritonclient.grpc.model_config_pb2 import ModelConfig

from modelrepo.generator.optimize import fp8
from modelrepo.generator.options import fields, names, resolve
from modelrepo.generator.options.config_file import ConfigFile
from modelrepo.generator.specs.findings import Accuracy
from modelrepo.generator.specs.options import Choice
from modelrepo.generator.specs.tensors import Arrays, Signature, TensorSpec
from modelrepo.generator.verification import accuracy, datasets
from modelrepo.generator.verification.inputs import Pool
from modelrepo.generator.verification.verify import Run
from tests import onnx_files
from tests.conftest import Generate, Outcome, snapshot
from tests.generator.optimize import fp8_graphs
from tests.onnx_files import FLOAT

pytestmark = pytest.mark.usefixtures("numpy_models")
LINEAR = ("--model", "numpy:linear", "--repository", "repo", "--max-batch-size", "4")


def choices(written: str, precision: str = "fp32") -> list[tuple[str, str]]:
    flags = {"backends": fields.parse_field("backends", written, "--backends"), "precision": precision}
    _, resolved = resolve.resolve(flags, ConfigFile(), "numpy:linear")
    return [(str(choice), names.published_name("m", resolved, choice)) for choice in resolved.backends]


def test_a_backend_takes_a_precision_of_its_own_and_else_that_of_the_run() -> None:
    assert choices("onnx:fp16,tensorrt", "int8") == [("onnx:fp16", "m_onnx_fp16"), ("tensorrt:int8", "m_tensorrt_int8")]


def test_fp32_leaves_names_as_they_were() -> None:
    assert choices("onnx") == [("onnx", "m")]
    assert choices("onnx,tensorrt:fp32") == [("onnx", "m_onnx"), ("tensorrt", "m_tensorrt")]


def test_one_backend_in_several_precisions_is_several_models() -> None:
    assert [name for _, name in choices("onnx,onnx:fp16,onnx:fp16")] == ["m_onnx", "m_onnx_fp16"]


def test_an_accelerator_appears_in_the_published_name() -> None:
    assert choices("onnx+tensorrt-ep:fp16") == [("onnx+tensorrt-ep:fp16", "m_fp16")]
    assert choices("onnx,onnx+tensorrt-ep")[1] == ("onnx+tensorrt-ep", "m_onnx-tensorrt-ep")


def test_the_name_template_may_place_the_precision() -> None:
    flags = {"backends": (Choice("onnx", "fp16"),), "name_template": "{precision}-{model}"}
    _, resolved = resolve.resolve(flags, ConfigFile(), "numpy:linear")
    assert names.published_name("m", resolved, Choice("onnx", "fp16")) == "fp16-m"


def test_fp16_is_published_beside_fp32_and_says_what_it_is(generate: Generate) -> None:
    outcome = generate(*LINEAR, "--backends", "onnx,onnx:fp16", "--json")
    assert outcome.code == 0, outcome.err
    full, half = outcome.report["results"]
    assert (full["name"], full["precision"]) == ("linear_onnx", "fp32")
    assert (half["name"], half["precision"], half["status"]) == ("linear_onnx_fp16", "fp16", "published")
    assert half["optimization"]["done"] == ["1 of 1 weights are FP16, 48 bytes -> 24 bytes"]
    assert 0 < half["verification"]["max_rel_diff"] < 1e-2
    weights = onnx.load(Path(half["path"]) / "model.onnx").graph.initializer
    assert [tensor.data_type for tensor in weights] == [onnx.TensorProto.FLOAT16]


def test_the_same_again_changes_nothing(generate: Generate) -> None:
    arguments = (*LINEAR, "--backends", "onnx:fp16", "--json")
    assert generate(*arguments).code == 0
    before = snapshot(Path("repo"))
    outcome = generate(*arguments)
    assert outcome.result["status"] == "unchanged"
    assert outcome.result["optimization"]["precision"] == "fp16"
    assert snapshot(Path("repo")) == before


def test_options_without_effect_on_a_target_make_no_new_version(generate: Generate) -> None:
    assert generate(*LINEAR, "--json").result["status"] == "published"
    Path("modelrepo.toml").write_text("calibration = '8 random'\ncuda_graphs = true\nmax_accuracy_drop = '5%'\n")
    assert generate(*LINEAR, "--json").result["status"] == "unchanged"


@pytest.mark.parametrize(
    "flags",
    [
        ("--calibration", "8 random"),
        ("--cuda-graphs",),
        ("--max-accuracy-drop", "5%"),
        ("--keep-precise", "auto"),
        ("--profiles", "batch=1:2:4"),
    ],
    ids=lambda flags: flags[0],
)
def test_a_flag_that_would_do_nothing_is_refused(generate: Generate, flags: tuple[str, ...]) -> None:
    outcome = generate(*LINEAR, *flags)
    assert outcome.code == 2
    assert outcome.err.startswith(f"error: {flags[0]} has no effect on onnx. It applies to: ")


# --- classifiers with labels


CLASSES = 8


@pytest.fixture
def classifier(workdir: Path) -> Callable[..., Outcome]:
    """Write an ONNX classifier and labelled samples of it, some of them mislabelled."""
    random = np.random.default_rng(0)
    first = random.standard_normal((16, 32)).astype("float32")
    last = random.standard_normal((32, CLASSES)).astype("float32")
    last[0] *= 1000  # what one unit says drowns the others, unless it is told precisely
    first[:, 0] *= 1e-3
    samples = random.standard_normal((200, 16)).astype("float32")
    labels = (np.maximum(samples @ first, 0) @ last).argmax(axis=1)
    labels[:20] = (labels[:20] + 1) % CLASSES
    np.savez("labelled.npz", x=samples, labels=labels)
    np.savez("calibration.npz", x=random.standard_normal((64, 16)).astype("float32"))
    onnx_files.write(
        "net.onnx",
        nodes=(
            helper.make_node("MatMul", ["x", "first"], ["hidden"], "first"),
            helper.make_node("Relu", ["hidden"], ["rectified"], "relu"),
            helper.make_node("MatMul", ["rectified", "last"], ["y"], "last"),
        ),
        inputs=(("x", TensorProto.FLOAT, ["batch", 16]),),
        outputs=(("y", TensorProto.FLOAT, ["batch", CLASSES]),),
        initializers=(numpy_helper.from_array(first, "first"), numpy_helper.from_array(last, "last")),
    )

    def run(generate: Generate, *arguments: str) -> Outcome:
        calibrated = {"int8", "tensorrt:fp8"} & {*arguments}
        calibration = ("--calibration", "calibration.npz") if calibrated else ()
        return generate("--model", "onnx:net.onnx", "--repository", "repo", *calibration, *arguments)

    return run


def test_labels_say_what_a_precision_costs(generate: Generate, classifier: Callable[..., Outcome]) -> None:
    outcome = classifier(generate, "--precision", "fp16", "--samples", "labelled.npz", "--json")
    assert outcome.code == 0, outcome.err
    accuracy = outcome.result["optimization"]["accuracy"]
    assert (accuracy["measured"], accuracy["samples"]) == ("top-1 of labels", 200)
    assert accuracy["source"] == 0.9
    assert abs(accuracy["value"] - 0.9) < 0.01


def test_more_than_the_allowed_drop_is_not_published(
    generate: Generate, classifier: Callable[..., Outcome], golden: Callable[[str, str], None]
) -> None:
    arguments = ("--prune", "90%", "--samples", "labelled.npz", "--json")
    before = snapshot(Path())
    outcome = classifier(generate, *arguments)
    assert outcome.code == 5
    assert snapshot(Path()) == before
    golden("messages/optimize/costs-too-much.txt", outcome.err.splitlines()[-1] + "\n")
    allowed = classifier(generate, *arguments, "--max-accuracy-drop", "100%")
    assert (allowed.code, allowed.result["status"], allowed.result["name"]) == (0, "published", "net_pruned")
    assert 0.88 < allowed.result["optimization"]["sparsity"] < 0.91


@pytest.mark.parametrize(
    ("rows", "shift", "told"),
    [(1, 0, "your one sample is too few"), (200, 3, "no better than guessing: agreement")],
    ids=["one", "shifted"],
)
def test_useless_labels_do_not_let_a_bad_model_pass(
    generate: Generate, classifier: Callable[..., Outcome], rows: int, shift: int, told: str
) -> None:
    samples = np.load("labelled.npz")
    labels = (samples["labels"][-rows:] + shift) % CLASSES
    np.savez("poor.npz", x=samples["x"][-rows:], labels=labels)
    refused = classifier(generate, "--prune", "99%", "--samples", "poor.npz")
    assert refused.code == 5
    assert "agreement" in refused.err.splitlines()[-1]
    allowed = classifier(generate, "--prune", "99%", "--samples", "poor.npz", "--max-accuracy-drop", "100%", "--json")
    assert allowed.code == 0, allowed.err
    assert allowed.result["optimization"]["accuracy"]["measured"] != accuracy.TOP1_OF_LABELS
    assert any(told in note for note in allowed.result["notes"])


def test_labels_of_a_source_that_guesses_are_not_believed() -> None:
    def found(samples: int, classes: int, right: float) -> bool:
        return accuracy.believable(Accuracy(accuracy.TOP1_OF_LABELS, samples, classes, right, right, 0.0))

    assert found(32, 2, 0.9)
    assert found(200, 100, 0.3)
    assert not found(31, 10, 1.0)
    assert not found(200, 2, 0.55)
    assert not found(200, 100, 0.0)
    assert not found(200, 1, 1.0)


def test_a_note_warns_of_few_samples_to_measure_on(generate: Generate, classifier: Callable[..., Outcome]) -> None:
    np.savez("calibration.npz", x=np.load("labelled.npz")["x"][:12])
    outcome = classifier(
        generate, "--precision", "int8", "--keep-precise", "last", "--max-accuracy-drop", "100%", "--json"
    )
    assert outcome.code == 0, outcome.err
    assert any(
        "accuracy is measured on 3 samples held out of the calibration data" in note for note in outcome.result["notes"]
    )


def test_a_note_warns_of_an_accuracy_limit_without_effect(generate: Generate, workdir: Path) -> None:
    model = write_rows("boxes", np.random.default_rng(0).standard_normal((16, 8)), ["batch", 3, 16])
    outcome = generate("--model", model, "--precision", "fp16", "--max-accuracy-drop", "1%")
    assert outcome.code == 0, outcome.err
    assert "--max-accuracy-drop has no effect: the model predicts no classes" in outcome.err


def test_layers_are_kept_no_further_than_there_are_some_to_lower(generate: Generate, workdir: Path) -> None:
    onnx_files.write(
        "single.onnx",
        nodes=(helper.make_node("MatMul", ["x", "w"], ["a"], "product"), helper.make_node("Relu", ["a"], ["y"])),
        inputs=(("x", TensorProto.FLOAT, ["batch", 16]),),
        outputs=(("y", TensorProto.FLOAT, ["batch", 8]),),
        initializers=(numpy_helper.from_array(np.random.default_rng(0).random((16, 8), "float32"), "w"),),
    )
    arguments = ("--model", "onnx:single.onnx", "--precision", "fp16", "--tolerance", "0")
    refused = generate(*arguments, "--keep-precise", "auto")
    assert refused.code == 5
    assert "output 'y' differs by" in refused.err.splitlines()[-1]


def test_a_single_layer_cannot_be_kept(generate: Generate, workdir: Path) -> None:
    model = write_rows("single", np.random.default_rng(0).standard_normal((16, 8)), ["batch", 16])
    arguments = ("--model", model, "--precision", "fp16", "--tolerance", "0")
    for more in ((), ("--keep-precise", "auto")):
        refused = generate(*arguments, *more)
        assert refused.code == 5
        assert "keep-precise auto" not in refused.err


def test_the_error_names_numbers_that_fp16_cannot_hold(generate: Generate, workdir: Path) -> None:
    weights = np.random.default_rng(0).standard_normal((16, 8)) * 1e-10
    refused = generate("--model", write_rows("tiny", weights, ["batch", 16]), "--precision", "fp16")
    assert refused.code == 5
    assert "product (vanishes); FP16 holds 6e-8 to 65504, bf16 has the range of FP32" in refused.err


def test_layers_are_not_blamed_for_the_sources_nan(generate: Generate, workdir: Path) -> None:
    onnx_files.write(
        "root.onnx",
        nodes=(helper.make_node("Sqrt", ["x"], ["r"]), helper.make_node("MatMul", ["r", "w"], ["y"])),
        inputs=(("x", TensorProto.FLOAT, ["batch", 4]),),
        outputs=(("y", TensorProto.FLOAT, ["batch", 4]),),
        initializers=(numpy_helper.from_array(np.eye(4, dtype="float32"), "w"),),
    )
    np.savez("negative.npz", x=-np.ones((40, 4), "float32"))
    np.savez("positive.npz", x=np.random.default_rng(0).random((40, 4), "float32"))
    for precision in ("fp16", "int8"):
        calibration = ("--calibration", "positive.npz") if precision == "int8" else ()
        model = ("--model", "onnx:root.onnx", "--precision", precision, *calibration)
        refused = generate(*model, "--samples", "negative.npz")
        assert refused.code == 5, refused.err
        assert "the source model" in refused.err.splitlines()[-1]
        assert "Layers that lose most" not in refused.err


@pytest.fixture
def clipped(generate: Generate, workdir: Path) -> Callable[..., Outcome]:
    """Write a classifier and labelled samples, one of which is far outside the range that INT8 is calibrated for."""
    random = np.random.default_rng(0)
    weights = random.standard_normal((16, CLASSES)).astype("float32")
    samples = random.standard_normal((200, 16)).astype("float32")
    labels = (samples @ weights).argmax(axis=1)
    samples[0] *= 30
    labels[:20] = (labels[:20] + 1) % CLASSES
    np.savez("clipped.npz", x=samples, labels=labels)
    np.savez("calibration.npz", x=random.standard_normal((64, 16)).astype("float32"))

    def run(*arguments: str, outputs: Sequence[str] = ("y",)) -> Outcome:
        onnx_files.write(
            "clipped.onnx",
            nodes=[helper.make_node("MatMul", ["x", "w"], [name], name) for name in outputs],
            inputs=(("x", TensorProto.FLOAT, ["batch", 16]),),
            outputs=[(name, TensorProto.FLOAT, ["batch", CLASSES]) for name in outputs],
            initializers=(numpy_helper.from_array(weights, "w"),),
        )
        given = ("--samples", "clipped.npz", "--calibration", "calibration.npz", "--precision", "int8")
        return generate("--model", "onnx:clipped.onnx", *given, *arguments)

    return run


def test_a_number_too_far_off_is_told_with_the_accuracy(clipped: Callable[..., Outcome]) -> None:
    refused = clipped()
    assert refused.code == 5
    told = refused.err.splitlines()[-1]
    assert re.search(
        r"output 'y' differs by \S+ \(limit \S+\), .*; top-1 of labels (89|90)\.\d% of 200 \(the source: 90\.0%\)", told
    )
    assert "--max-accuracy-drop lets the accuracy decide" in told


def test_the_users_limit_of_accuracy_decides_on_labelled_samples(clipped: Callable[..., Outcome]) -> None:
    published = clipped("--max-accuracy-drop", "2%", "--json")
    assert published.code == 0, published.err
    assert published.result["verification"]["tolerance"] == "that of its accuracy"
    assert published.result["optimization"]["accuracy"]["value"] >= 0.88
    assert any("within --max-accuracy-drop, which decides" in note for note in published.result["notes"])


def test_the_accuracy_is_judged_before_the_numbers(generate: Generate, classifier: Callable[..., Outcome]) -> None:
    refused = classifier(generate, "--precision", "int8", "--samples", "labelled.npz", "--max-accuracy-drop", "1%")
    assert refused.code == 5
    told = refused.err.splitlines()[-1]
    assert re.match(
        r"error: top-1 of labels is \S+ of 200 samples, where 90\.0% less 1\.0% is allowed; output 'y' differs by ",
        told,
    )


def test_a_variant_that_guesses_is_refused_whatever_accuracy_it_may_lose(
    generate: Generate, classifier: Callable[..., Outcome]
) -> None:
    refused = classifier(generate, "--precision", "int8", "--samples", "labelled.npz", "--max-accuracy-drop", "100%")
    assert refused.code == 5
    assert refused.err.splitlines()[-1].startswith("error: output 'y' differs by ")


@pytest.mark.parametrize("more", [("--tolerance", "0.01"), ()], ids=["tolerance", "another output"])
def test_accuracy_does_not_decide_on_other_numbers(clipped: Callable[..., Outcome], more: tuple[str, ...]) -> None:
    """A tolerance of the user's is for numbers, and what a second output is for, no label says."""
    refused = clipped("--max-accuracy-drop", "2%", *more, outputs=("y",) if more else ("y", "z"))
    assert refused.code == 5
    assert "; top-1 of labels " in refused.err.splitlines()[-1]


def test_layers_are_not_blamed_for_the_cost_of_pruning(generate: Generate, classifier: Callable[..., Outcome]) -> None:
    refused = classifier(generate, "--prune", "90%", "--precision", "fp16", "--samples", "labelled.npz")
    assert refused.code == 5
    assert "Pruning alone costs too much: prune less" in refused.err
    assert "Layers that lose most" not in refused.err


def test_notes_on_poor_data_are_shown_even_if_the_model_is_refused(
    generate: Generate, classifier: Callable[..., Outcome]
) -> None:
    outcome = classifier(generate, "--precision", "int8", "--calibration", "256 random", "--tolerance", "0")
    assert outcome.code == 5
    assert "warning: onnx:int8: calibrated with random inputs" in outcome.err


def test_layers_that_lose_most_are_kept_until_the_limit_holds(
    generate: Generate, classifier: Callable[..., Outcome]
) -> None:
    arguments = ("--precision", "int8", "--samples", "labelled.npz", "--max-accuracy-drop", "2%")
    refused = classifier(generate, *arguments)
    assert refused.code == 5
    assert "Layers that lose most in int8: last (" in refused.err
    kept = classifier(generate, *arguments, "--keep-precise", "auto", "--json")
    assert kept.code == 0, kept.err
    assert kept.result["optimization"]["kept"] == ["last"]
    assert kept.result["optimization"]["accuracy"]["value"] > 0.88


def test_a_layer_that_is_named_stays_precise(generate: Generate, classifier: Callable[..., Outcome]) -> None:
    outcome = classifier(
        generate, "--precision", "int8", "--keep-precise", "last", "--max-accuracy-drop", "100%", "--json"
    )
    assert outcome.code == 0, outcome.err
    assert outcome.result["optimization"]["kept"] == ["last"]
    weights = onnx.load(Path(outcome.result["path"]) / "model.onnx").graph.initializer
    assert {tensor.name for tensor in weights if tensor.data_type == TensorProto.FLOAT} >= {"last"}


def test_a_layer_that_is_not_there_is_named_with_those_near(
    generate: Generate, classifier: Callable[..., Outcome]
) -> None:
    outcome = classifier(generate, "--precision", "fp16", "--keep-precise", "frist")
    assert outcome.code == 2
    assert outcome.err.endswith("the model has no node 'frist' to keep precise. Did you mean first?\n")


def test_random_calibration_is_warned_about_and_real_is_not(
    generate: Generate, classifier: Callable[..., Outcome]
) -> None:
    arguments = ("--precision", "int8", "--keep-precise", "last", "--json")
    real = classifier(generate, *arguments)
    assert (real.code, "random inputs" in real.err) == (0, False)
    random = classifier(generate, *arguments, "--calibration", "256 random")
    assert "calibrated with random inputs" in random.err
    assert any("calibrated with random inputs" in note for note in random.result["notes"])


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (np.zeros((64, 16), "float32"), "x is 0.0 everywhere"),
        (np.ones((64, 3), "float32"), "the model takes x[batch, 16]"),
    ],
    ids=["zeros", "shape"],
)
def test_constant_calibration_data_is_refused(
    generate: Generate, classifier: Callable[..., Outcome], array: np.ndarray, told: str
) -> None:
    np.savez("calibration.npz", x=array)
    before = snapshot(Path())
    outcome = classifier(generate, "--precision", "int8")
    assert outcome.code == 2
    assert told in outcome.err
    assert snapshot(Path()) == before


def test_samples_are_read_once_for_all_variants(
    generate: Generate, classifier: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []

    def counting(path: Path, *rest: Any) -> datasets.Dataset:
        read.append(path)
        return real(path, *rest)

    real = datasets.read
    monkeypatch.setattr(datasets, "read", counting)
    arguments = ("--backends", "onnx,onnx:fp16", "--json")
    outcome = classifier(generate, *arguments, "--samples", "labelled.npz")
    assert outcome.code == 0, outcome.err
    assert [path.name for path in read] == ["labelled.npz"]
    assert outcome.report["results"][1]["optimization"]["accuracy"]["samples"] == 200


def test_some_of_many_samples_are_compared_and_all_are_counted(
    generate: Generate, classifier: Callable[..., Outcome]
) -> None:
    samples = np.load("labelled.npz")
    np.savez("some.npz", **{name: array[: datasets.COMPARED] for name, array in samples.items()})
    cases, counted = [], []
    for file in ("labelled.npz", "some.npz"):
        outcome = classifier(generate, "--precision", "fp16", "--samples", file, "--json")
        assert outcome.code == 0, outcome.err
        cases.append(outcome.result["verification"]["cases"])
        counted.append(outcome.result["optimization"]["accuracy"]["samples"])
    assert cases[0] == cases[1]
    assert counted == [200, 64]


def write_rows(name: str, weights: np.ndarray, shape: list[int | str]) -> str:
    """Write y = x @ weights, x of ``shape``; return it as a model to generate."""
    onnx_files.write(
        f"{name}.onnx",
        nodes=(helper.make_node("MatMul", ["x", "w"], ["y"], "product"),),
        inputs=(("x", TensorProto.FLOAT, shape),),
        outputs=(("y", TensorProto.FLOAT, [*shape[:-1], weights.shape[1]]),),
        initializers=(numpy_helper.from_array(weights.astype("float32"), "w"),),
    )
    return f"onnx:{name}.onnx"


def test_a_pruned_model_that_ranks_nothing_has_a_limit_of_its_own(generate: Generate, workdir: Path) -> None:
    weights = np.random.default_rng(0).standard_normal((16, 8))
    model = ("--model", write_rows("boxes", weights, ["batch", 3, 16]), "--json")
    outcome = generate(*model, "--prune", "10%")
    assert outcome.code == 0, outcome.err
    assert outcome.result["optimization"]["accuracy"] is None
    assert outcome.result["verification"]["tolerance"] == "0.5 x magnitude"
    refused = generate(*model, "--prune", "95%")
    assert refused.code == 5
    assert "of their magnitude, where 50% is allowed" in refused.err


def test_a_pruned_classifier_is_limited_by_its_accuracy(generate: Generate, classifier: Callable[..., Outcome]) -> None:
    allowed = ("--max-accuracy-drop", "100%", "--json")
    outcome = classifier(generate, "--prune", "10%", "--samples", "labelled.npz", *allowed)
    assert outcome.code == 0, outcome.err
    assert outcome.result["verification"]["tolerance"] == "that of its accuracy"


def test_an_input_without_dimensions_is_run_without_a_batch(generate: Generate, workdir: Path) -> None:
    onnx_files.write(
        "scaled.onnx",
        nodes=(helper.make_node("Mul", ["x", "s"], ["a"]), helper.make_node("MatMul", ["a", "w"], ["y"])),
        inputs=(("x", TensorProto.FLOAT, [4, 8]), ("s", TensorProto.FLOAT, [])),
        outputs=(("y", TensorProto.FLOAT, [4, 8]),),
        initializers=(numpy_helper.from_array(np.eye(8, dtype="float32"), "w"),),
    )
    backends = ("--backends", "onnx:fp16,onnx:int8", "--max-accuracy-drop", "100%")
    outcome = generate("--model", "onnx:scaled.onnx", *backends, "--json")
    assert outcome.code == 0, outcome.err
    assert [row["status"] for row in outcome.report["results"]] == ["published", "published"]


# --- what accuracy is measured on


ROWS = Signature((TensorSpec("x", "float32", ("batch", 6)),), ())
EYE = np.eye(6, dtype="float32")


def reached(source: Run, candidate: Run, labels: np.ndarray | None = None, classes: int = 0) -> Accuracy | None:
    data = datasets.Dataset((Pool({"x": EYE}, ("row",) * 6),), None if labels is None else (labels,))
    return accuracy.measured(source, candidate, data, ROWS, batch=2, limit=0.0, classes=classes)


def test_a_possible_embedding_is_not_reported_as_a_classifier() -> None:
    found = reached(lambda x: {"y": x["x"]}, lambda x: {"y": np.roll(x["x"], 1, axis=1) + 2 * EYE[0]})
    assert found
    assert (found.measured, found.value) == (accuracy.LARGEST_AGREEMENT, 1 / 6)
    known = reached(lambda x: {"y": x["x"]}, lambda x: {"y": x["x"]}, classes=6)
    assert known
    assert (known.measured, known.value, known.classes) == (accuracy.TOP1_AGREEMENT, 1.0, 6)


def test_the_output_of_as_many_numbers_as_there_are_classes_ranks_them() -> None:
    def model(wrong: bool) -> Run:
        return lambda x: {"embedding": x["x"] * (-1 if wrong else 1), "scores": x["x"][:, :3]}

    agreeing, embedding = (reached(model(False), model(True), classes=classes) for classes in (3, 0))
    assert agreeing
    assert embedding
    assert (agreeing.measured, agreeing.value) == (accuracy.TOP1_AGREEMENT, 1.0)
    assert (embedding.measured, embedding.value) == (accuracy.LARGEST_AGREEMENT, 0.0)


def test_labels_decide_whatever_the_source_predicts() -> None:
    found = reached(lambda x: {"y": x["x"]}, lambda x: {"y": -x["x"]}, labels=np.array([0, 1, 2, 0, 0, 0]))
    assert found
    assert (found.measured, found.source, found.value) == (accuracy.TOP1_OF_LABELS, 0.5, 3 / 6)


def test_outputs_that_rank_nothing_have_no_accuracy() -> None:
    def boxes(arrays: Arrays) -> Arrays:
        return {"boxes": arrays["x"].reshape(-1, 3, 2), "one": arrays["x"][:, :1], "whole": arrays["x"].astype("int64")}

    assert reached(boxes, boxes) is None


# --- what is served


def test_a_precision_that_a_backend_does_not_take_is_refused_before_any_work(generate: Generate) -> None:
    outcome = generate(*LINEAR, "--backends", "onnx:bf16")
    assert outcome.code == 2
    assert outcome.err == (
        "error: onnx can't serve bf16: it serves fp32, fp16, int8, int8-dynamic. "
        "Backends that serve bf16: onnx+tensorrt-ep, "
        "tensorrt\n"
    )


def test_dynamic_int8_is_not_batched(generate: Generate) -> None:
    outcome = generate(*LINEAR, "--precision", "int8-dynamic", "--max-accuracy-drop", "100%", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.result["max_batch_size"] == 0
    assert any("all samples of a batch share one range" in note for note in outcome.result["notes"])


def test_the_accelerator_is_configured_with_the_profile_of_the_batch(generate: Generate) -> None:
    outcome = generate(*LINEAR, "--backends", "onnx+tensorrt-ep:fp16", "--json")
    assert outcome.code == 0, outcome.err
    config = text_format.Parse((Path("repo/linear_fp16/config.pbtxt")).read_text(), ModelConfig())
    (accelerator,) = config.optimization.execution_accelerators.gpu_execution_accelerator
    assert accelerator.name == "tensorrt"
    assert accelerator.parameters["trt_profile_max_shapes"] == "input:4x4"
    assert "precision_mode" not in accelerator.parameters
    assert outcome.result["backend"] == "onnxruntime"


def test_a_bf16_plan_is_prepared_with_a_twin_that_a_cpu_can_run(generate: Generate) -> None:
    outcome = generate(*LINEAR, "--backends", "tensorrt:bf16", "--json")
    assert outcome.code == 0, outcome.err
    prepared = Path(outcome.result["path"])
    weights = onnx.load(prepared / "model.onnx").graph.initializer
    assert [tensor.data_type for tensor in weights] == [TensorProto.BFLOAT16]
    reference = json.loads((prepared / "reference" / "reference.json").read_text())
    twin = onnx.load(prepared / "reference" / reference["model"])
    assert [tensor.data_type for tensor in twin.graph.initializer] == [TensorProto.FLOAT]


def test_an_fp8_plan_is_proven_by_its_twin_and_prepared_with_it(
    generate: Generate, classifier: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = fp8_graphs.quantized(onnx.load("net.onnx"), {"x": 5.0, "rectified": 20.0})
    monkeypatch.setenv(fp8.PYTHON, str(fp8_graphs.stand_in(made)))
    arguments = ("--backends", "tensorrt:fp8", "--samples", "labelled.npz", "--plan-builder", "defer", "--json")
    outcome = classifier(generate, *arguments, "--max-accuracy-drop", "10%")
    assert outcome.code == 0, outcome.err
    assert outcome.result["status"] == "deferred"
    accuracy = outcome.result["optimization"]["accuracy"]
    assert (accuracy["measured"], accuracy["source"]) == ("top-1 of labels", 0.9)
    prepared = Path(outcome.result["path"])
    weights = onnx.load(prepared / "model.onnx").graph.initializer
    assert TensorProto.FLOAT8E4M3FN in [tensor.data_type for tensor in weights]
    reference = json.loads((prepared / "reference" / "reference.json").read_text())
    twin = onnx.load(prepared / "reference" / reference["model"])
    assert {node.op_type for node in twin.graph.node} == {"Div", "Cast", "Mul", "MatMul", "Relu"}


def test_choices_that_are_served_the_same_graph_share_it(generate: Generate) -> None:
    outcome = generate(*LINEAR, "--backends", "onnx:fp16,tensorrt:fp16", "--plan-builder", "defer", "--json")
    assert outcome.code == 0, outcome.err
    onnx_row, plan_row = outcome.report["results"]
    assert (onnx_row["status"], plan_row["status"]) == ("published", "deferred")
    assert onnx_row["optimization"] == plan_row["optimization"]
    assert outcome.err.count("lowering to fp16") == 1
    files = (Path(row["path"]) / "model.onnx" for row in (onnx_row, plan_row))
    assert len({file.read_bytes() for file in files}) == 1


def test_int8_is_made_for_each_backend_that_needs_its_own_graph(generate: Generate) -> None:
    backends = ("--backends", "onnx:int8,tensorrt:int8", "--plan-builder", "defer")
    outcome = generate(*LINEAR, *backends, "--max-accuracy-drop", "100%", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.err.count("lowering to int8") == 2


def test_int8_answers_in_a_real_triton_as_it_does_in_process(
    generate: Generate, classifier: Callable[..., Outcome]
) -> None:
    outcome = classifier(
        generate, "--precision", "int8", "--keep-precise", "last", "--max-batch-size", "4", "--live-check", "require",
        "--json",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    live = outcome.result["verification"]["live"]
    assert (live["status"], live["cases"] > 0) == ("passed", True)
    assert live["max_rel_diff"] < 1e-3


def test_a_precision_that_fails_leaves_the_repository_as_it_was(generate: Generate) -> None:
    assert generate(*LINEAR).code == 0
    before = snapshot(Path())
    outcome = generate(*LINEAR, "--backends", "onnx:fp16", "--tolerance", "0")
    assert outcome.code == 5
    assert snapshot(Path()) == before


def test_a_map_of_tiny_probabilities_is_judged_by_its_range(generate: Generate, workdir: Path) -> None:
    """A text detector answers 2.5e-7 nearly everywhere on noise: in FP16 that is four steps above zero."""
    random = np.random.default_rng(0)
    kernel = (0.01 * random.standard_normal((1, 3, 3, 3))).astype("float32")
    nodes = [
        helper.make_node("Conv", ["x", "kernel", "bias"], ["z"], pads=[1] * 4),
        helper.make_node("Sigmoid", ["z"], ["y"]),
    ]
    onnx_files.write(
        "det.onnx",
        nodes=nodes,
        inputs=[("x", FLOAT, ["batch", 3, 8, 8])],
        outputs=[("y", FLOAT, ["batch", 1, 8, 8])],
        initializers=[
            numpy_helper.from_array(kernel, "kernel"),
            numpy_helper.from_array(np.array([-15.2], "float32"), "bias"),
        ],
    )
    for more in ((), ("--tolerance", "relative=0.01")):
        outcome = generate("--model", "onnx:det.onnx", "--backends", "onnx:fp16", "--json", *more)
        assert outcome.code == 0, outcome.err
