"""Files of weights: the tensors in them, without loading any, and the network of torchvision that has the same."""

import io
import json
import shlex
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

from modelrepo.generator.sources.content import is_transformers
from modelrepo.generator.system.pickles import operations

Shape = tuple[int, ...]
# Keys of checkpoints, and prefixes of wrappers: those that sources.pytorch.state_dict accepts.
CHECKPOINT_KEYS = ("state_dict", "model_state_dict", "model")
WRAPPERS = ("module.", "_orig_mod.")
# The packages of what torch loads without --trust-source.
KNOWN = ("torch", "collections")
# The keys under which checkpoints keep a whole model, the best first.
MODEL_KEYS = ("ema", "model", "net", "network")
# The commands of packages that write their own models as ONNX files.
EXPORTED = {"ultralytics": "yolo export model={path} format=onnx writes it as an ONNX file"}
# Tensors that networks have or lack after training: counters, and the heads that only training needs.
OPTIONAL = ("num_batches_tracked", "aux_classifier.")
# The beginnings of the names that transformers gives to files of weights.
OF_TRANSFORMERS = ("model.safetensors", "model-0", "pytorch_model")
# The most bytes of a pickle that is read: names and shapes of large networks take a million.
LARGEST = 64 << 20
# Each line has a digest of ``fingerprint``, and the networks of torchvision that have it.
NETWORKS = Path(__file__).with_name("torchvision") / "networks.txt"
# The size of a picture in an example, for a network that begins with a convolution.
PICTURE = "224x224"


def hint(path: Path, *, safe: bool) -> str:
    """Return the hint with the flags that serve a file of weights; ``safe`` for one of safetensors."""
    written = shlex.quote(str(path))
    if path.name.startswith(OF_TRANSFORMERS) and is_transformers(path.parent):
        return f"It holds the weights of a Hugging Face folder: --model {shlex.quote(f'hf:{path.parent}')}"
    found = _Read(whole=False) if safe else read_pickle(path)
    for package, command in EXPORTED.items():
        if any(each.startswith(f"{package}.") for each in found.foreign):
            return f"It is a model of {package}: {command.format(path=written)}"
    if found.model is not None and not found.shapes:
        return pickled_hint(path, found.model)
    if found.whole and not found.shapes:
        return "It holds no state dict: save one with torch.save(model.state_dict(), 'net.pth')"
    architecture = _architecture(path.parent)
    if path.name.startswith(OF_TRANSFORMERS) and architecture:
        return f"It holds the weights of timm's {architecture}: --model timm:{architecture} --weights {written}"
    shapes = _of_safetensors(path) if safe else found.shapes
    networks = fitting(shapes)
    trust = f" --trust-source, if you trust who made it: it also holds {found.foreign[0]}" if found.foreign else ""
    if networks:
        either = " or ".join(f"--model {name} --weights {written}" for name in networks) + trust
        return f"It holds the weights of torchvision's {' or '.join(networks)}: {either}"
    return (
        "It holds weights without their network: write a function that makes it, in a file such as nets.py: "
        f"def net(): return Net(); then --model python:nets:net --weights {written} --input-shape {_example(shapes)}, "
        f"or the shape of your input{trust and ', and'}{trust}"
    )


def pickled_hint(path: Path, key: str = "") -> str:
    """Return the hint for a pickled model, which the user's code must load; ``key`` is where a dict has it."""
    load = f"torch.load({str(path)!r}, weights_only=False){f'[{key!r}]' if key else ''}"
    return (
        "It is a pickled PyTorch model. If you trust who made it, write a function that loads it, in a file such as "
        f"nets.py: def net(): import torch; return {load}; then --model python:nets:net --input-shape 1x3x{PICTURE}, "
        "or the shape of your input"
    )


def _architecture(folder: Path) -> str:
    """Return the name of timm's model that the configuration in a folder gives; empty if there is none."""
    try:
        document = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError):
        return ""
    found = document.get("architecture") if isinstance(document, dict) else None
    return found if isinstance(found, str) else ""


def fitting(shapes: Mapping[str, Shape]) -> tuple[str, ...]:
    """Return the networks of torchvision that have tensors of these names and shapes, for any number of classes."""
    found = _networks().get(fingerprint(shapes), ())
    attribute = f"{next(iter(shapes), '').partition('.')[0]}."  # of a module that keeps the network alone
    if found or not all(name.startswith(attribute) for name in shapes):
        return found
    return _networks().get(fingerprint({name.removeprefix(attribute): each for name, each in shapes.items()}), ())


def fingerprint(shapes: Mapping[str, Shape]) -> str:
    """Digest names and shapes, without the first dimension: that of the last layer is the number of classes."""
    counted = sorted(
        f"{name} {list(shape[1:])}" for name, shape in shapes.items() if not any(each in name for each in OPTIONAL)
    )
    return sha256("\n".join(counted).encode()).hexdigest()[:12]


@cache
def _networks() -> dict[str, tuple[str, ...]]:
    lines = (line.split() for line in NETWORKS.read_text("utf-8").splitlines())
    return {digest: tuple(names) for digest, *names in lines}


def known_networks() -> frozenset[str]:
    """Return the names of all networks in the table."""
    return frozenset(name for names in _networks().values() for name in names)


def tensors(path: Path, *, safe: bool) -> dict[str, Shape]:
    """Return the shape of each tensor of a state dict, or of a checkpoint's; nothing if they can't be told.

    Opcodes are read, and no pickle is loaded.
    """
    return _of_safetensors(path) if safe else read_pickle(path).shapes


