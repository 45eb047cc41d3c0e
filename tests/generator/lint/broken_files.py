"""Models of every format with one file that is broken at random: cut off, changed in bytes, or in its fields."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import Message

from tests.generator.lint.models import FLOAT, INT64, lay, onnx_bytes
from tests.generator.lint.mutations import mutated
from tests.generator.lint.test_backends import CODE, CPU, GPU, IR, ONE, OV, PT, PY, TRT, plan

ORT = TRT.replace("tensorrt", "onnxruntime")
LABELS = ORT.replace("dims: 5", 'dims: 5 label_filename: "labels.txt"')
WARM = ORT + (
    'model_warmup { name: "w" batch_size: 1 inputs { key: "x" value { data_type: TYPE_FP32 dims: 4 '
    'input_data_file: "x" } } }'
)
STRINGS = (
    WARM.replace("TYPE_FP32 dims: 4", "TYPE_STRING dims: 4")
    .replace("onnxruntime", "other")
    .replace("max_batch_size: 8", "max_batch_size: 1")
)
WORDS = b"".join(len(word).to_bytes(4, "little") + word for word in (b"a", b"", b"three", b"x" * 300))


def _external() -> bytes:
    tensor = onnx.helper.make_tensor("w", FLOAT, [4, 5], bytes(80), raw=True)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": "weights.bin", "offset": "0", "length": "80"}.items():
        tensor.external_data.add(key=key, value=value)
    return onnx_bytes(initializers=[tensor])


def _shapes() -> bytes:
    """Return a model whose shapes are computed, within branches too: what shape inference follows."""
    helper, tensor = onnx.helper, onnx.helper.make_tensor
    branch = helper.make_graph(
        [helper.make_node("Range", ["zero", "two", "one"], ["r"])],
        "branch",
        [],
        [helper.make_tensor_value_info("r", INT64, [None])],
    )
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Slice", ["s", "starts", "ends"], ["n"]),
        helper.make_node("If", ["yes"], ["twice"], then_branch=branch, else_branch=branch),
        helper.make_node("Concat", ["n", "five"], ["shape"], axis=0),
        helper.make_node("Expand", ["half", "shape"], ["y"]),
        helper.make_node("ConstantOfShape", ["twice"], ["z"], value=tensor("v", FLOAT, [1], [1.0])),
        helper.make_node("Reshape", ["z", "minus"], ["flat"]),
        helper.make_node("Conv", ["flat", "half"], ["c"], kernel_shape=[1], pads=[0, 0], strides=[1]),
    ]
    ints = {"zero": 0, "one": 1, "two": 2}
    lists = {"starts": [0], "ends": [1], "five": [5], "minus": [1, 1, -1]}
    weights = [
        *(tensor(name, INT64, [], [value]) for name, value in ints.items()),
        *(tensor(name, INT64, [len(value)], value) for name, value in lists.items()),
        tensor("half", FLOAT, [1, 1, 1], [0.5]),
        tensor("yes", onnx.TensorProto.BOOL, [], [True]),
    ]
    return onnx_bytes(nodes=nodes, initializers=weights)


@dataclass(frozen=True)
class Seed:
    """A model without a fault: its configuration and its files; one of those of ``breakable`` is broken."""

    config: str
    files: Mapping[str, bytes]
    breakable: tuple[str, ...]
    needs_all: bool = field(default=True)  # whether a file that is cut off is always noticed


SEEDS = {
    "onnx": Seed(ORT, {"1/model.onnx": onnx_bytes()}, ("1/model.onnx",)),
    "shapes": Seed(ORT, {"1/model.onnx": _shapes()}, ("1/model.onnx",)),
    "external": Seed(ORT, {"1/model.onnx": _external(), "1/weights.bin": bytes(80)}, ("1/model.onnx", "1/weights.bin")),
    "plan": Seed(TRT + GPU, {"1/model.plan": plan(11, 2, 1, 3)}, ("1/model.plan",), needs_all=False),
    "torchscript": Seed(PT, {"1/model.pt": ONE}, ("1/model.pt",)),
    "openvino": Seed(OV + CPU, {"1/model.xml": IR.encode(), "1/model.bin": bytes(80)}, ("1/model.xml", "1/model.bin")),
    "python": Seed(PY, {"1/model.py": CODE.encode()}, ("1/model.py",), needs_all=False),
    "labels": Seed(LABELS, {"1/model.onnx": onnx_bytes(), "labels.txt": b"a\nb\n"}, ("labels.txt",), needs_all=False),
    "warm-up": Seed(WARM, {"1/model.onnx": onnx_bytes(), "warmup/x": bytes(16)}, ("warmup/x",)),
    "strings": Seed(STRINGS, {"warmup/x": WORDS}, ("warmup/x",), needs_all=False),
}
# What a field of each kind may hold instead.
NUMBERS = (0, 1, -1, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63), 99)
TEXTS = ("", "x", "y", "w", "../../../x", "/dev/zero", "a\0b", "\x1b[31m", "x" * 5000, "ai.onnx.ml", "If", "Loop",
         "Reshape", "Range", "ConstantOfShape", "Expand", "Tile", "\u202e")  # fmt: skip


def write(root: Path, count: int, seed: int) -> dict[str, tuple[str, str]]:
    """Write models, each with a broken file; return for each the name of its seed and what was done."""
    chance = random.Random(seed)
    made = {}
    for number in range(count):
        kind = tuple(SEEDS)[number % len(SEEDS)]
        own = SEEDS[kind]
        broken = chance.choice(own.breakable)
        done, content = _broken(own.files[broken], broken, chance)
        lay(root / f"net{number}", own.config, {**own.files, broken: content})
        made[f"net{number}"] = (kind, done)
    return made


def _broken(content: bytes, name: str, chance: random.Random) -> tuple[str, bytes]:
    ways = ["cut", "bytes", "bytes", *(["fields"] * 3 if name.endswith(".onnx") else [])]
    match chance.choice(ways):
        case "cut":
            return "cut", content[: chance.randrange(len(content))]
        case "bytes":
            return "bytes", mutated(content, chance)
        case _:
            return "fields", with_other_fields(content, chance)


def with_other_fields(content: bytes, chance: random.Random) -> bytes:
    """Return an ONNX file of which some fields say something else."""
    model = onnx.ModelProto.FromString(content)
    for _ in range(chance.choice((1, 1, 2, 4))):
        message = chance.choice([*_messages(model)])
        known: Any = chance.choice(list(message.DESCRIPTOR.fields))
        if chance.random() < 0.2:
            message.ClearField(known.name)
        elif known.message_type is not None:
            _again(message, known, chance)
        else:
            _set(message, known, chance)
    return bytes(model.SerializeToString())


def _messages(message: Message) -> Iterator[Message]:
    yield message
    for known, value in message.ListFields():
        if known.message_type is not None:
            for each in value if known.is_repeated else (value,):
                yield from _messages(each)


def _again(message: Any, known: Any, chance: random.Random) -> None:
    value = getattr(message, known.name)
    if not known.is_repeated:
        value.SetInParent()
    elif value and chance.random() < 0.8:
        value.add().CopyFrom(chance.choice(list(value)))
    else:
        value.add()


def _set(message: Any, known: Any, chance: random.Random) -> None:
    kinds = type(known)
    if known.cpp_type == kinds.CPPTYPE_ENUM:
        value: Any = chance.choice(list(known.enum_type.values_by_number))
    elif known.cpp_type == kinds.CPPTYPE_STRING:
        text = chance.choice(TEXTS)
        value = text.encode() if known.type == kinds.TYPE_BYTES else text
    elif known.cpp_type in (kinds.CPPTYPE_FLOAT, kinds.CPPTYPE_DOUBLE):
        value = chance.choice((0.0, float("nan"), float("inf"), -1e30))
    else:
        bits = 63 if known.cpp_type in (kinds.CPPTYPE_INT64, kinds.CPPTYPE_UINT64) else 31
        least = 0 if known.cpp_type in (kinds.CPPTYPE_UINT32, kinds.CPPTYPE_UINT64) else -(1 << bits)
        value = min(max(chance.choice(NUMBERS), least), (1 << bits) - 1)
    if known.is_repeated:
        getattr(message, known.name).append(value)
    else:
        setattr(message, known.name, value)
