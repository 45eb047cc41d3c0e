"""TensorFlow Lite models, including quantized ones: `--model tflite:FILE`."""

import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelrepo.generator.errors import SourceError, refused
from modelrepo.generator.progress import Progress
from modelrepo.generator.sources import formats
from modelrepo.generator.sources.source import file_source, path_of
from modelrepo.generator.sources.tensorflow import cause, lite
from modelrepo.generator.sources.tensorflow.declared import (
    COUNTED,
    INPUT,
    OUTPUT,
    Declared,
    dtype_name,
    input_specs,
    named,
    unique,
)
from modelrepo.generator.specs.artifacts import Weights
from modelrepo.generator.specs.options import Options
from modelrepo.generator.specs.source import SourceModel
from modelrepo.generator.specs.tensors import Arrays, TensorSpec, unknown_domain
from modelrepo.generator.system import memory
from modelrepo.generator.system.digests import sha256_of
from modelrepo.generator.system.extras import TENSORFLOW, require

# The memory for a file with weights other than float32, as a multiple of its size: the interpreter and the ONNX file
# hold halves as float32, and XNNPACK holds a second copy of quantized weights. See benchmarks/README.md.
TIMES_THE_FILE = 6.0
# Names that the converter gives to unnamed tensors.
MADE_UP = re.compile(r"(Stateful)?PartitionedCall|Identity")

# Operators whose 8-bit operands become floats without rounding, and groups of others.
EXACT = ("DEQUANTIZE", "DELEGATE", "GATHER", "EMBEDDING_LOOKUP")


@dataclass(frozen=True)
class LiteFile:
    """A TensorFlow Lite file, and the names of its inputs and outputs, in the order of the source's.

    ``shapes`` are those of all tensors of the main graph, as the interpreter finds them; -1 for a dynamic dimension.
    """

    path: Path
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    shapes: Mapping[str, tuple[int, ...]]


def files(name: str) -> tuple[Path, ...]:
    """Return the file; SourceError for one that is missing, truncated or of another format."""
    path = path_of(name)
    formats.expect(path, "tflite")
    return (path,)


def check(name: str, options: Options) -> None:
    """Raise SourceError unless ``name`` is a TensorFlow Lite file and the packages that read it are installed."""
    files(name)
    require(TENSORFLOW)


def load(name: str, options: Options, progress: Progress) -> SourceModel:
    """Return the file's main graph, run by TensorFlow Lite's own interpreter.

    Dimensions are dynamic if the file says so; ``options.dynamic`` adds others. Raises SourceError for a file that the
    interpreter does not open, and OptionError for an option that names an unknown input or axis.
    """
    check(name, options)
    (path,) = files(name)
    reference = f"tflite:{path.name}"
    memory.check(path.stat().st_size, reference)
    numbers = lite.tried(path)
    if numbers != lite.Numbers(quantized=False, halves=False):
        memory.check(path.stat().st_size, reference, TIMES_THE_FILE)
    interpreter = lite.opened(path, numbers)
    with lite.reading(path):
        taken, given = interpreter.get_input_details(), interpreter.get_output_details()
        shapes = {each["name"]: tuple(each["shape_signature"].tolist()) for each in interpreter.get_tensor_details()}
        signatures = _signatures(interpreter)
    called = _called(signatures, reference)
    declared = tuple(
        _declared(each, input_name) for each, input_name in zip(taken, _names(taken, called, INPUT), strict=True)
    )
    inputs = input_specs(reference, declared, options)
    outputs = unique(_names(given, called, OUTPUT), [each.name for each in declared])
    return SourceModel(
        reference=reference,
        framework="tensorflow",
        native=LiteFile(
            path,
            tuple(each["name"] for each in taken),
            tuple(each["name"] for each in given),
            shapes,
        ),
        inputs=inputs,
        output_names=outputs,
        run=_runner(interpreter, inputs, outputs),
        quantized=_rounds_within(interpreter),
        weights=Weights("file", path.name, untrained=False, sha256=sha256_of(path)),
        notes=() if options.labels else tuple(packed_notes(path)),
    )


