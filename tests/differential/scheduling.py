"""Random models about what schedules requests: batching, sequences, warm-up, labels and ensembles; right and wrong."""

import struct
from collections.abc import Sequence
from random import Random
from typing import TypeAlias, TypeVar

from tests.differential.case import Case
from tests.differential.verdicts import LIGHT

T = TypeVar("T")

TYPES = ("TYPE_FP32", "TYPE_FP32", "TYPE_INT64", "TYPE_STRING", "TYPE_BOOL", "TYPE_BF16")
FLAGS = ("CONTROL_SEQUENCE_START", "CONTROL_SEQUENCE_END", "CONTROL_SEQUENCE_READY")
IDS = ("TYPE_UINT64", "TYPE_INT64", "TYPE_UINT32", "TYPE_INT32", "TYPE_STRING", "TYPE_FP32", "TYPE_INVALID")
# Inputs or outputs: names, types and dims.
Tensors: TypeAlias = list[tuple[str, str, list[int]]]
LISTS = ("int32_false_true", "fp32_false_true", "bool_false_true")
FILES = {
    "a": b"\0" * 12,
    "short": b"\0" * 3,
    "long": b"\0" * 1000,
    "empty": b"",
    "words": struct.pack("<I2sI1sI0s", 2, b"ab", 1, b"c", 0, b""),
    "cut": struct.pack("<I2sI", 2, b"ab", 9),
}
NAMES = ("a", "short", "long", "empty", "words", "cut", "none", "/a", "../here")


class Draw:
    """Draws of values, and of texts with them."""

    def __init__(self, random: Random) -> None:
        self.random = random

    def one(self, values: Sequence[T]) -> T:
        """Return one of some values."""
        return self.random.choice(values)

    def chance(self, share: float) -> bool:
        """Return whether something happens."""
        return self.random.random() < share

    def maybe(self, share: float, text: str) -> str:
        """Return a text, or nothing."""
        return f"{text} " if self.chance(share) else ""

    def some(self, most: int, values: Sequence[int]) -> str:
        """Return a list of numbers."""
        return f"[ {', '.join(str(self.one(values)) for _ in range(self.random.randint(0, most)))} ]"

    def dims(self, wrong: float = 0.05) -> list[int]:
        """Return dimensions."""
        sizes = [self.one((1, 2, 3, 3, -1)) for _ in range(self.one((1, 1, 1, 2)))]
        return [self.one((0, -2)) if self.chance(wrong) else size for size in sizes]


def tensor(draw: Draw, name: str, more: str = "", data_type: str = "", dims: Sequence[int] | None = None) -> str:
    """Return an input or output."""
    data_type = data_type or draw.one(TYPES)
    return f'{{ name: "{name}" data_type: {data_type} dims: {list(draw.dims(0) if dims is None else dims)} {more}}}'


def policy(draw: Draw) -> str:
    """Return a queue policy."""
    text = draw.maybe(0.5, f"timeout_action: {draw.one(('REJECT', 'DELAY'))}")
    text += draw.maybe(0.5, f"default_timeout_microseconds: {draw.one((0, 5))}")
    return "{ " + text + draw.maybe(0.3, "max_queue_size: 2") + draw.maybe(0.3, "allow_timeout_override: true") + "}"


def dynamic(draw: Draw) -> str:
    """Return dynamic batching."""
    text = draw.maybe(0.4, f"preferred_batch_size: {draw.some(2, (1, 2, 4, 4, 5, 0, -1))}")
    text += draw.maybe(0.3, f"preserve_ordering: {draw.one(('true', 'false'))}")
    text += draw.maybe(0.4, f"priority_levels: {draw.one((0, 1, 1, 2, 5, 1 << 40))}")
    text += draw.maybe(0.5, f"default_priority_level: {draw.one((0, 1, 1, 2, 6))}")
    text += draw.maybe(0.3, f"default_queue_policy {policy(draw)}")
    for _ in range(draw.one((0, 0, 1, 2))):
        text += f"priority_queue_policy {{ key: {draw.one((0, 1, 1, 2, 6))} value {policy(draw)} }} "
    return f"dynamic_batching {{ {text}}} "


