"""The live check: the answers of a real Triton decide whether a model is published."""

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from modelrepo.clients import Client
from modelrepo.generator.verification import datasets, sequences
from modelrepo.server import Server, running_server
from modelrepo.server.binaries import runtime
from modelrepo.server.checking import live_check, served
from tests.conftest import Generate, snapshot

pytestmark = pytest.mark.usefixtures("numpy_models")
FLOAT = TensorProto.FLOAT
LINEAR = ("--model", "numpy:linear", "--live-check", "require")


def live(outcome: Any) -> dict[str, Any]:
    document: dict[str, Any] = outcome.result["verification"]["live"]
    return document


def save_onnx(
    path: Path, nodes: Sequence[onnx.NodeProto], inputs: Sequence[onnx.ValueInfoProto], outputs: Sequence[Any]
) -> None:
    graph = helper.make_graph(list(nodes), "g", list(inputs), list(outputs))
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path)


def value(name: str, kind: int, *shape: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def test_a_published_model_was_asked_over_both_protocols_and_its_requests_were_merged(generate: Generate) -> None:
    outcome = generate(*LINEAR, "--json")
    assert outcome.code == 0
    found = live(outcome)
    assert found["status"] == "passed"
    assert found["detail"] == f"local Triton {runtime.TRITON_VERSION}"
    verification = outcome.result["verification"]
    assert found["cases"] > verification["cases"] - verification["coverage"]["probes"]
    assert found["largest_merged_batch"] > 1
    assert found["max_rel_diff"] < 1e-5


def test_one_server_checks_every_model_of_a_run(
    generate: Generate, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []

    def counted(*arguments: Any, **more: Any) -> Any:
        started.append(arguments)
        return running_server(*arguments, **more)

    monkeypatch.setattr(live_check, "running_server", counted)
    (workdir / "modelrepo.toml").write_text(
        '[models.one]\nmodel = "numpy:linear"\n[models.two]\nmodel = "numpy:mixes_samples"\n'
        '[models.three]\nmodel = "numpy:linear"\nmax_batch_size = 0\n'
    )
    outcome = generate("--live-check", "require", "--json")
    rows = outcome.report["results"]
    assert [row["verification"]["live"]["status"] for row in rows] == ["passed"] * 3, outcome.err
    assert [row["max_batch_size"] for row in rows] == [16, 0, 0]
    assert len(started) == 1


def test_a_server_that_dies_costs_one_model(generate: Generate, workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (workdir / "modelrepo.toml").write_text(
        '[models.one]\nmodel = "numpy:linear"\n[models.two]\nmodel = "numpy:linear"\n'
    )
    deaths: list[str] = []

    def load(server: Server, name: str) -> None:
        if not deaths:
            deaths.append(name)
            os.kill(server.pid, signal.SIGKILL)
            server.guardian.wait()
        original(server, name)

    original = Server.load
    monkeypatch.setattr(Server, "load", load)
    outcome = generate("--live-check", "require", "--json")
    assert outcome.code == 7
    assert "Triton died while it served one" in outcome.err
    assert [row["status"] for row in outcome.report["results"]] == ["failed", "published"]


@pytest.mark.parametrize("kind", ["wrong answers over gRPC", "an answer that is not its own"])
def test_a_model_that_is_served_wrongly_is_not_published(
    kind: str, generate: Generate, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def disturbed(method: Callable[..., Any]) -> Callable[..., Any]:
        def make(*arguments: Any) -> Callable[..., Any]:
            run = method(*arguments)
            return lambda arrays: {name: np.roll(array, 1, axis=0) + 1e-2 for name, array in run(arrays).items()}

        return make

    name = "whole" if kind == "wrong answers over gRPC" else "single"
    monkeypatch.setattr(served.Adapter, name, disturbed(getattr(served.Adapter, name)))
    before = snapshot(workdir)
    outcome = generate(*LINEAR)
    assert outcome.code == 5
    assert "served by local Triton" in outcome.err
    assert "asked over gRPC" in outcome.err
    assert snapshot(workdir) == before


@pytest.mark.parametrize("merged", [(1, 1, 3), (1, 1, 1)])
def test_how_far_apart_a_machine_sends_requests_decides_nothing(
    merged: tuple[int, ...], generate: Generate, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A busy machine sends requests so far apart that none meets another: then merged ones were not seen."""
    delays: list[int] = []
    asked = iter(merged)

    def loaded(server: Server, name: str) -> None:
        load(server, name)
        batching = server.config(name)["dynamic_batching"]
        delays.append(int(batching["max_queue_delay_microseconds"]))

    def singles(comparison: live_check.ServedComparison, client: Client) -> int:
        assert ask(comparison, client)
        return next(asked)

    load, ask = Server.load, live_check.ServedComparison.singles
    monkeypatch.setattr(Server, "load", loaded)
    monkeypatch.setattr(live_check.ServedComparison, "singles", singles)
    outcome = generate(*LINEAR, "--json")
    assert outcome.code == 0, outcome.err
    assert delays[1:] == [*live_check.MERGING_MICROSECONDS]
    if merged[-1] == 1:
        assert live(outcome)["largest_merged_batch"] is None
        assert live(outcome)["notes"] == [live_check.NOT_MERGED]
        assert "warning: linear: merged requests were not seen" in outcome.err
    else:
        assert live(outcome)["largest_merged_batch"] == 3


def test_answers_that_depend_on_the_whole_batch_are_judged_batch_by_batch(generate: Generate, workdir: Path) -> None:
    """Over HTTP few batches are asked, which do not show that samples influence each other."""
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["total"], keepdims=0),
        helper.make_node("Sign", ["total"], ["side"]),
        helper.make_node("Mul", ["x", "side"], ["y"]),
    ]
    shape = ("batch", 4)
    save_onnx(workdir / "choice.onnx", nodes, [value("x", FLOAT, *shape)], [value("y", FLOAT, *shape)])
    # With this seed each of the first seven samples is answered alone as in its pair, but for the last with the first.
    outcome = generate("--model", "onnx:choice.onnx", "--live-check", "require", "--seed", "16", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.result["max_batch_size"] == 0


def test_a_model_that_answers_nothing_but_samples_is_asked_those_in_every_way(
    generate: Generate, workdir: Path
) -> None:
    nodes = [
        helper.make_node("Constant", [], ["far"], value_floats=[100.0]),
        helper.make_node("Sub", ["x", "far"], ["rest"]),
        helper.make_node("Log", ["rest"], ["y"]),
    ]
    shape = ("batch", 4)
    save_onnx(workdir / "far.onnx", nodes, [value("x", FLOAT, *shape)], [value("y", FLOAT, *shape)])
    np.save("far.npy", 101 + np.arange(20, dtype="float32").reshape(5, 4))
    outcome = generate("--model", "onnx:far.onnx", "--live-check", "require", "--samples", "far.npy", "--json")
    assert outcome.code == 0, outcome.err
    assert "so your samples and changes of them are compared" in outcome.err
    found = live(outcome)
    assert (found["status"], found["largest_merged_batch"] is not None) == ("passed", True)
    assert found["cases"] == 4 * 5 + 5 + 5  # gRPC in batches of 1, 2, 3 and 16, HTTP in twos, single requests


def test_few_inputs_that_the_source_answers_are_asked_over_http_as_well(generate: Generate, workdir: Path) -> None:
    """Of the inputs of a large batch one may be answered that a smaller batch does not even have."""
    nodes = [
        helper.make_node("Constant", [], ["border"], value_floats=[2.0]),
        helper.make_node("Sub", ["x", "border"], ["rest"]),
        helper.make_node("Sqrt", ["rest"], ["y"]),
    ]
    save_onnx(workdir / "few.onnx", nodes, [value("x", FLOAT, "batch", 1)], [value("y", FLOAT, "batch", 1)])
    outcome = generate("--model", "onnx:few.onnx", "--live-check", "require", "--seed", "30", "--json")
    assert outcome.code == 0, outcome.err
    assert live(outcome)["status"] == "passed"


def test_requests_that_triton_has_answered_and_not_counted_yet_are_waited_for() -> None:
    """Triton counts a request after it has answered it."""

    class Counting:
        asked = 0

        def statistics(self, name: str) -> list[Any]:
            self.asked += 1
            batches = [SimpleNamespace(batch_size=2, compute_infer=SimpleNamespace(count=self.asked))]
            return [SimpleNamespace(inferences=2 * self.asked, batches=batches)]

    client: Any = Counting()
    assert served.batches(client, "linear", 6) == {2: 3}
    assert served.batches(client, "linear", 0) == {2: 4}


def test_a_configuration_that_triton_refuses_is_not_published(generate: Generate, workdir: Path) -> None:
    (workdir / "p.pbtxt").write_text('parameters { key: "execution_mode" value { string_value: "2" } }\n')
    before = snapshot(workdir)
    outcome = generate(*LINEAR, "--config-patch", "p.pbtxt")
    assert outcome.code == 2
    assert "ORT-PARAM: " in outcome.err
    assert snapshot(workdir) == before


def test_a_model_for_a_gpu_is_checked_on_the_cpu_with_a_note(generate: Generate, workdir: Path) -> None:
    outcome = generate(*LINEAR, "--instances", "gpu:1", "--json")
    assert live(outcome)["notes"] == ["checked on the CPU: instance group KIND_GPU is served as KIND_CPU"]
    assert "warning: linear: checked on the CPU" in outcome.err
    assert "KIND_GPU" in (workdir / "model_repository/linear/config.pbtxt").read_text()


def test_a_model_that_single_requests_cannot_ask_is_skipped_with_a_reason(generate: Generate, workdir: Path) -> None:
    (workdir / "p.pbtxt").write_text(
        'batch_output { target_name: "output" kind: BATCH_SCATTER_WITH_INPUT_SHAPE source_input: "input" }'
    )
    outcome = generate("--model", "numpy:linear", "--live-check", "auto", "--config-patch", "p.pbtxt", "--json")
    assert outcome.code == 0, outcome.err
    assert live(outcome)["detail"] == "the local server has no ragged batching"


def test_an_output_whose_number_of_dimensions_changes_is_answered_as_it_is(generate: Generate, workdir: Path) -> None:
    """Only answers without dimensions get those of the configuration (ReadOutputTensors of onnxruntime_backend)."""
    inputs = [value("x", TensorProto.FLOAT, 4), value("shape", TensorProto.INT64, "rank")]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    save_onnx(workdir / "ranks.onnx", [helper.make_node("Reshape", ["x", "shape"], ["y"])], inputs, [output])
    outcome = generate("--model", "onnx:ranks.onnx", "--live-check", "require", "--json")
    assert outcome.code == 0, outcome.err
    assert live(outcome)["status"] == "passed"


CONTROLS = """
sequence_batching {
  max_sequence_idle_microseconds: 10
  control_input { name: "start" control { kind: CONTROL_SEQUENCE_START fp32_false_true: [ 0, 1 ] } }
  control_input { name: "end" control { kind: CONTROL_SEQUENCE_END int32_false_true: [ 5, 7 ] } }
  control_input { name: "id" control { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_INT64 } }
}
"""


@pytest.fixture
def sequence_model(workdir: Path) -> tuple[str, ...]:
    """Write y = x + start + 2 end + 3 id, and the patch that leaves all but x to the sequence batcher."""
    inputs = {"start": TensorProto.FLOAT, "end": TensorProto.INT32, "id": TensorProto.INT64}
    nodes, total = [], "x"
    for factor, name in enumerate(inputs, 1):
        nodes += [
            helper.make_node("Cast", [name], [f"{name}_float"], to=TensorProto.FLOAT),
            helper.make_node("Constant", [], [f"{name}_factor"], value_float=float(factor)),
            helper.make_node("Mul", [f"{name}_float", f"{name}_factor"], [f"{name}_part"]),
            helper.make_node("Add", [total, f"{name}_part"], [total := f"with_{name}"]),
        ]
    nodes.append(helper.make_node("Identity", [total], ["y"]))
    values = [
        value("x", TensorProto.FLOAT, "batch", 1),
        *(value(name, kind, "batch", 1) for name, kind in inputs.items()),
    ]
    save_onnx(workdir / "steps.onnx", nodes, values, [value("y", TensorProto.FLOAT, "batch", 1)])
    (workdir / "p.pbtxt").write_text(CONTROLS)
    return ("--model", "onnx:steps.onnx", "--config-patch", "p.pbtxt", "--live-check", "require", "--json")


@pytest.mark.parametrize("batch", ["16", "0"])
def test_a_model_of_sequences_is_asked_in_sequences(
    generate: Generate, sequence_model: tuple[str, ...], batch: str, workdir: Path
) -> None:
    if batch == "0":
        model = onnx.load(workdir / "steps.onnx")
        for each in (*model.graph.input, *model.graph.output):
            del each.type.tensor_type.shape.dim[0]
        onnx.save(model, workdir / "steps.onnx")
    outcome = generate(*sequence_model, "--max-batch-size", batch)
    assert outcome.code == 0, outcome.err
    assert live(outcome)["status"] == "passed"
    assert live(outcome)["cases"] == 6


def test_a_control_that_the_batcher_fills_in_differently_is_noticed(
    generate: Generate, sequence_model: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = sequences._value

    def swapped(kind: str, control: Any, step: sequences.Step) -> Any:
        return original(kind, control, step._replace(is_last=False))

    monkeypatch.setattr(sequences, "_value", swapped)
    outcome = generate(*sequence_model)
    assert outcome.code == 5
    assert "asked over gRPC, in sequences, output 'y'" in outcome.err


def test_without_a_server_the_check_is_skipped_with_a_reason(
    generate: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "unsupported", lambda: "this is no Linux")
    outcome = generate("--model", "numpy:linear", "--live-check", "auto", "--json")
    assert outcome.code == 0
    assert live(outcome)["status"] == "skipped"
    assert "warning: linear: no live check: this is no Linux" in outcome.err


def test_a_check_that_is_required_and_impossible_is_an_error(
    generate: Generate, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "unsupported", lambda: "this is no Linux")
    before = snapshot(workdir)
    outcome = generate(*LINEAR)
    assert outcome.code == 7
    assert "this is no Linux" in outcome.err
    assert snapshot(workdir) == before


def test_of_many_samples_the_server_is_asked_some(generate: Generate) -> None:
    random = np.random.default_rng(0)
    cases = []
    for count in (datasets.COMPARED, 4 * datasets.COMPARED):
        np.save("samples.npy", random.standard_normal((count, 4)).astype("float32"))
        outcome = generate(*LINEAR, "--samples", "samples.npy", "--json")
        assert outcome.code == 0, outcome.err
        cases.append(live(outcome)["cases"])
    # Single requests, which no sample is asked in, are asked once more where none were merged.
    assert abs(cases[0] - cases[1]) < datasets.COMPARED


def test_an_unchecked_published_model_is_checked_when_that_is_required(generate: Generate) -> None:
    assert generate("--model", "numpy:linear", "--json").result["verification"]["live"] is None
    again = generate(*LINEAR, "--json")
    assert live(again)["status"] == "passed"
    assert again.result["status"] == "unchanged"
    assert generate(*LINEAR, "--json").report["seconds"].keys() == {"total"}


def test_without_verification_there_is_nothing_to_check_against(generate: Generate) -> None:
    outcome = generate("--model", "numpy:linear", "--no-verify", "--live-check", "auto", "--json")
    assert live(outcome)["status"] == "skipped"


@pytest.mark.parametrize(
    ("nodes", "inputs", "outputs"),
    [
        (
            [helper.make_node("Neg", ["a"], ["b"])],
            [value("a", TensorProto.FLOAT)],
            [value("b", TensorProto.FLOAT)],
        ),
        (
            [helper.make_node("StringConcat", ["a", "a"], ["b"])],
            [value("a", TensorProto.STRING, "batch", 2)],
            [value("b", TensorProto.STRING, "batch", 2)],
        ),
        (
            [helper.make_node("ReduceSum", ["a", ""], ["b"], keepdims=0), helper.make_node("Not", ["c"], ["d"])],
            [value("a", TensorProto.FLOAT16, "rows", "columns"), value("c", TensorProto.BOOL, 3)],
            [value("b", TensorProto.FLOAT16), value("d", TensorProto.BOOL, 3)],
        ),
        (
            [helper.make_node("Neg", ["a"], ["b"])],
            [value("a", TensorProto.INT8, "batch")],
            [value("b", TensorProto.INT8, "batch")],
        ),
        (
            [helper.make_node("Add", ["a", "a"], ["b"])],
            [value("a", TensorProto.UINT64, "batch", "length")],
            [value("b", TensorProto.UINT64, "batch", "length")],
        ),
    ],
    ids=["scalar", "strings", "half and bool", "one value a sample", "two dynamic dimensions"],
)
def test_every_shape_and_type_passes_through_the_server(
    nodes: list[Any], inputs: list[Any], outputs: list[Any], generate: Generate, workdir: Path
) -> None:
    save_onnx(workdir / "model.onnx", nodes, inputs, outputs)
    outcome = generate("--model", "onnx:model.onnx", "--live-check", "require", "--json")
    assert outcome.code == 0, outcome.err
    assert live(outcome)["status"] == "passed"


def test_a_policy_may_serve_an_older_version_that_is_there(generate: Generate, workdir: Path) -> None:
    assert generate(*LINEAR).code == 0
    outcome = generate(*LINEAR, "--seed", "1", "--version-policy", "specific:1", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.result["version"] == 2
    assert live(outcome)["status"] == "passed"
    text = (workdir / "model_repository/linear/config.pbtxt").read_text()
    assert "versions: [ 1 ]" in text
    again = generate(*LINEAR, "--seed", "1", "--version-policy", "specific:1", "--json")
    assert (again.code, again.result["status"], again.result["version"]) == (0, "unchanged", 2)


def test_another_policy_makes_no_new_version(generate: Generate, workdir: Path) -> None:
    assert generate(*LINEAR).code == 0
    assert generate(*LINEAR, "--seed", "1", "--json").result["version"] == 2
    served = generate(*LINEAR, "--seed", "1", "--version-policy", "specific:1,2", "--json")
    assert (served.code, served.result["version"]) == (0, 2), served.err
    assert "no new version: only the version policy is another" in served.err
    assert sorted(path.name for path in (workdir / "model_repository/linear").iterdir() if path.is_dir()) == ["1", "2"]
    with running_server(workdir / "model_repository") as server:
        assert {version for _, version in server.served()} == {"1", "2"}
    assert (
        generate(*LINEAR, "--seed", "1", "--version-policy", "specific:1,2", "--json").result["status"] == "unchanged"
    )


def test_an_older_version_that_triton_refuses_beside_the_new_one_is_told(generate: Generate, workdir: Path) -> None:
    assert generate(*LINEAR).code == 0
    (workdir / "model_repository/linear/1/model.onnx").write_bytes(b"")
    outcome = generate(*LINEAR, "--seed", "1", "--version-policy", "all")
    assert outcome.code == 6
    assert "ORT-READ" in outcome.err
    assert "versions: [ 1 ]" in (workdir / "model_repository/linear/config.pbtxt").read_text()


def test_an_edited_configuration_is_asked_again(generate: Generate, workdir: Path) -> None:
    assert generate(*LINEAR).code == 0
    config = workdir / "model_repository/linear/config.pbtxt"
    published = config.read_text()
    config.write_text(published.replace("max_batch_size: 16", "max_batch_size: 2"))
    outcome = generate(*LINEAR, "--json")
    assert (outcome.code, outcome.result["status"]) == (0, "unchanged"), outcome.err
    assert "asking linear as it was edited" in outcome.err
    assert "have batches above 2 and are left out" in outcome.err
    config.write_text(
        published.replace("dims: [ 4 ]", "dims: [ 2, 2 ] reshape { shape: [ 4 ] }", 1).split("model_warmup")[0]
    )
    outcome = generate(*LINEAR, "--json")
    assert (outcome.code, outcome.result["status"]) == (5, "failed"), outcome.err
    assert "linear as it was edited: " in outcome.err