@dataclass(frozen=True)
class _Tensor:
    shape: Shape


@dataclass(frozen=True)
class _Object:
    """An object of another class, such as a network."""


@dataclass(frozen=True)
class _Read:
    """What a pickle of torch holds: tensors, the ``foreign`` classes, and the key of a ``model``; "" if it is one."""

    shapes: dict[str, Shape] = field(default_factory=dict)
    foreign: tuple[str, ...] = ()
    model: str | None = None
    whole: bool = True  # it was understood to its end


def _of_safetensors(path: Path) -> dict[str, Shape]:
    try:
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        return {name: tuple(each["shape"]) for name, each in header.items() if name != "__metadata__"}
    except (ValueError, KeyError, TypeError, AttributeError, OSError):
        return {}


def read_pickle(path: Path) -> _Read:
    """Return what a pickle that torch wrote holds, by its opcodes; nothing of one that is written in another way."""
    classes: list[str] = []
    try:
        found = _outline(_pickle(path), classes)
    except (ValueError, KeyError, IndexError, TypeError, StopIteration, OSError, zipfile.BadZipFile):
        return _Read(whole=False)
    foreign = tuple(dict.fromkeys(each for each in classes if each.partition(" ")[0].partition(".")[0] not in KNOWN))
    foreign = tuple(each.replace(" ", ".") for each in foreign)
    if not isinstance(found, dict):
        return _Read(foreign=foreign, model="" if isinstance(found, _Object) else None)
    model = next((key for key in (*MODEL_KEYS, *found) if isinstance(found.get(key), _Object)), None)
    for key in CHECKPOINT_KEYS:
        if isinstance(found.get(key), dict):
            found = found[key]
    shapes = {name: each.shape for name, each in found.items() if isinstance(each, _Tensor)}
    wrapper = next((each for each in WRAPPERS if shapes and all(name.startswith(each) for name in shapes)), "")
    return _Read({name.removeprefix(wrapper): shape for name, shape in shapes.items()}, foreign, model)


def _pickle(path: Path) -> IO[bytes]:
    """Return the pickle in a file of torch, an archive or one of the older kind, from its start on."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            data = next(each for each in archive.infolist() if each.filename.endswith("/data.pkl"))
            return io.BytesIO(archive.read(data) if data.file_size <= LARGEST else b"")
    file = io.BytesIO(_start(path))
    for _ in range(3):  # a magic number, a version and the system's facts come first
        for _ in operations(file):
            pass
    return file


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(LARGEST)


def _outline(file: IO[bytes], classes: list[str]) -> Any:
    """Return what a pickle of torch builds, of dictionaries, ``_Tensor`` and ``_Object``; append the classes it names.

    The opcodes are those of the module pickle; a stack holds the values, and nothing is called.
    """
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[Any, Any] = {}

    def above_mark() -> list[Any]:
        place = marks.pop()
        values = stack[place:]
        del stack[place:]
        return values

    for name, value in operations(file):
        if name == "MARK":
            marks.append(len(stack))
        elif name in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if value is None else value] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[value])
        elif name == "EMPTY_DICT":
            stack.append({})
        elif name == "TUPLE":
            stack.append(tuple(above_mark()))
        elif name in ("EMPTY_TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(name[-1]) if name[-1].isdigit() else 0
            taken = tuple(stack[len(stack) - count :])
            del stack[len(stack) - count :]
            stack.append(taken)
        elif name in ("SETITEM", "SETITEMS"):
            pairs = above_mark() if name == "SETITEMS" else [stack.pop(-2), stack.pop()]
            if isinstance(stack[-1], dict):
                stack[-1].update(_pairs(pairs))
        elif name == "APPENDS":
            above_mark()
        elif name in ("APPEND", "BUILD", "POP"):
            stack.pop()
        elif name == "BINPERSID":
            stack[-1] = None
        elif name == "STACK_GLOBAL":
            stack.append(f"{stack.pop(-2)} {stack.pop()}")
            classes.append(stack[-1])
        elif name == "GLOBAL":
            stack.append(value)
            classes.append(str(value))
        elif name in ("REDUCE", "NEWOBJ"):
            arguments = stack.pop()
            stack[-1] = _made(stack[-1], arguments)
        elif name == "STOP":
            break
        elif name not in ("PROTO", "FRAME"):
            stack.append(value)
    return stack.pop()


def _pairs(values: list[Any]) -> Iterator[tuple[Any, Any]]:
    return ((key, value) for key, value in zip(values[::2], values[1::2], strict=True) if isinstance(key, str))


def _made(function: Any, arguments: Any) -> Any:
    """Return the tensor, parameter, dictionary or other object that a call makes."""
    if function == "torch._utils _rebuild_tensor_v2":
        return _Tensor(tuple(arguments[2]))
    if function == "torch._utils _rebuild_parameter":
        return arguments[0]
    return {} if function == "collections OrderedDict" else _Object()


def _example(shapes: Mapping[str, Shape]) -> str:
    """Return an example of an input, by the first weight: of a convolution, or of a layer that is fully connected."""
    first = next((shape for shape in shapes.values() if len(shape) > 1), ())
    return f"1x{first[1]}x{PICTURE}" if len(first) == 4 else f"1x{first[1]}" if len(first) == 2 else f"1x3x{PICTURE}"
