"""ONNX files: `--model onnx:PATH`, served as they are, byte for byte."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from generator.backends import onnxruntime
from generator.digests import sha256_of
from generator.errors import InputRefused, SourceError
from generator.progress import Progress
from generator.sources.model import SourceModel
from generator.specs import Arrays, Options, Weights

FORM = "onnx:FILE"
SUMMARY = "ONNX files, served as they are"
FRAMEWORKS = ("onnx",)
PACKAGES = ("onnx", "onnxruntime")
OPTIONS = ("make_batch_dynamic",)
# What Triton calls the model in its version folder.
MODEL_FILE = "model.onnx"


@dataclass(frozen=True)
class OnnxFile:
    """An ONNX model on disk: its ``ModelProto``, and its external data by the paths that the model gives, relative."""

    path: Path
    model: Any
    external: Mapping[str, Path]


def names_file(name: str) -> bool:
    """Return True: a name is the path of a file."""
    return True


def default_name(name: str) -> str:
    """Return the file's name without its suffix."""
    return Path(name).stem


def known() -> tuple[str, ...]:
    """Return none: files are named by their paths."""
    return ()


def check(name: str, options: Options) -> None:
    """Raise SourceError unless ``name`` is the path of an ONNX file whose external data is there."""
    read(name)


def files(name: str) -> tuple[Path, ...]:
    """Return the ONNX file and the files of its external data; SourceError where one is missing or not readable."""
    file = read(name)
    return (file.path, *file.external.values())


def load(name: str, options: Options, progress: Progress) -> SourceModel:
    """Return the graph as it is written: ONNX Runtime runs it with every optimization off.

    Its inputs and outputs are read by the exporter. Raises SourceError for a file that can't be used.
    """
    file = read(name)
    return SourceModel(
        reference=f"onnx:{file.path.name}",
        framework="onnx",
        native=file,
        inputs=(),
        output_names=tuple(value.name for value in file.model.graph.output),
        run=_Runner(file.path),
        weights=Weights("file", file.path.name, untrained=False, sha256=sha256_of(file.path)),
    )


class _Runner:
    """Answers named inputs as the graph says, and raises InputRefused where it does not answer."""

    def __init__(self, path: Path) -> None:
        self._session = cache(lambda: onnxruntime.open_session(path, optimized=False))

    def __call__(self, arrays: Arrays) -> dict[str, Any]:
        session = self._session()
        names = [output.name for output in session.get_outputs()]
        try:
            return dict(zip(names, session.run(names, dict(arrays)), strict=True))
        except Exception as error:  # ONNX Runtime's errors share no class but Exception
            shapes = ", ".join(f"{name}{list(array.shape)}" for name, array in arrays.items())
            raise InputRefused(f"the source model fails on {shapes}: {onnxruntime.reason(error)}") from error


def read(name: str) -> OnnxFile:
    """Read a model without its external data, and find that; SourceError says what can't be used and why."""
    path = Path(name).expanduser()
    model = _parse(path)
    locations = sorted({location for tensor in _tensors(model) for location in _locations(tensor)})
    return OnnxFile(path, model, {location: _external_file(path, location) for location in locations})


def _parse(path: Path) -> Any:
    import onnx
    from google.protobuf.message import DecodeError

    if path.is_dir():
        raise SourceError(f"{path} is a folder", f"Name the ONNX file in it, such as onnx:{path}/{MODEL_FILE}")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SourceError(f"can't read {path}: {error.strerror}") from error
    if not content:
        raise SourceError(f"{path} is empty")
    try:
        model = onnx.ModelProto.FromString(content)
    except DecodeError as error:
        raise SourceError(f"{path} is no ONNX file, or a truncated one") from error
    if not model.ir_version or not model.graph.output:
        raise SourceError(f"{path} is no ONNX file, or a truncated one")
    return model


def graphs(model: Any) -> Iterator[Any]:
    """Yield a model's graph, its functions, and every graph that is an attribute of a node in one of these."""
    waiting = [model.graph, *model.functions]
    while waiting:
        graph = waiting.pop()
        yield graph
        for node in graph.node:
            for attribute in node.attribute:
                waiting += [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]


def _tensors(model: Any) -> Iterator[Any]:
    """Yield every tensor that a model holds, wherever it stands."""
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
    """Return the file that holds external data; it must lie beside the model or below, or Triton would not have it."""
    file = path.parent / location
    inside = PurePosixPath(location)
    if not location or inside.is_absolute() or ".." in inside.parts:
        raise SourceError(f"{path} keeps weights in {location!r}, which is not beside it")
    if not file.is_file():
        raise SourceError(f"{path} keeps weights in {location}, and there is no such file beside it")
    if not file.resolve().is_relative_to(path.parent.resolve()):
        raise SourceError(
            f"{path} keeps weights in {location}, a link that leads out of its folder", "Put the file itself there"
        )
    if inside == PurePosixPath(MODEL_FILE):
        raise SourceError(f"{path} keeps weights in {location}, the name that Triton gives the model")
    return file
