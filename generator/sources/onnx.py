"""ONNX files: `--model onnx:PATH`, served byte for byte, unless a fixed batch is made dynamic."""

import os.path
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from modelrepo.generator.errors import InputRefused, SourceError
from modelrepo.generator.graphs import outline
from modelrepo.generator.graphs.metadata import class_names
from modelrepo.generator.graphs.runtime import Runner
from modelrepo.generator.graphs.walk import MODEL_FILE, fixed_batch, graphs, has_dynamic_batch, quantizes
from modelrepo.generator.progress import Progress
from modelrepo.generator.sources import formats
from modelrepo.generator.sources.source import file_source, path_of
from modelrepo.generator.specs.artifacts import Weights
from modelrepo.generator.specs.options import Options
from modelrepo.generator.specs.source import SourceModel
from modelrepo.generator.specs.tensors import Arrays
from modelrepo.generator.system import memory
from modelrepo.generator.system.digests import sha256_of

BESIDE = "Put the file there, or save the model again with its weights beside it"
# What sentence-transformers puts beside a model, and the output of one that has all of it.
MODULES, EMBEDDING = "modules.json", "sentence_embedding"
SHOWN = 255  # the most characters of a file's name


@dataclass(frozen=True)
class OnnxFile:
    """An ONNX model on disk: its ``outline``, and the files of its external data by the relative paths in the model."""

    path: Path
    model: Any
    external: Mapping[str, Path]


def check(name: str, options: Options) -> None:
    """Raise SourceError unless ``name`` is the path of an ONNX file whose external data exists."""
    read(name)


def files(name: str) -> tuple[Path, ...]:
    """Return the ONNX file and the files of its external data; SourceError if one is missing or unreadable."""
    file = read(name)
    return (file.path, *file.external.values())


def load(name: str, options: Options, progress: Progress) -> SourceModel:
    """Return the graph as it is written, which ONNX Runtime runs with every optimization off.

    The exporter reads its inputs and outputs. If its batch is to be made dynamic, it answers any number of samples in
    batches of its fixed size. Raises SourceError for a file that can't be used.
    """
    file = read(name)
    memory.check(sum(path.stat().st_size for path in (file.path, *file.external.values())), f"onnx:{name}")
    run: Callable[[Arrays], dict[str, Any]] = Runner(file.path)
    rewritten = options.make_batch_dynamic and not has_dynamic_batch(file.model.graph)  # it must answer as before
    if rewritten:
        run = _InBatches(run, fixed_batch(file.model.graph))
    key, names = class_names(file.model)
    return SourceModel(
        reference=f"onnx:{file.path.name}",
        framework="onnx",
        native=file,
        inputs=(),
        output_names=tuple(value.name for value in file.model.graph.output),
        run=run,
        quantized=quantizes(file.model) and not rewritten,
        weights=Weights("file", file.path.name, untrained=False, sha256=sha256_of(file.path)),
        labels=names,
        notes=tuple(_beside(file, key, options)),
    )


def _beside(file: OnnxFile, key: str, options: Options) -> Iterator[str]:
    """Yield notes on what the file says of its classes under ``key``, and on files beside it that are not served."""
    if key and not options.labels:
        yield f"the names of its classes are those of its metadata ({key}); --labels gives others"
    folder = file.path.parent
    home = next((each for each in (folder, folder.parent) if (each / MODULES).is_file()), None)
    if home and not any(value.name == EMBEDDING for value in file.model.graph.output):
        yield f"{home / MODULES} names modules that the file may not have, such as pooling: --model hf:{home} has them"


class _InBatches:
    """Runs a model that takes ``size`` samples on any number of them; copies of the last one fill the last batch."""

    def __init__(self, run: Callable[[Arrays], dict[str, Any]], size: int) -> None:
        self._run, self._size = run, size

    def __call__(self, arrays: Arrays) -> dict[str, Any]:
        import numpy as np

        count = len(next(iter(arrays.values())))
        if not count:
            raise InputRefused("the source model gets no samples")
        parts = []
        for start in range(0, count, self._size):
            rows = [min(row, count - 1) for row in range(start, start + self._size)]
            parts.append(self._run({name: array[rows] for name, array in arrays.items()}))
            for name, answer in parts[-1].items():
                if answer.shape[:1] != (self._size,):
                    raise InputRefused(
                        f"output {name!r} of the source has shape {list(answer.shape)}, without the batch"
                    )
        return {name: np.concatenate([part[name] for part in parts])[:count] for name in parts[0]}


