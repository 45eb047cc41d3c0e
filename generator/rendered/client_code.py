"""A small typed Python client for one published model, rendered from its manifest alone."""

import builtins
import hashlib
import keyword
import re
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelrepo.clients.models import ENCODED, PIXELS, TEXT
from modelrepo.generator.backends import BACKENDS
from modelrepo.generator.errors import OptionError
from modelrepo.generator.repository.manifest import Manifest
from modelrepo.generator.system.files import replace_text
from modelrepo.generator.system.templates import environment
from modelrepo.generator.triton import pbtxt

TEMPLATE = "client.py.j2"
NO_KINDS: Mapping[str, str] = {}
# How clients began to import our package before it was called modelrepo.clients.
FORMER = "from clients import "
WIDTH = 110
LONGEST_NAME = 40
# In characters of a tensor's name; an escaped one takes up to ten.
LONGEST_LITERAL, PIECE = 40, 8
NUMPY = {
    "BOOL": "np.bool_", "STRING": "np.object_", "BF16": "Any",
    "FP16": "np.float16", "FP32": "np.float32", "FP64": "np.float64",
    "INT8": "np.int8", "INT16": "np.int16", "INT32": "np.int32", "INT64": "np.int64",
    "UINT8": "np.uint8", "UINT16": "np.uint16", "UINT32": "np.uint32", "UINT64": "np.uint64",
}  # fmt: skip
# What a client has for an input of a kind: its type in Python, and in words.
GIVEN = {
    PIXELS: "Path | bytes | Sequence[Path] | NDArray[np.uint8]",
    ENCODED: "Path | bytes | Sequence[Path | bytes]",
    TEXT: "str | bytes | Path | Sequence[str | bytes]",
}
ABOUT = {
    PIXELS: "a picture as it is, RGB in any size: its file, the bytes of one, or uint8 [height, width, 3]. A list is a "
    "batch of one size",
    ENCODED: "the file of a picture, or its bytes. A list is a batch",
    TEXT: "a text, or its file. A list is a batch",
}
# Names that the template itself uses, and one that ruff finds ambiguous.
TAKEN = {"client", "version", "deadline", "top", "given", "answer", "classes", "self", "np", "l"}


@dataclass(frozen=True)
class ClientTensor:
    """An input or output in the generated code."""

    literal: str  # Triton's name, as a Python string literal
    identifier: str  # the name in the code
    type: str  # numpy's, such as np.float32
    datatype: str  # Triton's, such as FP32
    dims: tuple[int, ...]  # without the batch
    optional: bool
    labelled: bool  # an output with class names
    kind: str = ""  # of an input that takes what clients have

    @property
    def given(self) -> str:
        """The type of an argument."""
        return GIVEN.get(self.kind, f"NDArray[{self.type}]")


def render(manifest: Manifest) -> str:
    """Return the source of a module with a typed function for the model; names that are not valid in Python change."""
    config = pbtxt.parse(manifest.config, f"the configuration of {manifest.name}")
    kinds = pbtxt.input_kinds(config)
    inputs, outputs = _fields(config.input, kinds), _fields(config.output)
    labelled = [field for field in outputs if field.labelled]
    preprocess = manifest.provenance.source.preprocess
    image = preprocess if preprocess and preprocess.get("kind") == "image" and len(inputs) == 1 else None
    image = None if kinds else image
    return (
        environment()
        .get_template(TEMPLATE)
        .render(
            model=manifest.name if len(manifest.name) <= LONGEST_NAME else "the model",
            imports=["Classification"] * bool(labelled) + ["Client"] + ["load_image"] * bool(image),
            optional=any(field.optional for field in inputs),
            uses_sequence=any("Sequence" in field.given for field in inputs),
            uses_path=bool(image) or any("Path" in field.given for field in inputs),
            uses_any=any(field.type == "Any" for field in (*inputs, *outputs)),
            uses_numpy=bool(image)
            or any("np." in field.given for field in inputs)
            or any(field.type.startswith("np.") for field in outputs),
            model_literal=literal(manifest.name),
            about=_about(manifest),
            max_batch_size=config.max_batch_size,
            inputs=inputs,
            outputs=outputs,
            input_lines=_lines(inputs, config.max_batch_size, _values(image)),
            output_lines=_lines(outputs, config.max_batch_size, ""),
            classes=labelled[0] if labelled else None,
            preprocess=[(literal(key), _python(value)) for key, value in image.items()] if image else None,
        )
    )


def write(manifest: Manifest, folder: Path) -> Path:
    """Write the client into a folder, which is created, and return its path; an identical file is left alone.

    Raises OptionError if the folder can't be written, or if the model answers sequences only.
    """
    path = folder / module_name(manifest.name)
    if pbtxt.parse(manifest.config, f"the configuration of {manifest.name}").HasField("sequence_batching"):
        raise OptionError(
            f"no client of {manifest.name} is written: its requests belong to sequences, which our clients don't send",
            "Ask it with tritonclient: sequence_id, sequence_start and sequence_end",
        )
    text = render(manifest)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if path.is_file() and path.read_text("utf-8", errors="replace") == text:
            return path
        replace_text(path, text)
    except OSError as error:
        raise OptionError(f"can't write the client {path}: {error.strerror}", "Name another --client-dir") from error
    return path


