"""The golden requests that `generate` keeps: which, when, and what `smoke` makes of them without a server."""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from modelrepo.clients.models import Answered, Model
from modelrepo.generator.repository.lifecycle import answered_config, golden
from modelrepo.generator.repository.lifecycle.smoke import Smoked, smoke
from modelrepo.generator.repository.repository import Repository
from modelrepo.generator.specs.tensors import Signature, TensorSpec
from modelrepo.generator.verification import golden_requests
from modelrepo.generator.verification.golden import Golden, Request, Wanted
from modelrepo.generator.verification.golden_requests import Limits, chosen
from modelrepo.generator.verification.inputs import Pool
from modelrepo.generator.verification.sequences import Step
from tests.conftest import Generate

pytestmark = pytest.mark.usefixtures("numpy_models")
ROOT = Path("model_repository")


def kept(name: str = "linear", version: int = 1) -> Golden:
    found = golden.read(Repository(ROOT), name, version)
    assert found
    return found


def files(name: str = "linear") -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in Repository(ROOT).golden_folder(name).iterdir()}


def test_a_version_keeps_requests_of_several_sizes_and_kinds_with_its_sources_answers(generate: Generate) -> None:
    assert generate("--model", "numpy:linear").code == 0
    found = kept()
    assert [len(each.families) for each in found.requests] == [1, 2, 3, 8]
    assert {*("zeros", "ones", "random 1", "large (x10)")} <= {f for each in found.requests for f in each.families}
    weights = np.random.default_rng(0).standard_normal((4, 3)).astype("float32")
    for request in found.requests:
        wanted = request.outputs["output"]
        np.testing.assert_allclose(wanted.array, request.inputs["input"] @ weights, rtol=1e-5)
        assert len(wanted.limits) == len(wanted.on_gpu) == len(request.families)
        assert all(limit <= gpu for limit, gpu in zip(wanted.limits, wanted.on_gpu, strict=True))


def test_the_users_samples_come_first_and_the_users_limit_is_kept(generate: Generate) -> None:
    np.save("rows.npy", np.full((5, 4), 2, "float32"))
    more = ("--samples", "rows.npy", "--tolerance", "absolute=0.5")
    assert generate("--model", "numpy:linear", *more).code == 0
    first, *_ = kept().requests
    assert first.families == ("sample rows.npy",)
    assert first.inputs["input"].tolist() == [[2, 2, 2, 2]]
    assert first.outputs["output"].limits == first.outputs["output"].on_gpu == (0.5,)


def test_what_is_published_again_unchanged_has_the_same_files_and_keys(generate: Generate) -> None:
    first = generate("--model", "numpy:linear", "--json").report
    before = files()
    manifest = (Repository(ROOT).state / "manifests/linear/1.json").read_text()
    for file in golden.files(Repository(ROOT), "linear", 1):
        file.unlink()
    assert not any(Repository(ROOT).golden_folder("linear").iterdir())
    assert generate("--model", "numpy:linear", "--dry-run", "--json").result["status"] == "unchanged"
    again = generate("--model", "numpy:linear", "--json").report  # as if an earlier release had published it
    assert [row["status"] for row in (*first["results"], *again["results"])] == ["published", "unchanged"]
    assert files() == before
    assert (Repository(ROOT).state / "manifests/linear/1.json").read_text() == manifest
    assert "verifying" not in generate("--model", "numpy:linear").err


def test_damaged_ones_are_proven_again(generate: Generate) -> None:
    generate("--model", "numpy:linear")
    before = files()
    (Repository(ROOT).golden_folder("linear") / "1.json").write_text("{}")
    assert "verifying" in generate("--model", "numpy:linear").err
    assert files() == before


def test_without_verification_there_are_none_and_the_reason_is_kept(generate: Generate) -> None:
    generate("--model", "numpy:linear", "--no-verify")
    assert kept().reason == golden_requests.UNVERIFIED
    generate("--model", "numpy:linear")
    assert kept().requests


