"""Sequence batching in a patch: the tensors that Triton's batcher fills in are checked, and clients don't send them."""

from dataclasses import replace
from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from modelrepo.generator.configuration.decisions import Decisions, ServedTensor
from modelrepo.generator.configuration.writer import ConfigWriter
from modelrepo.generator.errors import OptionError
from modelrepo.generator.system import templates
from tests.generator.configuration.test_configuration import decisions

FLOATS = "fp32_false_true: [ 0, 1 ]"
STATE = 'state { input_name: "memory" output_name: "memory_out" data_type: TYPE_FP32 dims: [ 4 ] }'


def tensor(name: str, data_type: str = "TYPE_FP32", *dims: int, optional: bool = False) -> ServedTensor:
    return ServedTensor(name, data_type, dims or (1,), tuple(max(dim, 1) for dim in dims or (1,)), optional=optional)


PLANNED: Decisions = replace(
    decisions(),
    inputs=(
        tensor("x", "TYPE_FP32", 3),
        tensor("start"),
        tensor("id", "TYPE_INT64"),
        tensor("memory", "TYPE_FP32", 4),
        tensor("given", optional=True),
    ),
    outputs=(tensor("y"), tensor("memory_out", "TYPE_FP32", -1)),
)


def controls(*controls: tuple[str, str], more: str = "") -> str:
    written = (f'control_input {{ name: "{name}" control {{ {control} }} }}' for name, control in controls)
    return f"sequence_batching {{ {' '.join(written)} {more} }}"


START = ("start", f"kind: CONTROL_SEQUENCE_START {FLOATS}")
ID = ("id", "kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_INT64")


def render(tmp_path: Path, patch: str) -> ModelConfig:
    (tmp_path / "patch.pbtxt").write_text(patch)
    return text_format.Parse(ConfigWriter(patch=tmp_path / "patch.pbtxt").render(PLANNED, 1), ModelConfig())


def test_controls_are_left_to_the_batcher_and_stay_in_the_warm_up(tmp_path: Path) -> None:
    """A warm-up is given every input of the model, "including control tensors" (model_config.proto)."""
    config = render(tmp_path, controls(START, ID))
    assert [each.name for each in config.input] == ["x", "memory", "given"]
    assert [each.name for each in config.output] == ["y", "memory_out"]
    assert set(config.model_warmup[0].inputs) == {"x", "start", "id", "memory"}


def test_a_state_is_left_to_the_batcher_without_a_warm_up(tmp_path: Path) -> None:
    """A warm-up's request has no state, and core's TRITONBACKEND_StateNew refuses it."""
    config = render(tmp_path, controls(START, more=STATE))
    assert [each.name for each in config.input] == ["x", "id", "given"]
    assert [each.name for each in config.output] == ["y"]
    assert not config.model_warmup


def test_a_state_that_the_patch_lists_as_an_output_can_be_read(tmp_path: Path) -> None:
    config = render(tmp_path, controls(START, more=STATE) + 'output { name: "memory_out" }')
    assert {each.name for each in config.output} == {"y", "memory_out"}


def test_a_template_may_have_the_controls_too(tmp_path: Path) -> None:
    shipped = (templates.TEMPLATES / templates.CONFIG_TEMPLATE).read_text("utf-8")
    dynamic = shipped[shipped.index("{% if max_batch_size %}") : shipped.index("version_policy {")]
    text = shipped.replace(dynamic, controls(START) + "\n")
    (tmp_path / templates.CONFIG_TEMPLATE).write_text(text, "utf-8")
    config = text_format.Parse(ConfigWriter(tmp_path).render(PLANNED, 1), ModelConfig())
    assert [each.name for each in config.input] == ["x", "id", "memory", "given"]


REFUSED = {
    controls(("strat", START[1])): "fills 'strat' with a control, but the model has the inputs x, start, id, memory",
    controls(("y", START[1])): "fills 'y' with a control, but the model has the inputs",
    controls(("start", "kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ]")): "TYPE_INT32[1], but the model",
    controls(("x", START[1])): "TYPE_FP32[1], but the model has TYPE_FP32[3]",
    controls(("given", START[1])): "fills 'given' with a control, but the model has a value of its own for it",
    controls(("id", "kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_UINT64")): "TYPE_UINT64[1], but the model",
    'sequence_batching { control_input { name: "start" } }': "has 0 controls for 'start'",
    controls(START, more=STATE.replace('"memory"', '"nope"')): "has a state with the input 'nope'",
    controls(START, more=STATE.replace('"memory_out"', '"nope"')): "has a state with the output 'nope'",
    controls(START, more=STATE.replace("TYPE_FP32", "TYPE_FP16")): "has a state of TYPE_FP16[4] in 'memory'",
    controls(START, more=STATE.replace("[ 4 ]", "[ 5 ]")): "has a state of TYPE_FP32[5] in 'memory'",
    controls(START, more=STATE.replace("[ 4 ]", "[ -1 ]")): "has a state of TYPE_FP32[-1] in 'memory'",
    controls(START, more=STATE)
    + 'model_warmup { batch_size: 1 inputs { key: "x" } inputs { key: "start" } inputs { key: "id" } '
    + 'inputs { key: "memory" } }': "can't warm up a model with implicit state",
    controls(START) + 'input { name: "extra" }': "lists the inputs x, id, memory, given, extra",
}  # fmt: skip


@pytest.mark.parametrize("patch", REFUSED)
def test_a_batcher_that_contradicts_the_model_is_refused(tmp_path: Path, patch: str) -> None:
    with pytest.raises(OptionError) as raised:
        render(tmp_path, patch)
    assert REFUSED[patch] in raised.value.message


def test_clients_must_have_something_to_send_and_to_read(tmp_path: Path) -> None:
    (tmp_path / "patch.pbtxt").write_text(controls(START, more=STATE))
    writer = ConfigWriter(patch=tmp_path / "patch.pbtxt")
    with pytest.raises(OptionError, match="leaves no input for clients to send"):
        writer.render(replace(PLANNED, inputs=(tensor("start"), tensor("memory", "TYPE_FP32", 4))), 1)
    with pytest.raises(OptionError, match="leaves no output for clients to read"):
        writer.render(replace(PLANNED, outputs=PLANNED.outputs[1:]), 1)
