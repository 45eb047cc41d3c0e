"""`modelrepo compare`: which models it compares, and what it asks, measures and reports."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from modelrepo.cli.commands import compare as compare_command
from modelrepo.generator.errors import OptionError
from modelrepo.generator.progress import Progress
from modelrepo.generator.repository.manifest import Provenance, SourceRecord
from modelrepo.generator.specs.artifacts import Weights
from modelrepo.generator.specs.findings import Accuracy, Verification
from modelrepo.generator.specs.tensors import Domain, TensorSpec
from modelrepo.generator.verification import accuracy
from modelrepo.perf.variants import agreement, lineage, variants
from modelrepo.perf.variants.agreement import Agreement, AskedVariant
from modelrepo.server import running_server
from tests import onnx_files
from tests.conftest import Generate, ModelRepo, Outcome

Compare = Callable[..., Outcome]
Golden = Callable[[str, str], None]
REPOSITORY = Path("model_repository")
# Runs as short as they can be and still have requests in every window.
QUICK = ("--duration", "0.3s", "--repeats", "2", "--concurrency", "4", "--stability", "500")
CLASSES = 3


@pytest.fixture
def compare(modelrepo: ModelRepo) -> Compare:
    """Run `modelrepo compare` in this process, in an empty folder."""
    return partial(modelrepo, compare_command.compare)


def made(generate: Generate, *arguments: str) -> None:
    outcome = generate(*arguments, "--quiet")
    assert outcome.code == 0, outcome.err


@pytest.fixture
def linear(generate: Generate, numpy_models: None) -> None:
    """Publish linear_onnx and linear_onnx_fp16 from one source, and linear_tensorrt_fp16, which stays a plan."""
    backends = "onnx,onnx:fp16,tensorrt:fp16"
    made(generate, "--model", "numpy:linear", "--backends", backends, "--plan-builder", "defer")


def rows(outcome: Outcome) -> dict[str, dict[str, Any]]:
    assert outcome.code == 0, outcome.err
    return {row["model"]: row for row in outcome.report["models"]}


# --- whole commands, with a real Triton and perf_analyzer


def test_each_precision_is_measured_against_the_first(compare: Compare, linear: None) -> None:
    outcome = compare("linear_onnx", *QUICK, "--json", "-v")
    found = rows(outcome)
    assert "perf_analyzer -m linear_onnx " in outcome.err
    plan, agreement, first_round = (outcome.err.index(part) for part in ("plan: ", "top-1 agreement", "round 1 of 2:"))
    assert plan < agreement < first_round
    assert "linear_onnx_fp16: p50 " in outcome.err[first_round:]
    assert list(found) == ["linear_onnx", "linear_onnx_fp16", "linear_tensorrt_fp16"]
    assert outcome.report["baseline"] == "linear_onnx"
    assert Path(outcome.report["report"]).is_file()
    first, half, _ = found.values()
    assert (first["precision"], half["precision"]) == ("fp32", "fp16")
    assert (first["latency"], first["throughput_comparison"]) == (None, None)
    for row in (first, half):
        assert row["size_bytes"] == sum(file.stat().st_size for file in (REPOSITORY / row["model"] / "1").iterdir())
        assert row["latency_p50_us"] > 0
        assert row["throughput"] > 10
    assert half["latency"]["metric"] == "p50"
    assert (half["latency"]["concurrency"], half["throughput_comparison"]["concurrency"]) == (1, 4)
    assert half["latency"]["ratio"]["value"] > 0
    assert half["latency"]["verdict"] in ("better", "worse", "noise")
    assert half["agreement"]["samples"] == accuracy.GENERATED
    assert half["agreement"]["top1"] > 0.95


def test_what_can_not_be_measured_is_a_row_with_its_reason(compare: Compare, linear: None) -> None:
    with running_server(REPOSITORY, control="explicit", models=["linear_onnx"]) as server:
        where = ("--url", server.grpc_url, "--metrics-url", server.metrics_url)
        outcome = compare("linear_onnx", "linear_tensorrt_fp16", "linear_onnx_fp16", *where, *QUICK)
    assert outcome.code == 0, outcome.err
    assert "perf_analyzer -m" not in outcome.err + outcome.out  # its command lines are printed with --verbose only
    heading, measured, plan, absent = outcome.out.splitlines()[:4]
    assert heading.split() == ["model", "precision", "MB", "p50", "ms", "samples/s", "agreement"]
    assert "-" not in measured.split()
    assert plan.split() == ["linear_tensorrt_fp16", "fp16", "-", "-", "-", "-", "-", "-", "-"]
    assert absent.split()[4:8] == ["-"] * 4
    assert "linear_tensorrt_fp16: its plan is still to be built: " in outcome.out
    assert f"linear_onnx_fp16: {server.grpc_url} does not serve it" in outcome.out
    assert absent.split()[8:] == ["100.0", "%"]


# --- which models


def test_one_name_stands_for_all_of_its_source_and_weights(generate: Generate, linear: None) -> None:
    made(generate, "--model", "numpy:linear", "--seed", "1", "--name-template", "reseeded")
    made(generate, "--model", "numpy:exported_wrong", "--no-verify")
    kin = lineage.found(["linear_onnx_fp16"], REPOSITORY, None, Progress())
    assert [each.name for each in kin] == ["linear_onnx", "linear_onnx_fp16", "linear_tensorrt_fp16"]
    assert [bool(each.unserved) for each in kin] == [False, False, True]


def test_names_that_are_given_keep_their_order(linear: None) -> None:
    named = ["linear_onnx_fp16", "linear_onnx"]
    assert [each.name for each in lineage.found(named, REPOSITORY, None, Progress())] == named


def test_a_model_that_needs_a_gpu_is_not_measured_here(generate: Generate, numpy_models: None) -> None:
    made(generate, "--model", "numpy:linear", "--instances", "gpu:1", "--name-template", "on_gpu")
    made(generate, "--model", "numpy:linear")
    here, gpu = lineage.found(["linear", "on_gpu"], REPOSITORY, None, Progress())
    assert here.unserved == ""
    assert gpu.unserved == "its configuration asks for a GPU; name a server that has one with --url"


def test_models_that_can_not_be_compared_are_refused(
    compare: Compare, generate: Generate, linear: None, golden: Golden
) -> None:
    onnx_files.write("wide.onnx", inputs=(("x", onnx_files.FLOAT, ["batch", 8]),),
                     outputs=(("y", onnx_files.FLOAT, ["batch", 8]),))  # fmt: skip
    onnx_files.write("relu.onnx")
    onnx_files.write("named.onnx", nodes=(helper.make_node("Relu", ["x"], ["z"]),),
                     outputs=(("z", onnx_files.FLOAT, ["batch", 4]),))  # fmt: skip
    for name in ("wide", "relu", "named"):
        made(generate, "--model", f"onnx:{name}.onnx")
    shutil.copytree(REPOSITORY / "relu", REPOSITORY / "foreign")
    messages = {}
    for case in (
        ("linear_onxn",),
        ("foreign",),
        ("relu",),
        ("relu", "wide"),
        ("relu", "named"),
        ("linear_tensorrt_fp16", "linear_onnx"),
        ("linear_onnx", "--samples", "nowhere"),
        ("linear_onnx", "--url", "localhost:8001"),
        ("linear_onnx", "--metrics-url", "http://localhost:8002/metrics"),
    ):
        outcome = compare(*case)
        assert outcome.code == 2, outcome.err
        assert outcome.out == ""
        messages[" ".join(case)] = outcome.err.splitlines()[-1]
    golden("compare-refusals.txt", "".join(f"{case}\n    {message}\n" for case, message in messages.items()))


def test_a_repository_that_is_not_there_is_an_error_of_the_repository(compare: Compare, workdir: Path) -> None:
    outcome = compare("linear_onnx", "--repository", "elsewhere")
    assert outcome.code == 6
    assert "there is no model repository" in outcome.err


def test_nothing_is_compared_with_a_model_with_changed_files(compare: Compare, linear: None) -> None:
    (REPOSITORY / "linear_onnx_fp16/1/model.onnx").write_bytes(b"changed")
    outcome = compare("linear_onnx_fp16", "linear_onnx")
    assert outcome.code == 6
    assert "linear_onnx_fp16: version 1 is not as it was published. Generate it again" in outcome.err


def test_another_model_with_changed_files_is_a_row_with_its_reason(linear: None) -> None:
    (REPOSITORY / "linear_onnx_fp16/1/model.onnx").write_bytes(b"changed")
    first, changed, _ = lineage.found(["linear_onnx"], REPOSITORY, None, Progress())
    assert (first.name, first.unserved) == ("linear_onnx", "")
    assert (changed.onnx, changed.size) == (None, None)
    assert changed.unserved == "version 1 is not as it was published"


# --- whether they agree


def write_scores(name: str, weights: Any, output: str = "y") -> Path:
    """Write y[batch, 3] = x[batch, 3] x weights."""
    return onnx_files.write(
        name,
        nodes=(helper.make_node("MatMul", ["x", "W"], [output]),),
        inputs=(("x", onnx_files.FLOAT, ["batch", CLASSES]),),
        outputs=((output, onnx_files.FLOAT, ["batch", CLASSES]),),
        initializers=(numpy_helper.from_array(np.asarray(weights, "float32"), "W"),),
    )


def asked(path: Path) -> AskedVariant:
    inputs = (TensorSpec("x", "float32", ("batch", CLASSES)),)
    source = SourceRecord("test", Weights("random", "", untrained=False), None, "test", 20, 10, (), inputs)
    return AskedVariant(path.stem, path, Provenance("", source, {}, {}, Verification()), 8)


def agreed(*paths: Path, samples: Path | None = None) -> dict[str, Agreement]:
    found, problems = agreement.agreements([asked(path) for path in paths], samples, Progress())
    assert not problems
    return dict(found)


def write_samples(**arrays: Any) -> Path:
    np.savez("samples.npz", **arrays)
    return Path("samples.npz")


def test_classifiers_agree_as_often_as_they_name_the_same_class(workdir: Path) -> None:
    same, swapped = write_scores("same.onnx", np.eye(3)), write_scores("swapped.onnx", np.eye(3)[[1, 0, 2]])
    samples = write_samples(x=np.eye(3, dtype="float32")[[0, 1, 2, 2]])
    found = agreed(same, swapped, samples=samples)
    assert found == {"same": Agreement(4, top1=1.0), "swapped": Agreement(4, top1=0.5)}


def test_with_labels_the_accuracy_is_reported_too(workdir: Path) -> None:
    same, swapped = write_scores("same.onnx", np.eye(3)), write_scores("swapped.onnx", np.eye(3)[[1, 0, 2]])
    samples = write_samples(x=np.eye(3, dtype="float32")[[0, 1, 2, 2]], labels=np.array([0, 1, 2, 1]))
    found = agreed(same, swapped, samples=samples)
    first, second = (each.accuracy for each in found.values())
    assert first
    assert second
    assert (first.value, second.source, second.value) == (0.75, 0.75, 0.25)
    assert found["swapped"].top1 == 0.5


def test_accuracy_of_fp32_is_that_of_its_publication(workdir: Path) -> None:
    def shown(measured: str) -> Accuracy | None:
        reached = Accuracy(measured, samples=40, classes=3, source=0.9, value=0.875, limit=1.0)
        published = replace(
            asked(write_scores("same.onnx", np.eye(3))).provenance, verification=Verification(accuracy=reached)
        )
        variant = lineage.Variant("same", "onnxruntime", published, 8)
        return variants.VariantFigures(variant, None, None, None, None, None, ()).accuracy

    first = shown(accuracy.TOP1_OF_LABELS)
    assert first
    assert first.value == 0.875
    assert shown(accuracy.TOP1_AGREEMENT) is None


def write_scaled(name: str, factor: float) -> Path:
    """Write y[batch, 3, 2] = x[batch, 3, 2] x factor, which names no classes."""
    return onnx_files.write(
        name,
        nodes=(helper.make_node("Mul", ["x", "F"], ["y"]),),
        inputs=(("x", onnx_files.FLOAT, ["batch", CLASSES, 2]),),
        outputs=(("y", onnx_files.FLOAT, ["batch", CLASSES, 2]),),
        initializers=(numpy_helper.from_array(np.asarray(factor, "float32"), "F"),),
    )


def test_other_models_differ_by_a_share_of_the_answer(workdir: Path) -> None:
    one, other = write_scaled("one.onnx", 1.0), write_scaled("other.onnx", 1.25)
    found = agreed(one, other)
    assert found["other"].top1 is None
    assert found["one"].max_rel_diff == 0.0
    assert found["other"].max_rel_diff == pytest.approx(0.25, rel=1e-5)


def test_nan_is_a_reason_and_not_a_difference(workdir: Path) -> None:
    models = [asked(write_scaled("one.onnx", 1.0)), asked(write_scaled("nan.onnx", float("nan")))]
    found, problems = agreement.agreements(models, None, Progress())
    assert list(found) == ["one"]
    assert problems == {"nan": "output 'y' is NaN"}


def test_a_sample_that_the_first_answers_with_nan_is_refused(workdir: Path) -> None:
    scores = asked(write_scores("scores.onnx", np.eye(3)))
    inputs = tuple(replace(spec, domain=Domain(known=False)) for spec in scores.provenance.source.inputs)
    source = replace(scores.provenance.source, inputs=inputs)
    blind = replace(scores, provenance=replace(scores.provenance, source=source))
    samples = write_samples(x=np.full((2, CLASSES), np.nan, "float32"))
    with pytest.raises(OptionError, match="output 'y' is NaN"):
        agreement.agreements([blind], samples, Progress())


def test_classes_that_are_named_by_number_are_equal_or_not(workdir: Path) -> None:
    def named(name: str, weights: Any) -> Path:
        return onnx_files.write(
            name,
            nodes=(
                helper.make_node("MatMul", ["x", "W"], ["scores"]),
                helper.make_node("ArgMax", ["scores"], ["y"], axis=1, keepdims=0),
            ),
            inputs=(("x", onnx_files.FLOAT, ["batch", CLASSES]),),
            outputs=(("y", onnx_files.INT64, ["batch"]),),
            initializers=(numpy_helper.from_array(np.asarray(weights, "float32"), "W"),),
        )

    samples = write_samples(x=np.eye(3, dtype="float32")[[0, 1, 2, 2]])
    found = agreed(named("same.onnx", np.eye(3)), named("swapped.onnx", np.eye(3)[[1, 0, 2]]), samples=samples)
    assert (found["swapped"].top1, found["swapped"].max_rel_diff) == (0.5, None)


def test_a_model_that_can_not_be_asked_here_has_a_reason(workdir: Path) -> None:
    known = write_scores("known.onnx", np.eye(3))
    strange = onnx.load(known)
    strange.graph.node[0].op_type = "NoSuchOperator"
    onnx.save(strange, "strange.onnx")
    found, problems = agreement.agreements([asked(known), asked(Path("strange.onnx"))], None, Progress())
    assert list(found) == ["known"]
    assert "can't open" in problems["strange"]


def test_inputs_that_the_first_model_refuses_are_a_usage_error(workdir: Path) -> None:
    ids: onnx_files.Declared = ("x", onnx_files.INT64, ["batch", CLASSES])
    path = onnx_files.write(
        "embed.onnx",
        nodes=(helper.make_node("Gather", ["W", "x"], ["y"]),),
        inputs=(ids,),
        outputs=(("y", onnx_files.FLOAT, ["batch", CLASSES]),),
        initializers=(numpy_helper.from_array(np.zeros(1, "float32"), "W"),),
    )
    with pytest.raises(OptionError, match="--samples PATH"):
        agreement.agreements([asked(path)], None, Progress())


def test_an_error_is_json_as_well(compare: Compare, linear: None) -> None:
    outcome = compare("linear_onnx", "nowhere", "--json")
    assert json.loads(outcome.out)["error"]["exit_code"] == 2