def test_a_run_without_verification_leaves_those_of_the_proof(generate: Generate) -> None:
    generate("--model", "numpy:linear")
    before = files()
    assert generate("--model", "numpy:linear", "--no-verify").code == 0
    assert files() == before


def test_a_failed_publish_leaves_no_version(generate: Generate, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("modelrepo.generator.repository.lifecycle.golden.keep", full)
    outcome = generate("--model", "numpy:linear")
    assert outcome.code == 6
    assert "No space left on device" in outcome.err
    assert not ROOT.exists() or not any(ROOT.iterdir())


# --- choosing

SIGNATURE = Signature((TensorSpec("x", "float32", ("batch", 4)),), (TensorSpec("y", "float32", ("batch", 4)),))


def rows(count: int, width: int = 4, random: bool = True) -> Pool:
    values = np.random.default_rng(0).standard_normal((count, width)) if random else np.ones((count, width))
    return Pool({"x": values.astype("float32")}, tuple(f"random {row + 1}" for row in range(count)))


def model(source: Any = lambda arrays: {"y": arrays["x"]}, largest: int = 8) -> golden_requests.Model:
    return golden_requests.Model(source, SIGNATURE, largest, Limits())


def test_an_input_whose_answer_rounding_decides_is_left_out() -> None:
    def source(arrays: Mapping[str, Any]) -> dict[str, Any]:
        x = arrays["x"].astype(float)
        return {"y": np.where(x[:, :1] > 1e3, np.sin(1e9 * x), x)}

    pool = rows(3)
    pool.arrays["x"][1] = 2e3
    found = chosen(model(source), (), [(pool, (1, 1, 1))])
    assert [each.families for each in found.requests] == [("random 1",), ("random 3",)]
    nothing = chosen(model(lambda arrays: {"y": np.sin(1e9 * arrays["x"].astype(float))}), (), [(pool, (1,))])
    assert not nothing.requests
    assert nothing.reason == golden_requests.UNSTEADY


def test_a_label_between_two_scores_that_are_nearly_equal_is_left_out() -> None:
    outputs = (TensorSpec("y", "float32", ("batch", 2)), TensorSpec("label", "int64", ("batch",)))
    signature = Signature(SIGNATURE.inputs, outputs)

    def source(arrays: Mapping[str, Any]) -> dict[str, Any]:
        scores = np.abs(arrays["x"][:, :2]) + np.array([0, 1e-7], "float32")
        return {"y": scores, "label": scores.argmax(axis=1)}

    pool = rows(3)
    pool.arrays["x"][1] = 1.5
    found = chosen(replace(model(source), signature=signature), (), [(pool, (1, 2))])
    assert [each.families for each in found.requests] == [("random 1",), ("random 3", "random 1")]
    assert found.requests[0].outputs["label"].array.shape == (1, 1)  # as Triton has it


def test_large_inputs_give_fewer_requests_and_too_large_ones_none(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = 100_000
    signature = replace(SIGNATURE, inputs=(TensorSpec("x", "float32", ("batch", wide)),))
    large = replace(model(lambda arrays: {"y": arrays["x"][:, :4]}), signature=signature)
    assert [len(each.families) for each in chosen(large, (), [(rows(8, wide), (1, 2, 3, 8))]).requests] == [1]
    assert len(chosen(large, (), [(rows(8, wide, random=False), (1, 2, 3, 8))]).requests) == 4
    monkeypatch.setattr(golden_requests, "LARGEST", 1000)
    assert chosen(large, (), [(rows(8, wide), (1, 2))]).reason == "its smallest request has more than 0 MB"


# --- asked without a server


class Replay:
    """A client that answers what a version keeps, changed by ``change``; it notes the steps of sequences."""

    def __init__(self, requests: Golden, config: Mapping[str, Any], change: Any = lambda name, array: array) -> None:
        self.waiting, self.answers, self.change, self.turns = list(requests.requests), config, change, []  # type: ignore[var-annotated]

    def model(self, name: str, version: str) -> Model:
        return Model(name, (version or "1",), "", 16, (), ())

    def is_ready(self, name: str, version: str) -> bool:
        return True

    def config(self, name: str, version: str) -> Mapping[str, Any]:
        return self.answers

    def infer(self, name: str, inputs: object, version: str = "", turn: Any = None) -> Answered:
        self.turns.append(turn)
        right = {name: each.array for name, each in self.waiting.pop(0).outputs.items()}
        return Answered({name: self.change(name, array) for name, array in right.items()}, "1")

    def classify(self, *arguments: object) -> Any:
        return ((SimpleNamespace(index=0, label="cat"),),)


def config_of(text: str) -> dict[str, Any]:
    from google.protobuf import json_format

    from modelrepo.generator.triton import pbtxt

    return json_format.MessageToDict(pbtxt.parse(text, "it"), preserving_proto_field_name=True)


def replayed(change: Any = lambda name, array: array, requests: Golden | None = None, **config: Any) -> Smoked:
    repository = Repository(ROOT)
    if requests is not None:
        golden.keep(repository, "linear", 1, requests)
    on_cpu = {"instance_group": [{"kind": "KIND_CPU", "count": 1}]}
    answered = {**config_of(repository.config_text("linear") or ""), **on_cpu, **config}
    return smoke(Replay(kept(), answered, change), repository, "linear")  # type: ignore[arg-type]


@pytest.fixture
def linear(numpy_models: None, generate: Generate) -> None:
    assert generate("--model", "numpy:linear").code == 0


@pytest.mark.usefixtures("linear")
def test_the_right_answers_pass_and_a_gpu_may_be_as_far_off_as_tf32() -> None:
    def shifted() -> Any:
        limits = iter([each.outputs["output"] for each in kept().requests])

        def change(name: str, array: Any) -> Any:
            each = next(limits)
            return array + np.mean([each.limits, each.on_gpu], axis=0).astype("float32")[:, np.newaxis]

        return change

    assert replayed().status == "passed"
    assert replayed(shifted()).exit_code == 5
    on_gpu = replayed(shifted(), instance_group=[{"kind": "KIND_GPU", "count": 1}])
    assert on_gpu.status == "passed"


@pytest.mark.usefixtures("linear")
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda name, array: array * np.nan, "an answer differs by inf"),
        (lambda name, array: array[:, :2], "output 'output' has shape [1, 2], and [1, 3] is right"),
        (lambda name, array: array.astype(object), "output 'output' is of type object, and float32 is right"),
        (lambda name, array: np.roll(array, 1, axis=1), "an answer differs by "),
    ],
)
def test_wrong_answers_are_named(change: Any, told: str) -> None:
    found = replayed(change)
    assert told in found.failure
    assert found.exit_code == 5