def is_outdated(path: Path) -> bool:
    """Whether a client imports our package by its former name, ``clients``."""
    try:
        return any(line.startswith(FORMER) for line in path.read_text("utf-8", errors="replace").splitlines())
    except OSError:
        return False


def module_name(model: str) -> str:
    """Return the file name of a model's client: the model's name if it can be imported, or a unique one."""
    name = identifier(model, ())
    if name != model:
        name = f"{name}_{hashlib.sha256(model.encode()).hexdigest()[:6]}"
    return f"{name}.py"


def identifier(name: str, taken: Iterable[str]) -> str:
    """Return a lower-case ASCII identifier like ``name`` that is not a keyword, a builtin or ``taken``."""
    plain = re.sub(r"\W", "_", name.lower(), flags=re.ASCII).strip("_")[:LONGEST_NAME] or "tensor"
    if plain[0].isdigit():
        plain = f"t_{plain}"
    if keyword.iskeyword(plain) or plain in vars(builtins) or plain in TAKEN:
        plain += "_"
    unique, number = plain, 1
    while unique in taken:
        number += 1
        unique = f"{plain}_{number}"
    return unique


def literal(text: str) -> str:
    """Return a string literal of ASCII characters; a long one in pieces, each on its own line."""
    if len(_quoted(text)) <= LONGEST_LITERAL:
        return _quoted(text)
    size = LONGEST_LITERAL if text.isascii() and text.isprintable() else PIECE
    pieces = [_quoted(text[start : start + size]) for start in range(0, len(text), size)]
    return "\n".join(["(", *(f"            {piece}" for piece in pieces), "        )"])


def _quoted(text: str) -> str:
    escaped = ascii(text)[1:-1]
    if ascii(text)[0] == "'":
        escaped = escaped.replace("\\'", "'").replace('"', '\\"')
    return f'"{escaped}"'


def _python(value: Any) -> str:
    match value:
        case str():
            return literal(value)
        case list() | tuple():
            return f"[{', '.join(map(_python, value))}]"
        case _:
            return repr(value)


def _fields(tensors: Iterable[Any], kinds: Mapping[str, str] = NO_KINDS) -> list[ClientTensor]:
    from tritonclient.grpc import model_config_pb2

    fields: list[ClientTensor] = []
    for tensor in tensors:
        datatype = model_config_pb2.DataType.Name(tensor.data_type).removeprefix("TYPE_")
        taken = [field.identifier for field in fields]
        fields.append(
            ClientTensor(
                literal(tensor.name),
                identifier(tensor.name, taken),
                NUMPY[datatype],
                datatype,
                tuple(tensor.dims),
                bool(getattr(tensor, "optional", False)),
                bool(getattr(tensor, "label_filename", "")),
                kinds.get(tensor.name, ""),
            )
        )
    return fields


def _about(manifest: Manifest) -> list[str]:
    source = manifest.provenance.source
    weights = f"{source.weights.kind} weights" + (", never trained" if manifest.untrained else "")
    text = f"Made from {_plain(source.reference)} with {weights}, served by {BACKENDS[manifest.backend].triton_name}."
    return textwrap.wrap(text, WIDTH)


def _plain(text: str) -> str:
    """Return a text made safe for a docstring: printable ASCII without quotes and backslashes."""
    return re.sub(r"[^ !#-\[\]-~]", "?", text)


def _lines(fields: Iterable[ClientTensor], max_batch_size: int, values: str) -> list[str]:
    """Return a docstring's lines about tensors: name, dtype, shape and values."""
    lines = []
    for field in fields:
        if field.kind:
            most = f" of at most {max_batch_size}" if max_batch_size else ""
            lines += textwrap.wrap(f"{field.identifier}: {ABOUT[field.kind]}{most}.", WIDTH, subsequent_indent="    ")
            continue
        shape = ["any" if dim == -1 else str(dim) for dim in field.dims]
        if max_batch_size:
            shape.insert(0, f"batch of 1 to {max_batch_size}")
        text = f"{field.identifier}: {_dtype(field)} [{', '.join(shape)}]"
        text += f", optional{values}" if field.optional else values
        if field.labelled:
            text += ", a value for each class; classify names the best"
        lines += textwrap.wrap(f"{text}.", WIDTH, subsequent_indent="    ")
    return lines


def _dtype(field: ClientTensor) -> str:
    names = {"STRING": "object of bytes (inputs also str)", "BF16": "bfloat16", "BOOL": "bool"}
    return names.get(field.datatype, field.type.removeprefix("np."))


def _values(image: Mapping[str, Any] | None) -> str:
    """Describe the values of an image input: their order, range and units."""
    if image is None:
        return ""
    low = min((0 - mean) / std for mean, std in zip(image["mean"], image["std"], strict=True))
    high = max((1 - mean) / std for mean, std in zip(image["mean"], image["std"], strict=True))
    return f", RGB images of 0 to 1, less the mean and over the std of PREPROCESS: {low:.2f} to {high:.2f}. See load"