def control(draw: Draw) -> str:
    """Return one control."""
    if draw.chance(0.25):
        text = "kind: CONTROL_SEQUENCE_CORRID " + draw.maybe(0.9, f"data_type: {draw.one(IDS)}")
        return "{ " + text + draw.maybe(0.05, "int32_false_true: [ 0, 1 ]") + "}"
    text = draw.maybe(0.9, f"kind: {draw.one((*FLAGS, '77'))}") + draw.maybe(0.1, "data_type: TYPE_FP32")
    lists = [draw.one(LISTS)] if draw.chance(0.9) else [name for name in LISTS if draw.chance(0.4)]
    for name in lists:
        count = 2 if draw.chance(0.9) else draw.one((0, 1, 3))
        values = ("false", "true") if name.startswith("bool") else ("0", "1")
        text += f"{name}: [ {', '.join(draw.one(values) for _ in range(count))} ] "
    return "{ " + text + "}"


def state(draw: Draw, number: int) -> str:
    """Return one implicit state."""
    data_type, dims = draw.one(TYPES), draw.dims()
    text = draw.maybe(0.95, f'input_name: "i{draw.one((0, number, number))}"') + draw.maybe(
        0.9, f'output_name: "o{number}"'
    )
    text += draw.maybe(0.95, f"data_type: {data_type}") + f"dims: {dims} "
    text += draw.maybe(0.1, "use_same_buffer_for_input_output: true") + draw.maybe(0.1, "use_growable_memory: true")
    for _ in range(draw.one((0, 1, 1, 1, 1, 1, 1, 2) if draw.chance(0.6) else (0,))):
        own = [size if size != -1 or draw.chance(0.03) else 3 for size in dims]
        own = draw.dims() if draw.chance(0.05) else own
        data = draw.one(("zero_data: true", "zero_data: false", "zero_data: true", f'data_file: "{draw.one(NAMES)}"'))
        first = draw.maybe(0.95, 'name: "first"') + draw.maybe(0.97, f"data_type: {data_type}") + f"dims: {own} "
        text += f"initial_state {{ {first}{draw.maybe(0.97, data)}}} "
    return "{ " + text + "}"


def sequences(draw: Draw) -> str:
    """Return sequence batching."""
    text = ""
    for number in range(draw.one((0, 1, 2, 2, 3))):
        name = draw.maybe(0.97, f'name: "c{draw.one((number, number, number, 0))}"')
        controls = ", ".join(control(draw) for _ in range(draw.one((0, 1, 1, 2))))
        text += f"control_input {{ {name} control [ {controls} ] }} "
    if draw.chance(0.4):
        text += f"oldest {{ {draw.maybe(0.5, f'preferred_batch_size: {draw.some(2, (1, 2, 4, 4, 5, 0))}')}"
        text += draw.maybe(0.5, f"max_candidate_sequences: {draw.one((0, 1, 7, -1))}") + "} "
    elif draw.chance(0.5):
        share = draw.one(("0", "0.5", "1", "1.5", "-0.1", "nan", "1.0000001", "-0.0"))
        text += f"direct {{ {draw.maybe(0.7, f'minimum_slot_utilization: {share}')}}} "
    for number in range(draw.one((0, 0, 1, 2))):
        text += f"state {state(draw, number)} "
    text += draw.maybe(0.2, "iterative_sequence: true") + draw.maybe(0.2, "max_sequence_idle_microseconds: 0")
    return f"sequence_batching {{ {text}}} "


def warmup(draw: Draw, inputs: Sequence[tuple[str, str, Sequence[int]]]) -> str:
    """Return a warm-up request for some inputs, which are names, types and dims."""
    text = draw.maybe(0.9, 'name: "w"') + draw.maybe(0.95, f"batch_size: {draw.one((0, 1, 1, 1, 2, 9))}")
    text += draw.maybe(0.2, f"count: {draw.one((0, 2))}")
    given = [each for each in inputs if draw.chance(0.95)]
    if draw.chance(0.2):
        given.append(("c0", draw.one(TYPES), draw.dims()))
    for name, data_type, dims in given:
        own = [draw.one((1, 3, 2, 0, -1 if draw.chance(0.1) else 3)) if size == -1 else size for size in dims]
        own = draw.dims() if draw.chance(0.05) else own
        kind = draw.one(TYPES) if draw.chance(0.05) else data_type
        data = draw.one(("zero_data: true", "random_data: true", f'input_data_file: "{draw.one(NAMES)}"'))
        value = draw.maybe(0.97, f"data_type: {kind}") + f"dims: {own} " + draw.maybe(0.97, data)
        text += f'inputs {{ key: "{name}" value {{ {value}}} }} '
    return f"model_warmup {{ {text}}} "