@pytest.mark.usefixtures("linear")
def test_a_version_without_golden_requests_names_the_next_step() -> None:
    shutil.rmtree(Repository(ROOT).golden_folder("linear"))
    repository = Repository(ROOT)
    answered = config_of(repository.config_text("linear") or "")
    found = smoke(Replay(Golden(), answered), repository, "linear")  # type: ignore[arg-type]
    assert (found.exit_code, found.ready, found.version) == (6, True, "1")
    assert found.failure == "no golden requests are kept for version 1: an earlier release of modelrepo published it"
    assert found.hint == "`generate` again proves the model and keeps them"


@pytest.mark.usefixtures("linear")
def test_a_reason_is_told_and_the_rest_is_checked() -> None:
    found = replayed(requests=Golden(reason="it is too large"))
    assert (found.status, found.unasked, found.exit_code) == ("unasked", "it is too large", 0)
    assert replayed(max_batch_size=4).exit_code == 5


@pytest.mark.usefixtures("linear")
@pytest.mark.parametrize(("text", "told"), [("{}", "are damaged"), ('{"schema": 99}', "by a newer release")])
def test_damaged_and_newer_ones_are_one_line(text: str, told: str) -> None:
    requests = kept()
    (Repository(ROOT).golden_folder("linear") / "1.json").write_text(text)
    repository = Repository(ROOT)
    found = smoke(Replay(requests, config_of(repository.config_text("linear") or "")), repository, "linear")  # type: ignore[arg-type]
    assert found.exit_code == 6
    assert told in found.failure


