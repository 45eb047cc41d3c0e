"""Keras models: `--model keras:FILE`, a .keras archive or an .h5 file."""

import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import ZipFile, is_zipfile

from modelrepo.generator.errors import SourceError, first_line
from modelrepo.generator.progress import Progress
from modelrepo.generator.sources import formats, tensorflow
from modelrepo.generator.sources.source import file_source, path_of
from modelrepo.generator.sources.tensorflow import IN_CODE, cause
from modelrepo.generator.sources.tensorflow.layers import keras_source
from modelrepo.generator.sources.tensorflow.versions import Written, named_layers, readable, refuse_changed, written
from modelrepo.generator.specs.artifacts import Weights
from modelrepo.generator.specs.options import Options
from modelrepo.generator.specs.source import SourceModel
from modelrepo.generator.system import memory
from modelrepo.generator.system.digests import sha256_of
from modelrepo.generator.system.extras import TENSORFLOW, require
from modelrepo.generator.system.quiet import quiet

BUILT = (
    "Save the whole model with model.save(), or write a function that builds it, in a file such as nets.py: "
    "--model python:nets:FUNCTION --weights {path}"
)
# The suffixes of HDF5 files: Keras chooses by the suffix how to read a file.
HDF5 = (".h5", ".hdf5")
# Keras's words for an argument that a class does not take.
REFUSED = re.compile(
    r"Unrecognized keyword arguments passed to (\w+): \{'(\w+)'"
    r"|(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'"
)
# Its words for a class that it does not find.
UNKNOWN = re.compile(
    r"Could not locate (?:class|function) '([^']+)'|Unknown (?:layer|object): '?([^'.]+)"
    r"|Could not deserialize (?:class|function) '([^']+)'|Could not deserialize '[\w.]*?(\w+)' because it is not"
)
# Layers of Keras 2 that Keras 3 left out: of plain operators of TensorFlow among layers, and some more.
REMOVED = (
    *("TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer", "LocallyConnected1D", "LocallyConnected2D"),
    *("CuDNNLSTM", "CuDNNGRU", "DenseFeatures", "SyncBatchNormalization", "ClassMethod", "InstanceMethod"),
    "InstanceProperty",
)
# Weights are read in parts of about this many bytes.
PART = 32 << 20
# The initializers that draw random numbers; all others of that kind derive from these.
DRAWING = ("VarianceScaling", "RandomNormal", "RandomUniform", "TruncatedNormal", "Orthogonal")


def files(name: str) -> tuple[Path, ...]:
    """Return the file; SourceError for one that is missing, truncated or of another format."""
    path = path_of(name)
    if formats.expect(path, "keras", "hdf5") == "hdf5" and path.suffix not in HDF5:
        if find_spec("h5py"):
            _refuse_weights(path)
        raise SourceError(f"{path} does not end in {HDF5[0]}, as Keras requires", "Rename it, or link to it")
    return (path,)


def check(name: str, options: Options) -> None:
    """Raise SourceError unless ``name`` is a Keras file and the packages that read it are installed."""
    (path,) = files(name)
    require(TENSORFLOW)
    if not is_zipfile(path):
        _refuse_weights(path)


def load(name: str, options: Options, progress: Progress) -> SourceModel:
    """Return the model with the weights of the file.

    Code in the file runs only if ``options.trust_source`` allows it. Raises SourceError for a file that holds code
    or only weights, or that needs classes of the user.
    """
    check(name, options)
    (path,) = files(name)
    reference = f"keras:{path.name}"
    memory.check(_size(path), reference)
    weights = Weights("file", path.name, untrained=False, sha256=sha256_of(path))
    return keras_source(reference, _loaded(path, options.trust_source), options, weights)


def _refuse_weights(path: Path) -> None:
    """Raise SourceError for an HDF5 file without the configuration of a model, which Keras writes as its attribute."""
    import h5py  # type: ignore[import-untyped]

    try:
        with h5py.File(path, "r") as file:
            whole = "model_config" in file.attrs
    except OSError:  # Keras reports it
        return
    if not whole:
        raise SourceError(f"{path} holds weights, not a model", BUILT.format(path=shlex.quote(str(path))))


def _size(path: Path) -> int:
    """Return the bytes of the weights, and of little else."""
    if not is_zipfile(path):
        return path.stat().st_size
    with ZipFile(path) as archive:
        return sum(member.file_size for member in archive.infolist())


def _loaded(path: Path, trust: bool) -> Any:
    keras = tensorflow.keras()
    file = written(path)
    refuse_changed(path, file)
    try:
        with quiet(), _without_drawing(keras), _by_parts(keras), _unpacked(path) as content, readable(content, file):
            return keras.saving.load_model(content, compile=False, safe_mode=not trust)
    except Exception as error:  # Keras raises TypeError, ValueError, KeyError, OSError, … for files that it can't read
        raise _unreadable(path, file, error) from error