def scheduled(random: Random, name: str) -> Case:
    """Return a model with batching, sequences, warm-up or labels."""
    draw = Draw(random)
    inputs = [(f"x{number}", draw.one(TYPES), draw.dims(0)) for number in range(draw.one((1, 1, 2, 3)))]
    written = [
        tensor(draw, own, draw.maybe(0.15, "optional: true"), data_type, dims) for own, data_type, dims in inputs
    ]
    labels = draw.one(("labels.txt", "none.txt", "labels/l.txt", "/labels.txt", "../here/labels.txt", "1/labels.txt"))
    outputs = [
        tensor(draw, draw.one((f"y{number}", "y0", f"y{number}")), draw.maybe(0.2, f'label_filename: "{labels}"'))
        for number in range(draw.one((1, 1, 2)))
    ]
    text = f'backend: "{LIGHT}" ' + draw.maybe(0.8, f"max_batch_size: {draw.one((0, 4, 4, 4, 1))}")
    text += f"input [ {', '.join(written)} ] output [ {', '.join(outputs)} ] "
    text += draw.one((dynamic(draw), sequences(draw), ""))
    for _ in range(draw.one((0, 0, 0, 1, 2))):
        text += warmup(draw, inputs)
    text += draw.maybe(0.1, f"instance_group {{ kind: KIND_CPU passive: {draw.one(('true', 'false'))} }}")
    text += draw.maybe(0.1, f"model_transaction_policy {{ decoupled: {draw.one(('true', 'false'))} }}")
    text += draw.maybe(0.03, 'parameters { key: "TRITON_BATCH_STRATEGY_PATH" value { string_value: "/no/such.so" } }')
    files: dict[str, bytes | str] = {
        f"{folder}/{own}": FILES[own] for own in FILES for folder in ("warmup", "initial_state")
    }
    files |= {"labels.txt": "a\nb\n", "labels/l.txt": "a"} if draw.chance(0.9) else {}
    return Case(name, text, files)


def ensemble(random: Random, name: str) -> Case:
    """Return an ensemble, with the models that it needs beside it."""
    draw = Draw(random)
    members: dict[str, Case] = {}
    shapes: dict[str, tuple[Tensors, Tensors]] = {}
    data_type, dims = draw.one(TYPES), draw.dims(0)
    for number in range(draw.one((1, 2, 2, 3))):
        own = f"{name}_m{number}"
        given = [(f"x{each}", data_type, list(dims)) for each in range(draw.one((1, 1, 2)))]
        made = [(f"y{each}", data_type, list(dims)) for each in range(draw.one((1, 1, 2)))]
        given, made = (
            [
                (each, draw.one(TYPES) if draw.chance(0.04) else kind, draw.dims(0) if draw.chance(0.1) else sizes)
                for each, kind, sizes in tensors
            ]
            for tensors in (given, made)
        )
        shapes[own] = (given, made)
        members[own] = member(draw, own, given, made)
    config = _ensemble_text(draw, name, shapes, data_type, dims)
    if draw.chance(0.15):  # an ensemble of it
        outer = f"{name}_outer"
        step = f'model_name: "{name}" model_version: -1 '
        step += 'input_map { key: "A" value: "A" } output_map { key: "B" value: "B" }'
        text = f'platform: "ensemble" max_batch_size: {draw.one((0, 4))} '
        text += f"input [ {tensor(draw, 'A', '', data_type, dims)} ] "
        text += f"output [ {tensor(draw, 'B', '', data_type, dims)} ] ensemble_scheduling {{ step {{ {step} }} }} "
        members[outer] = Case(outer, text + draw.maybe(0.1, "response_cache { enable: true }"))
        if draw.chance(0.2):
            config = config.replace(f'"{name}_m0"', f'"{outer}"')
    return Case(name, config, versions=() if draw.chance(0.03) else ("1",), others=members)