def _rounds_within(interpreter: Any) -> bool:
    """Whether an operator of floats has weights of 8 bits: its kernel rounds its other operand to 8 bits as well.

    https://ai.google.dev/edge/litert/models/post_training_quantization calls it dynamic range quantization.
    """
    import numpy as np

    kinds = {each["index"]: each["dtype"] for each in interpreter.get_tensor_details()}
    for operator in interpreter._get_ops_details():
        reads, makes = ({kinds.get(index) for index in operator[side]} for side in ("inputs", "outputs"))
        if operator["op_name"] not in EXACT and np.int8 in reads and np.float32 in reads and makes == {np.float32}:
            return True
    return False


def packed_notes(path: Path) -> Iterator[str]:
    """Yield a note on the texts that TensorFlow Lite's metadata packs behind a model, such as the names of classes."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        texts = [name for name in archive.namelist() if name.endswith(".txt")]
    if texts:
        yield f"{', '.join(texts)} in {path.name} is not read: if it names classes, unzip it and give it as --labels"


def _signatures(interpreter: Any) -> dict[str, dict[str, str]]:
    """Return the names that each signature of a file gives to its tensors, by their own names."""
    found = {}
    for key in interpreter.get_signature_list():
        runner = interpreter.get_signature_runner(key)
        details = {**runner.get_input_details(), **runner.get_output_details()}
        found[key] = {each["name"]: name for name, each in details.items()}
    return found


def _called(signatures: Mapping[str, dict[str, str]], reference: str) -> dict[str, str]:
    """Return the names that the signature of a file gives to its tensors; nothing if it has no signature.

    Raises SourceError for a file with several: each is a graph of its own, and tf2onnx converts only the first.
    """
    if len(signatures) > 1:
        raise SourceError(
            f"{reference} has {len(signatures)} signatures, {', '.join(sorted(signatures))}: only one can be converted",
            "Convert one of them to a file of its own, or name the SavedModel: savedmodel:FOLDER --signature NAME",
        )
    return next(iter(signatures.values()), {})


def _names(details: Sequence[dict[str, Any]], called: dict[str, str], kind: str) -> tuple[str, ...]:
    """Return names for tensors: those of the signature; names that TensorFlow made up are replaced by numbers."""
    names = [called.get(each["name"], each["name"]) for each in details]
    clean = [name.removesuffix(":0").removeprefix("serving_default_") for name in names]
    return named(["" if COUNTED.fullmatch(name) or MADE_UP.match(name) else name for name in clean], kind)


def _declared(detail: dict[str, Any], name: str) -> Declared:
    import numpy as np

    dtype = np.dtype(detail["dtype"]).name
    dtype = dtype_name("object" if dtype.startswith(("bytes", "str")) else dtype, name)
    signature = detail["shape_signature"] if len(detail["shape_signature"]) else detail["shape"]
    return Declared(name, dtype, tuple(None if dim < 0 else int(dim) for dim in signature), unknown_domain(dtype))


def _runner(
    interpreter: Any, inputs: Sequence[TensorSpec], outputs: Sequence[str]
) -> Callable[[Arrays], dict[str, Any]]:
    def run(arrays: Arrays) -> dict[str, Any]:
        taken = interpreter.get_input_details()
        try:
            if any(tuple(each["shape"]) != arrays[spec.name].shape for each, spec in zip(taken, inputs, strict=True)):
                for each, spec in zip(taken, inputs, strict=True):
                    interpreter.resize_tensor_input(each["index"], arrays[spec.name].shape)
                interpreter.allocate_tensors()
            for each, spec in zip(taken, inputs, strict=True):
                interpreter.set_tensor(each["index"], arrays[spec.name])
            interpreter.invoke()
            given = interpreter.get_output_details()
            return {name: interpreter.get_tensor(each["index"]) for name, each in zip(outputs, given, strict=True)}
        except Exception as error:  # as when the file is opened
            raise refused(arrays, cause(error)) from error

    return run


SOURCE = file_source(
    form="tflite:FILE",
    summary="TensorFlow Lite models",
    frameworks=("tensorflow",),
    load=load,
    check=check,
    files=files,
    options=("input_shape", "dynamic", "opset"),
    packages=("ai-edge-litert",),
    extras=(TENSORFLOW,),
)
