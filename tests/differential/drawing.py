"""Random repositories: a model that loads, and a few changes anywhere in its configuration, text and files."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import hypothesis
from google.protobuf import text_format
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import strategies as st
from tritonclient.grpc import model_config_pb2 as proto

from tests.differential.case import Case
from tests.differential.texts import BATCHED, PLAIN, X, Y

Draw = Callable[[st.SearchStrategy[Any]], Any]

# Stands for the name of the model, until the repository has a number.
NAME = "m0del"
SEQUENCE = "sequence_batching { control_input { name: 'c' control { int32_false_true: [ 0, 1 ] } } }"
STATE = (
    "sequence_batching { oldest { max_candidate_sequences: 4 } state { input_name: 'i' output_name: 'o' "
    "data_type: TYPE_FP32 dims: 4 initial_state { name: 's' data_type: TYPE_FP32 dims: 4 zero_data: true } } }"
)
PRIORITIES = (
    "dynamic_batching { preferred_batch_size: [ 2, 4 ] priority_levels: 3 default_priority_level: 2 "
    "priority_queue_policy { key: 1 value { max_queue_size: 3 } } }"
)
WARM = (
    "model_warmup { name: 'w' batch_size: 1 inputs { key: 'x' value { data_type: TYPE_FP32 dims: 4 zero_data: true } } "
    "inputs { key: 'z' value { data_type: TYPE_FP32 dims: 4 input_data_file: 'data' } } }"
)
BATCH_IO = (
    "batch_input { target_name: 'n' data_type: TYPE_INT32 source_input: 'x' } "
    "batch_output { target_name: 'y' source_input: 'x' }"
)
Z = "input { name: 'z' data_type: TYPE_FP32 dims: 4 }"
STEPS = (
    f"step {{ model_name: '{NAME}_a' model_version: -1 input_map {{ key: 'x' value: 'x' }} "
    f"output_map {{ key: 'y' value: 'between' }} }} "
    f"step {{ model_name: '{NAME}_b' model_version: -1 input_map {{ key: 'x' value: 'between' }} "
    f"output_map {{ key: 'y' value: 'y' }} }}"
)
ENSEMBLE = f"platform: 'ensemble' {X} {Y} ensemble_scheduling {{ {STEPS} }}"
BASES = (
    PLAIN,
    BATCHED,
    BATCHED + PRIORITIES,
    BATCHED + SEQUENCE,
    BATCHED + STATE,
    BATCHED + Z + WARM,
    BATCHED + BATCH_IO,
    PLAIN
    + "input { name: 'z' data_type: TYPE_INT8 dims: [ 3, -1, 2 ] format: FORMAT_NCHW reshape { shape: [ -1, 6 ] } }",
    PLAIN + "instance_group { kind: KIND_CPU count: 2 } instance_group { kind: KIND_MODEL }",
    PLAIN + "version_policy { specific { versions: [ 1, 2 ] } }",
    PLAIN + "output { name: 'z' data_type: TYPE_STRING dims: 4 label_filename: 'labels.txt' }",
    f"platform: 'tensorrt_plan' max_batch_size: 4 {X} {Y} instance_group {{ kind: KIND_CPU profile: '0' }}",
    f"backend: 'onnxruntime' max_batch_size: 4 {X} {Y} dynamic_batching {{ }}",
    BATCHED + "response_cache { enable: true } model_transaction_policy { decoupled: false }",
    ENSEMBLE,
    f"max_batch_size: 8 {ENSEMBLE}",
)
FILES: Mapping[str, bytes | str] = {"labels.txt": "a\nb\n", "warmup/data": b"\0" * 16, "initial_state/data": b"\0" * 16}
NUMBERS = (0, 1, 2, 3, 4, 5, 8, 9, -1, -2, 100)
# The numbers at the ends of each type, which fields without values of their own have now and then.
ENDS: Mapping[int, tuple[float, ...]] = {
    FieldDescriptor.CPPTYPE_INT32: ((1 << 31) - 1, -(1 << 31)),
    FieldDescriptor.CPPTYPE_INT64: ((1 << 63) - 1, -(1 << 63), 1 << 62, 1 << 32),
    FieldDescriptor.CPPTYPE_UINT32: ((1 << 32) - 1, 1 << 31),
    FieldDescriptor.CPPTYPE_UINT64: ((1 << 64) - 1, 1 << 63),
    FieldDescriptor.CPPTYPE_FLOAT: (float("inf"), float("-inf"), float("nan"), -0.0),
    FieldDescriptor.CPPTYPE_DOUBLE: (float("inf"), float("nan")),
}
NAMES = ("x", "y", "z", "n", "c", "i", "o", "between", "", "0", "-1", "1", "other", "w")
# Values of fields that have others of their own. The server dies of a very large number of instances, or of data.
VALUES: Mapping[str, tuple[Any, ...]] = {
    "name": NAMES,
    "ModelConfig.name": (NAME, NAME, "", "other", NAME.upper()),
    "ModelConfig.platform": ("", "ensemble", "onnxruntime_onnx", "tensorrt_plan", "pytorch_libtorch", "other"),
    "ModelConfig.backend": ("light", "", "onnxruntime", "tensorrt", "pytorch", "openvino", "tensorflow", "other"),
    "ModelConfig.runtime": ("", "libtriton_light.so", "libtriton_other.so"),
    "ModelConfig.max_batch_size": (0, 1, 2, 4, 8, 9, 64, -1),
    "ModelConfig.default_model_filename": ("", "model.bin", "model.onnx"),
    "count": (0, 1, 2, 3, -1),
    "Resource.count": (0, 1, 2),
    "label_filename": ("", "labels.txt", "other.txt"),
    "input_data_file": ("", "data", "other"),
    "data_file": ("", "data", "other"),
    "num_versions": (0, 1, 2, 4294967295),
    "versions": (1, 2, 3, 0, -1),
    "max_candidate_sequences": (0, 1, 4, -1),
    "priority_levels": (0, 1, 2, 5),
    "batch_size": (0, 1, 2, 8),
    "model_name": (f"{NAME}_a", f"{NAME}_b", f"{NAME}", "other", ""),
    "model_version": (-1, 1, 0, 2, -2),
    "gpus": (0, 1, -1),
    "Input.dims": NUMBERS,  # of warm-up
    "InitialState.dims": NUMBERS,
    "minimum_slot_utilization": (0.0, 0.5, 1.0, 1.5, -0.5, float("nan")),
    "family": ("nv_inference_first_response_histogram_ms", "other", ""),
}
VERSIONS = (
    ("1",),
    ("1", "2"),
    ("2", "10"),
    (),
    ("0",),
    ("01",),
    ("1", "01"),
    ("x",),
    ("1", "x", "3.tmp"),
    ("-1",),
    (" 1",),
)
# Changes of the text, each at a place of its own.
REPLACED = (
    (":", ""),
    (":", " :"),
    (": ", " = "),
    ("{", "<"),
    ("}", ">"),
    ("}", ""),
    ("}", "},"),
    ("}", "};"),
    ("{", "{ {"),
    ('"', "'"),
    ('"', ""),
    ('"', '\\"'),
    ("_", ""),
    ("TYPE_", ""),
    ("TYPE_FP32", "TYPE_BYTES"),
    ("TYPE_FP32", '"TYPE_FP32"'),
    ("TYPE_FP32", "11"),
    ("KIND_", "kind_"),
    ("true", "True"),
    ("true", "1"),
    ("true", '"true"'),
    ("1", "1.0"),
    ("1", '"1"'),
    ("4", "0x4"),
    ("4", "04"),
    ("8", "08"),
    ("8", "+8"),
    ("4", "- 4"),
    ("4", "99999999999"),
    ("4", "99999999999999999999"),
    ("\n", "\r\n"),
    ("\n", " # "),
    ("\n", " // x\n"),
    ("\n", "\nunknown: 1\n"),
    ("\n", ",\n"),
    ("\n", "\x00"),
    ("\n", ""),
    (" ", "\u00a0"),
    (" ", "\f"),
    ("x", "ä"),
    ("x", "\\q"),
    ("x", "\\x78"),
    ("x", "\udcff"),
)


@st.composite
def repositories(draw: Draw) -> Case:
    """Draw a repository of one model, or an ensemble with its members; ``NAME`` stands for the model's name."""
    base = draw(st.sampled_from(BASES))
    members = {}
    if "ensemble" in base:
        batch = draw(st.sampled_from((base.count("max_batch_size") * "max_batch_size: 8", "", "max_batch_size: 4")))
        members = {
            f"{NAME}_{letter}": _drawn(draw, f"{NAME}_{letter}", PLAIN + batch, draw(st.sampled_from((0, 0, 0, 1))))
            for letter in "ab"
        }
    changes = draw(st.sampled_from((0, 1, 1, 1, 2, 2, 3)))
    return replace(_drawn(draw, NAME, base, changes), others=members)