@pytest.mark.usefixtures("linear")
def test_a_label_may_follow_its_scores_only_if_the_precision_is_low() -> None:
    scores, label = np.array([[1.0, 1.001]], "float32"), np.array([1], "int64")
    outputs = {"scores": Wanted(scores, (0.01,), (0.01,)), "label": Wanted(label, (0.0,), (0.0,))}
    low = Golden((Request(("zeros",), {}, outputs),), follows=True)

    def swapped(name: str, array: np.ndarray) -> np.ndarray:
        return array[:, ::-1] if name == "scores" else 1 - array

    assert replayed(swapped, low).status == "passed"
    assert replayed(swapped, replace(low, follows=False)).exit_code == 5
    assert replayed(lambda name, array: 1 - array if name == "label" else array, low).exit_code == 5


@pytest.mark.usefixtures("linear")
@pytest.mark.parametrize("any_id", [True, False])
def test_correlation_ids_are_drawn_anew_unless_the_model_is_told_them(any_id: bool) -> None:
    wanted = {"y": Wanted(np.zeros((1, 1)), (0.0,), (0.0,))}
    steps = [Step(1001, True, False), Step(1002, True, False), Step(1001, False, True), Step(1002, False, True)]
    requests = Golden(tuple(Request(("zeros",), {}, wanted, step) for step in steps), any_id=any_id)
    golden.keep(Repository(ROOT), "linear", 1, requests)
    repository = Repository(ROOT)
    client = Replay(kept(), config_of(repository.config_text("linear") or ""))
    assert smoke(client, repository, "linear").status == "passed"  # type: ignore[arg-type]
    ids = [turn.identity for turn in client.turns]
    assert ids[0] == ids[2] != ids[1] == ids[3]
    assert ({1001, 1002} == set(ids)) is not any_id
    assert [(turn.first, turn.last) for turn in client.turns] == [(step.is_first, step.is_last) for step in steps]


CONFIG = """
max_batch_size: 8
instance_group { count: 2 kind: KIND_GPU }
dynamic_batching { max_queue_delay_microseconds: 5 }
optimization { execution_accelerators { gpu_execution_accelerator { name: "tensorrt" } } }
"""


@pytest.mark.parametrize(
    ("written", "answered", "differs"),
    [
        (CONFIG, CONFIG + "input_unknown", ()),
        ("max_batch_size: 0", "max_batch_size: 4", ("max_batch_size is 4, and 0 was published",)),
        ("instance_group { kind: KIND_AUTO }", 'instance_group { kind: KIND_GPU gpus: 0 count: 1 name: "a" }', ()),
        ("dynamic_batching { }", "", ("dynamic_batching is nothing, and {} was published",)),
        ("dynamic_batching { }", "dynamic_batching { preferred_batch_size: 4 }", ()),
        (
            "version_policy { specific { versions: 1 } }",
            "version_policy { latest { num_versions: 1 } }",
            ("version_policy.specific is nothing, and {versions: [1]} was published",),
        ),
        (
            "instance_group { count: 2 kind: KIND_CPU }",
            "instance_group { count: 1 kind: KIND_CPU }",
            ("instance_group[0].count is 1, and 2 was published",),
        ),
    ],
)
def test_only_what_was_written_and_differs_counts(written: str, answered: str, differs: tuple[str, ...]) -> None:
    found = answered_config.differences(written, config_of(answered.removesuffix("input_unknown")))
    assert found == (differs, ())


def test_what_a_cpu_serves_in_place_of_a_gpu_is_a_note() -> None:
    served = """max_batch_size: 8 instance_group { count: 2 kind: KIND_CPU }
        dynamic_batching { max_queue_delay_microseconds: 5 }"""
    assert answered_config.differences(CONFIG, config_of(served)) == ((), (answered_config.ON_CPU,))