@contextmanager
def _unpacked(path: Path) -> Iterator[Path]:
    """Yield a folder with the content of an archive: from an archive, Keras reads all weights at once, and twice."""
    if not is_zipfile(path):
        yield path
        return
    with TemporaryDirectory() as folder:
        with ZipFile(path) as archive:
            archive.extractall(folder)
        yield Path(folder)


@contextmanager
def _without_drawing(keras: Any) -> Iterator[None]:
    """Leave weights uninitialized until those of the file replace them, which takes no memory before.

    Drawing random numbers for a weight takes its size three times, for values that are replaced anyway.
    """
    empty = tensorflow.tensorflow().raw_ops.Empty
    initializers = [getattr(keras.initializers, name) for name in DRAWING]
    kept = [each.__call__ for each in initializers]
    for each in initializers:
        each.__call__ = lambda self, shape, dtype=None, **more: empty(shape=shape, dtype=dtype or keras.config.floatx())
    try:
        yield
    finally:
        for each, own in zip(initializers, kept, strict=True):
            each.__call__ = own


@contextmanager
def _by_parts(keras: Any) -> Iterator[None]:
    """Assign a large weight in parts: Keras holds it three times while it makes one tensor of it.

    A value with another shape than its variable is left to Keras, which reports it.
    """
    operators = tensorflow.tensorflow().raw_ops
    whole = keras.Variable.assign

    def assign(self: Any, value: Any) -> Any:
        shape = tuple(self.shape)  # TensorFlow's shape of a scalar is not empty to Python
        rows = max(1, PART // max(1, self.value.dtype.size * prod(shape[1:])))
        if tuple(getattr(value, "shape", ())) != shape or not shape or rows >= shape[0]:
            return whole(self, value)
        for start in range(0, shape[0], rows):
            part = self._convert_to_tensor(value[start : start + rows], dtype=self._dtype)
            operators.ResourceStridedSliceAssign(
                ref=self.value.handle, begin=[start], end=[start + rows], strides=[1], value=part
            )
        operators.DisableCopyOnRead(
            resource=self.value.handle
        )  # TensorFlow expects more assignments after one of a part
        return self.value

    keras.Variable.assign = assign
    try:
        yield
    finally:
        keras.Variable.assign = whole


def _unreadable(path: Path, file: Written, error: Exception) -> SourceError:
    text = " ".join(str(error).split())
    if "safe_mode" in text or "unsafe" in text.lower():
        return SourceError(
            f"{path} holds Python code, such as a Lambda layer's",
            "Allow it to run with --trust-source if you trust the file, or write the layer as a class of your own",
        )
    if "No model config" in text or "model_config" in text:
        return SourceError(
            f"{path} holds weights, not a model",
            BUILT.format(path=shlex.quote(str(path))),
        )
    refused = REFUSED.search(text)
    if refused:
        return _other_argument(path, file, refused[1] or refused[3], refused[2] or refused[4])
    unknown = UNKNOWN.search(text)
    name = next(filter(None, unknown.groups())) if unknown else ""
    if name in REMOVED:
        return SourceError(f"{path} needs {name!r}, a layer of Keras 2 that Keras 3 does not have", _saved(file))
    if name:
        return SourceError(
            f"{path} needs {name!r}, which is not part of Keras",
            "Load it where that is defined: --model python:MODULE:FACTORY, where FACTORY returns the loaded model",
        )
    _, dumped, reason = str(error).rpartition("Exception encountered: ")  # before it, Keras prints configurations
    shown = f"{type(error).__name__}: {first_line(reason)}" if dumped else cause(error).partition(" using config=")[0]
    return SourceError(f"can't load {path}: {shown}", IN_CODE)


def _other_argument(path: Path, file: Written, kind: str, argument: str) -> SourceError:
    """Return the error of an argument that the installed Keras does not know, with the layer that has it."""
    import keras

    layers = [own for each, own in named_layers(file.config) if each == kind and argument in own]
    layer = f"layer {layers[0].get('name', kind)!r}, a {kind}," if layers else f"a {kind}"
    value = f"={layers[0][argument]!r}" if layers else ""
    return SourceError(
        f"can't load {path}: {layer} has the argument {argument}{value:.60} of Keras {file.version or '2'}, which "
        f"Keras {keras.__version__} does not know",
        _saved(file),
    )


def _saved(file: Written) -> str:
    version = f"Keras {file.version}" if file.version else "the Keras that wrote it"
    return f"With {version}, save it with tf.saved_model.save(model, FOLDER), and give --model savedmodel:FOLDER"


SOURCE = file_source(
    form="keras:FILE",
    summary="Keras models, .keras or .h5",
    frameworks=("tensorflow",),
    load=load,
    check=check,
    files=files,
    options=("input_shape", "dynamic", "opset", "trust_source"),
    packages=("keras",),
    extras=(TENSORFLOW,),
)
