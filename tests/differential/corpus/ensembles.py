"""Ensembles, with the models that they call."""

from collections.abc import Mapping
from dataclasses import replace

from tests.differential.case import Case
from tests.differential.texts import BATCHED, PLAIN, X, Y

STEP = (
    'step {{ model_name: "{name}_{member}" model_version: {version} '
    'input_map {{ key: "{input}" value: "{source}" }} output_map {{ key: "{output}" value: "{target}" }} }}\n'
)
TWICE = 'input { name: "x" data_type: TYPE_FP32 dims: 4 } output { name: "y" data_type: TYPE_FP32 dims: 8 }'


def _step(member: str, source: str, target: str, **other: str) -> str:
    """Return a step; ``NAME`` stands for the ensemble's name."""
    values = {"version": "-1", "input": "x", "output": "y", **other}
    return STEP.format(name="NAME", member=member, source=source, target=target, **values)


BOTH = _step("a", "x", "m") + _step("b", "m", "y")


def _ensemble(
    name: str, steps: str, errors: str = "", before: str = "", io: str = X + Y, **members: str | Case | None
) -> Case:
    """Return an ensemble of the members a and b, or of others."""
    name = f"chain_{name}"
    models: Mapping[str, str | Case | None] = {"a": PLAIN, "b": PLAIN, **members}
    others = {
        f"{name}_{key}": member if isinstance(member, Case) else Case(f"{name}_{key}", member)
        for key, member in models.items()
        if member is not None
    }
    others = {key: replace(member, name=key) for key, member in others.items()}
    before = before or 'platform: "ensemble"'
    text = f"{before}\n{io}ensemble_scheduling {{ {steps} }}".replace("NAME", name)
    return Case(name, text, errors=tuple(errors.split()), others=others)