def member(draw: Draw, name: str, given: Tensors, made: Tensors) -> Case:
    """Return a model of an ensemble."""
    inputs = [tensor(draw, own, draw.maybe(0.1, "optional: true"), kind, dims) for own, kind, dims in given]
    outputs = [tensor(draw, own, draw.maybe(0.02, 'label_filename: "n"'), kind, dims) for own, kind, dims in made]
    if draw.chance(0.03):
        outputs *= 2
    text = f'backend: "{LIGHT}" max_batch_size: {draw.one((0, 4, 4, 8, 2) if draw.chance(0.2) else (4,))} '
    text += f"input [ {', '.join(inputs)} ] output [ {', '.join(outputs)} ] "
    text += draw.maybe(0.2, "model_transaction_policy { decoupled: true }")
    text += draw.maybe(
        0.1, f"version_policy {{ {draw.one(('all {}', 'specific { versions: 1 }', 'latest { num_versions: 2 }'))} }}"
    )
    return Case(name, text, versions=draw.one((("1",), ("1",), ("1", "3"), ("2",))))


def _ensemble_text(
    draw: Draw,
    name: str,
    shapes: dict[str, tuple[Tensors, Tensors]],
    data_type: str,
    dims: list[int],
) -> str:
    """Return the configuration of an ensemble: from A, in steps that take what there is, to B."""
    ready, steps = ["A", *(["A2"] if draw.chance(0.3) else [])], []
    taken, count = list(ready), 0
    for number, (own, (given, made)) in enumerate(shapes.items()):
        asked = draw.one(("-1", "-1", "-1", "-1", "1", "0", "3", "-2")) if draw.chance(0.3) else "-1"
        text = draw.maybe(0.98, f'model_name: "{own if draw.chance(0.98) else "nobody"}"')
        text += draw.maybe(0.97, f"model_version: {asked}")
        unused = [each for each in ready if each not in taken] or ready
        for key, _, _ in given:
            value = draw.one(ready if draw.chance(0.3) else unused)
            value = "Z" if draw.chance(0.02) else "B" if draw.chance(0.02) else value
            taken.append(value)
            text += draw.maybe(0.98, f'input_map {{ key: "{key if draw.chance(0.98) else "no"}" value: "{value}" }}')
        for position, (key, _, _) in enumerate(made):
            last = number == len(shapes) - 1 and position == 0
            value = "B" if last else draw.one((f"t{count}", "A")) if draw.chance(0.04) else f"t{count}"
            count += 1
            if draw.chance(0.85 if last or position == 0 else 0.6):
                ready.append(value)
                text += f'output_map {{ key: "{key if draw.chance(0.98) else "no"}" value: "{value}" }} '
        steps.append(f"{{ {text}}}")
    if draw.chance(0.1):
        draw.random.shuffle(steps)
    if draw.chance(0.02):
        steps = []
    outputs = ["B", *(each for each in ready if each.startswith("t") and (each not in taken or draw.chance(0.05)))]
    kinds = (data_type, data_type, data_type, draw.one(TYPES))
    reshape = draw.maybe(0.1, f"reshape {{ shape: [ 1, {dims[0]} ] }}") if len(dims) == 1 else ""
    text = draw.maybe(0.98, 'platform: "ensemble"') + f"max_batch_size: {draw.one((4, 4, 4, 4, 0, 5))} "
    inputs = [tensor(draw, own, reshape, draw.one(kinds), dims) for own in ready if own in ("A", "A2")]
    results = [tensor(draw, own, "", data_type if draw.chance(0.95) else draw.one(kinds), dims) for own in outputs]
    text += f"input [ {', '.join(dict.fromkeys(inputs))} ] output [ {', '.join(results)} ] "
    text += f"ensemble_scheduling {{ step [ {', '.join(steps)} ] }} "
    text += draw.maybe(0.02, "optimization { }") + draw.maybe(0.02, "instance_group { kind: KIND_CPU }")
    text += draw.maybe(0.02, f'backend: "{LIGHT}"') + draw.maybe(0.02, 'default_model_filename: "model.onnx"')
    text += draw.maybe(0.02, 'model_warmup { name: "w" }') + draw.maybe(0.02, f'default_model_filename: "{name}"')
    return text + draw.maybe(0.1, "response_cache { enable: true }")


def schedulers(seed: int, count: int) -> list[Case]:
    """Return so many models, of which every fourth is an ensemble, always the same for a seed."""
    random = Random(seed)
    made = (scheduled, scheduled, scheduled, ensemble)
    return [made[number % len(made)](random, f"q{seed}_{number}") for number in range(count)]