def _drawn(draw: Draw, name: str, base: str, changes: int) -> Case:
    """Draw a model: a text that loads, with so many changes."""
    message = text_format.Parse(base, proto.ModelConfig())
    wanted = [draw(st.sampled_from(("field", "field", "way", "way", "text", "versions"))) for _ in range(changes)]
    for _ in range(wanted.count("field")):
        _change(draw, message, 0)
    for _ in range(wanted.count("way")):
        reach(draw, message, draw(st.sampled_from(ways())))
    text = text_format.MessageToString(message)
    for _ in range(wanted.count("text")):
        text = _written_otherwise(draw, text)
    policy = ("1", "2") if "specific" in base else ("1",)
    versions = draw(st.sampled_from(VERSIONS)) if "versions" in wanted else policy
    return Case(name, text, FILES, versions)


@cache
def ways(descriptor: Any = proto.ModelConfig.DESCRIPTOR) -> tuple[tuple[Any, ...], ...]:
    """Return the way to each field at any depth: the fields that it lies in, and itself."""
    found = []
    for field in descriptor.fields:
        found.append((field,))
        found += [(field, *way) for way in ways(field.message_type)] if field.message_type else []
    return tuple(found)


def reach(draw: Draw, message: Any, way: tuple[Any, ...]) -> None:
    """Set the field at the end of a way, and the messages around it."""
    field, *inner = way
    kept = getattr(message, field.name)
    if _is_map(field):
        entry = field.message_type.fields_by_name
        key = draw(st.sampled_from(_keys(entry["key"])))
        if entry["value"].message_type is None:
            kept[key] = _value(draw, entry["value"])
        elif inner[1:]:
            reach(draw, kept[key], tuple(inner[1:]))
        else:
            kept[key].SetInParent()
    elif field.message_type is None and field.is_repeated:
        kept.append(_value(draw, field))
    elif field.message_type is None:
        setattr(message, field.name, _value(draw, field))
    else:
        if field.is_repeated:
            kept = kept[-1] if kept and draw(st.booleans()) else kept.add()
        kept.SetInParent()
        if inner:
            reach(draw, kept, tuple(inner))