def read(name: str) -> OnnxFile:
    """Return a model without its weights, and the files of its external data; SourceError if it can't be used."""
    path = path_of(name)
    model = _parse(path)
    tensors = (tensor for tensor in _tensors(model) if not outline.in_own_file(tensor, path))
    locations = sorted({location for tensor in tensors for location in _locations(tensor)})
    return OnnxFile(path, model, {location: _external_file(path, location) for location in locations})


def _parse(path: Path) -> Any:
    from google.protobuf.message import DecodeError

    formats.expect(path, "onnx")
    try:
        model = outline.read(path)
    except OSError as error:
        raise SourceError(f"can't read {path}: {error.strerror}") from error
    except DecodeError as error:
        raise SourceError(f"{path} is not an ONNX file, or is damaged", "Save or download it again") from error
    if not model.ir_version or not model.graph.output:
        raise SourceError(f"{path} holds no ONNX model with outputs", "Export it again")
    _check_names(path, model.graph)
    _check_mode(path, model)
    return model


def _check_names(path: Path, graph: Any) -> None:
    for role, values in (("inputs", graph.input), ("outputs", graph.output)):
        names = [value.name for value in values]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise SourceError(f"{path} has two {role} called {twice!r}", "Export it again: no tool writes such a file")


def _check_mode(path: Path, model: Any) -> None:
    """Raise SourceError for a model in training mode: it draws random numbers, or normalises by the batch."""
    for graph in graphs(model):
        for node in graph.node:
            if trains(node, graph):
                raise SourceError(
                    f"{path} is in training mode, in {node.op_type} {node.name or node.output[0]!r}",
                    "Export it in evaluation mode: in PyTorch call model.eval() first",
                )


def trains(node: Any, graph: Any) -> bool:
    """Whether a node is in training mode: by an attribute, a constant input, or outputs that exist only then."""
    if node.domain not in ("", "ai.onnx"):
        return False
    if node.op_type == "BatchNormalization":
        statistics = sum(1 for name in node.output if name) > 1
        return statistics or any(each.name == "training_mode" and each.i for each in node.attribute)
    if node.op_type != "Dropout" or len(node.input) < 3:
        return False
    import onnx

    made = (each.attribute[0].t for each in graph.node if each.op_type == "Constant" and node.input[2] in each.output)
    stored = (tensor for tensor in getattr(graph, "initializer", ()) if tensor.name == node.input[2])
    return any(onnx.numpy_helper.to_array(tensor).any() for tensor in (*made, *stored))


def _tensors(model: Any) -> Iterator[Any]:
    """Yield every tensor that a model holds, in any of its graphs."""
    for graph in graphs(model):
        sparse = list(getattr(graph, "sparse_initializer", ()))  # functions have no initializers
        yield from getattr(graph, "initializer", ())
        for node in graph.node:
            for attribute in node.attribute:
                yield from (attribute.t, *attribute.tensors)
                sparse += [attribute.sparse_tensor, *attribute.sparse_tensors]
        for tensor in sparse:
            yield from (tensor.values, tensor.indices)


def _locations(tensor: Any) -> Iterator[str]:
    import onnx

    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        yield next((entry.value for entry in tensor.external_data if entry.key == "location"), "")


def _external_file(path: Path, location: str) -> Path:
    """Return the file of external data; it must lie beside the model or below, so that Triton can be given it."""
    file = path.parent / location
    inside = PurePosixPath(location)
    if not location or inside.is_absolute() or ".." in inside.parts:
        raise SourceError(f"{path} keeps weights in {location!r}, which is not beside it", BESIDE)
    if not os.path.isfile(file):  # noqa: PTH113 - pathlib's raises for a name that is too long
        raise SourceError(f"{path} keeps weights in {location[:SHOWN]}, and there is no such file beside it", BESIDE)
    if not file.resolve().is_relative_to(path.parent.resolve()):
        raise SourceError(
            f"{path} keeps weights in {location}, a link that leads out of its folder", "Put the file itself there"
        )
    if inside == PurePosixPath(MODEL_FILE):
        raise SourceError(f"{path} keeps weights in {location}, the name that Triton gives the model")
    return file


SOURCE = file_source(
    form="onnx:FILE",
    summary="ONNX files, served as they are",
    frameworks=("onnx",),
    load=load,
    check=check,
    files=files,
    options=("make_batch_dynamic", "input_shape", "dynamic"),
    packages=("onnx", "onnxruntime"),
)
