"""Checks of the core that are found in its source, and that no configuration of others runs into."""

from tests.differential.case import Case
from tests.differential.texts import BATCHED, LIGHT, PLAIN, X, Y, cases

PLAN = 'platform: "tensorrt_plan" instance_group { kind: KIND_CPU }\n'
GIVEN = "data_type: TYPE_INT32 dims: 4 zero_data: true"
ZEROS = f"model_warmup {{ name: 'w' batch_size: 1 inputs {{ key: 'x' value {{ {GIVEN} }} }} }}"
LARGEST = (1 << 31) - 1


def _shape(dims: str) -> str:
    return f'input {{ name: "x" data_type: TYPE_INT32 dims: {dims} is_shape_tensor: true }} {Y}{ZEROS}'


CASES = [
    *cases(
        "shape_tensor",
        PLAN,
        [
            ("without_batch", _shape("4"), ""),
            ("with_batch", f"max_batch_size: 4 {_shape('4')}", "WARM-INPUT"),
            ("with_batch_as_dimension", f"max_batch_size: 4 {_shape('[ 1, 4 ]')}", ""),
        ],
    ),
    *cases(
        "slots",
        PLAIN,
        [
            ("many", "max_batch_size: 100000 sequence_batching { direct { } }", ""),
            ("of_oldest", "max_batch_size: 1 sequence_batching { oldest { max_candidate_sequences: 100000 } }", ""),
            ("none", f"max_batch_size: {LARGEST} dynamic_batching {{ }}", ""),
        ],
    ),
    Case(
        "slots_of_batch", f"{PLAIN}max_batch_size: {LARGEST} sequence_batching {{ }}", errors=("SEQ-SLOTS",), alone=True
    ),
    Case(
        "slots_of_oldest_too_many",
        f"{BATCHED}sequence_batching {{ oldest {{ max_candidate_sequences: {LARGEST} }} }}",
        errors=("SEQ-SLOTS",),
        alone=True,
    ),
    Case(
        "warm_many",
        f"{PLAIN}max_batch_size: {LARGEST} model_warmup {{ name: 'w' batch_size: 4294967295 }}",
        errors=("WARM-MANY", "WARM-INPUT"),
        alone=True,
    ),
    Case("instances_many", f"{PLAIN}instance_group {{ count: {LARGEST} }}", errors=("IG-MANY",), alone=True),
    Case("priorities_many", f"{BATCHED}dynamic_batching {{ priority_levels: {1 << 63} default_priority_level: 1 }}"),
    Case("elements_uncounted", f'{LIGHT}input {{ name: "x" data_type: TYPE_FP32 dims: [ {1 << 62}, 4 ] }}{Y}'),
    Case("no_version_but_twice", f"{PLAIN}version_policy {{ specific {{ versions: [ 7, 7 ] }} }}", versions=()),
    Case("no_config.light", None, errors=("CONFIG-NONE",)),
    Case("empty_config.light", ""),
    Case("no_backend_by_name.", None, errors=("ROOT",)),
    Case("no_backend_by_name_and_config.", X + Y, errors=("PLAT",)),
    Case("two_dots.x.light", X + Y, errors=("BACKEND",)),
    Case("runtime_no_backend", f'{PLAIN}runtime: "x.so"', {"x.so": b"\x7fELF" + bytes(400)}, errors=("BACKEND",)),
    Case("runtime_folder", f'{PLAIN}runtime: "."', errors=("BACKEND",)),
    Case("runtime_above", f'{PLAIN}runtime: "../libtriton_light.so"', errors=("BACKEND",)),
    Case("runtime_and_back", f'{PLAIN}runtime: "../runtime_and_back/libtriton_light.so"'),
    *cases(
        "namespace",
        "",
        [
            (
                "of_a_step",
                f"platform: 'ensemble' {X}{Y} ensemble_scheduling {{ step {{ model_name: 'namespace_member' "
                "model_version: -1 model_namespace: 'other' input_map { key: 'x' value: 'x' } "
                "output_map { key: 'y' value: 'y' } } }",
                "",
            ),
            ("member", PLAIN, ""),
        ],
    ),
]