def _is_map(field: Any) -> bool:
    return bool(field.message_type and field.message_type.GetOptions().map_entry)


def _keys(field: Any) -> tuple[Any, ...]:
    return NAMES if field.cpp_type == FieldDescriptor.CPPTYPE_STRING else (0, 1, 2, 3, 9)


def _change(draw: Draw, message: Any, depth: int) -> None:
    """Change a field of a message, or of one inside it: set, add, remove or repeat it."""
    if not message.DESCRIPTOR.fields:
        return
    given = [field for field, _ in message.ListFields()]
    field = draw(st.sampled_from([*message.DESCRIPTOR.fields, *given, *given, *given]))
    if _is_map(field):
        _change_map(draw, getattr(message, field.name), field)
    elif field.is_repeated:
        _change_list(draw, getattr(message, field.name), field, depth)
    elif field.message_type:
        inner = getattr(message, field.name)
        what = draw(st.sampled_from(("change", "change", "clear", "empty")))
        if what == "clear":
            message.ClearField(field.name)
        elif what == "empty":
            inner.Clear()
            inner.SetInParent()
        else:
            inner.SetInParent()
            _change(draw, inner, depth + 1)
    elif draw(st.sampled_from((False, False, True))):
        message.ClearField(field.name)
    else:
        setattr(message, field.name, _value(draw, field))