CASES = [
    _ensemble("plain", BOTH),
    _ensemble("batched", BOTH, before='platform: "ensemble" max_batch_size: 8', a=BATCHED, b=BATCHED),
    _ensemble(
        "batch_above_a_member", BOTH, "ENS-MBS", before='platform: "ensemble" max_batch_size: 9', a=BATCHED, b=BATCHED
    ),
    _ensemble("batch_below_the_members", BOTH, before='platform: "ensemble" max_batch_size: 2', a=BATCHED, b=BATCHED),
    _ensemble("batched_of_one_unbatched", BOTH, before='platform: "ensemble" max_batch_size: 2', a=BATCHED),
    _ensemble("unbatched_of_batched", BOTH, a=BATCHED, b=BATCHED),
    _ensemble("without_platform", BOTH, "ENS", before="max_batch_size: 0"),
    _ensemble("other_platform", BOTH, "ENS", before='platform: "onnxruntime_onnx"'),
    _ensemble("with_backend", BOTH, "ENS", before='platform: "ensemble" backend: "light"'),
    _ensemble("with_backend_ensemble", BOTH, "ENS", before='platform: "ensemble" backend: "ensemble"'),
    _ensemble("with_instances", BOTH, "ENS", before='platform: "ensemble" instance_group { kind: KIND_CPU }'),
    _ensemble("with_empty_instances", BOTH, before='platform: "ensemble" instance_group [ ]'),
    _ensemble("with_optimization", BOTH, "ENS", before='platform: "ensemble" optimization { }'),
    _ensemble("with_warmup", BOTH, "ENS", before='platform: "ensemble" model_warmup { name: "w" }'),
    _ensemble(
        "with_parameters", BOTH, before='platform: "ensemble" parameters { key: "a" value { string_value: "b" } }'
    ),
    _ensemble("with_batching", BOTH, "PARSE", before='platform: "ensemble" dynamic_batching { }'),
    _ensemble("decoupled", BOTH, before='platform: "ensemble" model_transaction_policy { decoupled: true }'),
    _ensemble("cached", BOTH, before='platform: "ensemble" response_cache { enable: true }'),
    _ensemble("no_steps", "", "ENS-STEP"),
    _ensemble("version_0", _step("a", "x", "y", version="0"), "ENS-VER"),
    _ensemble("version_1", _step("a", "x", "y", version="1")),
    _ensemble("version_2", _step("a", "x", "y", version="2"), "ENS-VER"),
    _ensemble("version_missing", _step("a", "x", "y").replace("model_version: -1", ""), "ENS-VER"),
    _ensemble("version_negative", _step("a", "x", "y", version="-2"), "ENS-VER"),
    _ensemble("unknown_model", _step("none", "x", "y"), "ENS-MODEL"),
    _ensemble("nameless_model", _step("a", "x", "y").replace('"NAME_a"', '""'), "ENS-STEP"),
    _ensemble("itself", _step("a", "x", "y").replace("NAME_a", "NAME"), "ENS-MODEL"),
    _ensemble("unknown_input", _step("a", "x", "y", input="z"), "ENS-MAP"),
    _ensemble("unknown_output", _step("a", "x", "y", output="z"), "ENS-MAP"),
    _ensemble(
        "no_input_map", 'step { model_name: "NAME_a" model_version: -1 output_map { key: "y" value: "y" } }', "ENS-STEP"
    ),
    _ensemble(
        "no_output_map", 'step { model_name: "NAME_a" model_version: -1 input_map { key: "x" value: "x" } }', "ENS-STEP"
    ),
    _ensemble("unused_input", BOTH, "ENS-FLOW", io=X + Y + 'input { name: "z" data_type: TYPE_FP32 dims: 4 }'),
    _ensemble("missing_output", BOTH, "ENS-FLOW", io=X + Y + 'output { name: "z" data_type: TYPE_FP32 dims: 4 }'),
    _ensemble("unused_tensor", _step("a", "x", "y") + _step("b", "x", "z"), "ENS-FLOW"),
    _ensemble("tensor_from_nowhere", _step("a", "nothing", "y"), "ENS-FLOW"),
    _ensemble("tensor_made_twice", _step("a", "x", "y") + _step("b", "x", "y"), "ENS-FLOW"),
    _ensemble("input_as_output", _step("a", "x", "x"), "ENS-FLOW"),
    _ensemble("in_a_circle", _step("a", "n", "m") + _step("b", "m", "n"), "ENS-FLOW"),
    _ensemble("steps_out_of_order", _step("b", "m", "y") + _step("a", "x", "m")),
    _ensemble("twice_the_model", _step("a", "x", "m") + _step("a", "m", "y")),
    _ensemble("other_type", BOTH, "ENS-TYPE", b=PLAIN.replace("FP32", "INT32")),
    _ensemble("other_type_of_its_own", BOTH, "ENS-TYPE", io=(X + Y).replace("FP32", "FP16")),
    _ensemble("other_dims", BOTH, "ENS-TYPE", a=f'backend: "light" {TWICE}'),
    _ensemble("other_dims_of_its_own", BOTH, "ENS-TYPE", io=(X + Y).replace("4", "5")),
    _ensemble("variable_dims", BOTH, b=PLAIN.replace("[ 4 ]", "[ -1 ]")),
    _ensemble("variable_dims_of_its_own", BOTH, io=(X + Y).replace("[ 4 ]", "[ -1 ]")),
    _ensemble("more_dims", BOTH, "ENS-TYPE", b=PLAIN.replace("[ 4 ]", "[ 4, 1 ]")),
    _ensemble("a_member_fails", BOTH, "ENS-MODEL", a=PLAIN.replace("4", "0")),
    _ensemble("a_member_is_missing", BOTH, "ENS-MODEL", a=None),
    _ensemble("a_member_has_no_version", BOTH, "ENS-MODEL", a=Case("", PLAIN, versions=())),
    _ensemble("a_member_is_sequential", BOTH, a=f"{PLAIN}sequence_batching {{ }}"),
    _ensemble("a_member_is_decoupled", BOTH, a=f"{PLAIN}model_transaction_policy {{ decoupled: true }}"),
    _ensemble(
        "a_member_has_an_optional_input",
        BOTH,
        a=PLAIN + 'input { name: "o" data_type: TYPE_FP32 dims: 4 optional: true }',
    ),
    _ensemble(
        "a_member_has_one_more_input", BOTH, "ENS-MAP", a=PLAIN + 'input { name: "o" data_type: TYPE_FP32 dims: 4 }'
    ),
    _ensemble("a_member_has_one_more_output", BOTH, a=PLAIN + 'output { name: "o" data_type: TYPE_FP32 dims: 4 }'),
    _ensemble(
        "a_member_is_reshaped", BOTH, a=PLAIN.replace("[ 4 ] }\noutput", "[ 4 ] reshape { shape: [ 2, 2 ] } }\noutput")
    ),
    _ensemble("quoted_maps", BOTH.replace('"x"', "'x'")),
    _ensemble("sequence_as_well", BOTH, "PARSE", before='platform: "ensemble" sequence_batching { }'),
    replace(_ensemble("without_version", BOTH), versions=(), errors=("VDIR-ENS",)),
]