def _change_list(draw: Draw, values: Any, field: Any, depth: int) -> None:
    what = draw(st.sampled_from(("change", "change", "add", "remove", "repeat", "clear")))
    if what == "clear":
        del values[:]
    elif what == "remove" and values:
        del values[draw(st.integers(0, len(values) - 1))]
    elif what == "repeat" and values:
        values.append(values[draw(st.integers(0, len(values) - 1))])
    elif field.message_type:
        chosen = values.add() if what == "add" or not values else values[draw(st.integers(0, len(values) - 1))]
        for _ in range(3 if what == "add" else 1):
            _change(draw, chosen, depth + 1)
    elif what == "change" and values:
        values[draw(st.integers(0, len(values) - 1))] = _value(draw, field)
    else:
        values.append(_value(draw, field))


def _change_map(draw: Draw, values: Any, field: Any) -> None:
    """Set or remove an entry."""
    entry = field.message_type.fields_by_name
    keys = sorted(values)
    if keys and draw(st.booleans()):
        key = draw(st.sampled_from(keys))
        if draw(st.booleans()):
            del values[key]
            return
    else:
        key = draw(st.sampled_from(_keys(entry["key"])))
    if entry["value"].message_type:
        _change(draw, values[key], 1)
    else:
        values[key] = _value(draw, entry["value"])


def _value(draw: Draw, field: Any) -> Any:
    """Draw a value of a field: one of its own, or one that its type has."""
    own = VALUES.get(f"{field.containing_type.name}.{field.name}") or VALUES.get(field.name)
    if field.enum_type:
        known = [value.number for value in field.enum_type.values]
        return draw(st.sampled_from([*known, *known, *known, 99]))
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return draw(st.booleans())
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return draw(st.sampled_from(own or NAMES))
    if own is None and draw(st.sampled_from((False, False, True))):
        return draw(st.sampled_from(ENDS[field.cpp_type]))
    unsigned = field.cpp_type in (FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64)
    return draw(st.sampled_from([each for each in own or NUMBERS if not (unsigned and each < 0)]))


def _written_otherwise(draw: Draw, text: str) -> str:
    """Change the text at one place."""
    replaced: tuple[str, str] = draw(st.sampled_from(REPLACED))
    old, new = replaced
    places = text.count(old)
    if not places:
        return text
    before = draw(st.integers(0, places - 1))
    parts = text.split(old)
    return old.join(parts[: before + 1]) + new + old.join(parts[before + 1 :])


def drawn(seed: int, count: int) -> list[Case]:
    """Return so many random repositories, always the same for a seed; their models are called after both."""
    found: list[Case] = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(repositories())
    def draw(case: Case) -> None:
        found.append(case)

    draw()
    return [named(case, f"s{seed}_{number}") for number, case in enumerate(found[:count])]


def named(case: Case, name: str) -> Case:
    """Return a drawn repository with a name for its model."""
    return replace(
        case,
        name=case.name.replace(NAME, name),
        config=case.config and case.config.replace(NAME, name),
        others={each.replace(NAME, name): named(other, name) for each, other in case.others.items()},
    )
