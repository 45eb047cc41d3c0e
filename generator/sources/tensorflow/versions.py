"""Keras configurations of other versions, in the words of the installed one.

Keras 3 refuses arguments that Keras 2 wrote though they change nothing (keras-team/keras#19151). It does not find the
classes of a .keras archive of Keras 2, takes their hard_sigmoid for its own, which is another function, and drops an
``axis`` of several numbers from .h5 files (no issues known).
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch
from zipfile import ZipFile, is_zipfile

from modelrepo.generator.errors import SourceError
from modelrepo.generator.sources.tensorflow.calls import called

SEPARABLE = ("SeparableConv1D", "SeparableConv2D")
UNGROUPED = (
    *SEPARABLE,
    *("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose", "DepthwiseConv1D", "DepthwiseConv2D"),
)
RECURRENT = ("RNN", "SimpleRNN", "LSTM", "GRU", "CuDNNLSTM", "CuDNNGRU", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D")
RANDOM = (
    *("RandomFlip", "RandomRotation", "RandomZoom", "RandomContrast", "RandomTranslation", "RandomCrop"),
    *("RandomBrightness", "RandomHeight", "RandomWidth"),
)
SPATIAL = ("SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D")
# The layers of Keras 2 that Keras 3 has for its files alone.
LEGACY = ("RandomHeight", "RandomWidth", "ThresholdedReLU")
MODELS = {"Functional": "keras.src.models.functional", "Sequential": "keras", "Model": "keras"}
LAYERS, LEGACY_LAYERS = "keras.layers", "keras.src.legacy.layers"
# The members of an archive that describe its model.
CONFIG, METADATA = "config.json", "metadata.json"
POLICIES = ("Policy", "PolicyV1")


@dataclass(frozen=True)
class Leftover:
    """An argument that a layer of Keras 3 does not take, and the values that say what it does anyway; None for any."""

    layers: tuple[str, ...]
    argument: str
    values: tuple[Any, ...] | None = None


# Another argument that changes nothing is another row.
LEFTOVERS = (
    Leftover(UNGROUPED, "groups", (1,)),
    # of a kernel that these layers do not have: theirs are a depthwise and a pointwise one
    *(Leftover(SEPARABLE, f"kernel_{each}") for each in ("initializer", "regularizer", "constraint")),
    Leftover(RECURRENT, "time_major", (False,)),
    # without weights there is nothing to train; their noise has the shape of the input
    *(Leftover(SPATIAL, each) for each in ("noise_shape", "trainable")),
    Leftover(RANDOM, "rng_type"),  # they draw only in training
    Leftover(("Discretization",), "trainable"),  # it has no weights
    # the type of its answer in Keras 2; in Keras 3, the one that it computes in
    Leftover(("Discretization",), "dtype", ("int64", "int32")),
    Leftover(
        ("Attention",), "score_mode", ("dot",)
    ),  # the default, which an .h5 file gets as the function keras.layers.dot
    Leftover(("MultiHeadAttention",), "softmax_robust_masking", (False,)),
    # these follow from the tensors that it is called with
    *(Leftover(("MultiHeadAttention",), f"{each}_shape") for each in ("query", "key", "value")),
)


def translated(described: Any, archive: bool) -> Any:
    """Return a description from a model's configuration, and all within it, as the installed Keras reads it.

    ``archive`` says that it is from a .keras archive, whose objects name their modules; those of .h5 files need not.
    """
    if isinstance(described, list):
        return [translated(each, archive) for each in described]
    if not isinstance(described, dict):
        return described
    if str(described.get("class_name", "")).startswith("__"):  # a value, such as a tensor, and no layer
        return described
    found = {name: translated(value, archive) for name, value in described.items()}
    if not isinstance(found.get("class_name"), str) or not isinstance(found.get("config"), dict):
        return found
    return _of_object(found, archive)


@dataclass(frozen=True)
class Written:
    """What a file says of its model: its configuration, and the version of Keras that wrote it, "" if unknown."""

    config: Any
    version: str

    @property
    def is_of_keras_2(self) -> bool:
        """Whether Keras 2, or an older one that did not write its version, wrote the file."""
        return self.version.partition(".")[0] in ("", "1", "2")


def written(path: Path) -> Written:
    """Return what a .keras archive or an .h5 file says of its model; nothing of one that is damaged."""
    with suppress(OSError, KeyError, ValueError):
        if is_zipfile(path):
            with ZipFile(path) as archive:
                about = json.loads(archive.read(METADATA))
                return Written(json.loads(archive.read(CONFIG)), str(about.get("keras_version", "")))
        import h5py  # type: ignore[import-untyped]

        with h5py.File(path, "r") as file:
            return Written(json.loads(file.attrs["model_config"]), str(file.attrs.get("keras_version", "")))
    return Written({}, "")


@contextmanager
def readable(content: Path, file: Written) -> Iterator[None]:
    """Let Keras read the configurations of other versions, in an unpacked archive or an .h5 file."""
    from keras.src import activations
    from keras.src.legacy.saving import json_utils

    with ExitStack() as stack:
        if content.is_dir() and file.config:
            (content / CONFIG).write_text(json.dumps(translated(file.config, archive=True)), "utf-8")
        decode = json_utils.decode
        stack.enter_context(patch.object(json_utils, "decode", lambda text: translated(decode(text), archive=False)))
        if file.is_of_keras_2:
            stack.enter_context(patch.dict(activations.ALL_OBJECTS_DICT, hard_sigmoid=hard_sigmoid))
        yield


def refuse_changed(path: Path, file: Written) -> None:
    """Raise SourceError for a layer of Keras 2 that is another one in Keras 3."""
    crops = [own.get("name", kind) for kind, own in named_layers(file.config) if kind == "RandomCrop"]
    if crops and file.is_of_keras_2:
        raise SourceError(
            f"can't load {path}: layer {crops[0]!r}, a RandomCrop, resizes its images in Keras 2, but leaves "
            "them as they are in Keras 3",
            "Put a Resizing layer in its place, or save it as a SavedModel with the Keras that wrote it",
        )


def hard_sigmoid(x: Any) -> Any:
    """Return Keras 2's function of this name, 0.2 x + 0.5 between 0 and 1; Keras 3's has a slope of 1/6."""
    from keras import ops

    return ops.clip(0.2 * x + 0.5, 0.0, 1.0)


def named_layers(described: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the class and the arguments of each object in a configuration, from the outermost on."""
    if isinstance(described, dict):
        if isinstance(described.get("class_name"), str) and isinstance(described.get("config"), dict):
            yield described["class_name"], described["config"]
        described = list(described.values())
    if isinstance(described, list):
        for each in described:
            yield from named_layers(each)


def _of_object(found: dict[str, Any], archive: bool) -> Any:
    kind = found["class_name"]
    if kind in POLICIES:  # of mixed precision: its name says all
        return found["config"].get("name", found)
    if found.get("registered_name") not in (None, kind):  # a class of the user's
        return found
    arguments = {name: value for name, value in found["config"].items() if not _is_leftover(kind, name, value)}
    if kind in MODELS and isinstance(arguments.get("layers"), list):
        arguments["layers"] = called(arguments["layers"])
    axis = arguments.get("axis")
    several = isinstance(axis, list) and len(axis) > 1
    if kind == "BatchNormalization" and isinstance(axis, list) and not several:
        arguments["axis"] = axis[0]
    shape = arguments.get("batch_input_shape")
    if shape and kind not in ("InputLayer", *MODELS):  # Keras 3 would count the batch twice
        del arguments["batch_input_shape"]
        arguments["input_shape"] = shape[1:]
    return {**found, "config": arguments, **_module(found, archive or several)}


def _is_leftover(kind: str, argument: str, value: Any) -> bool:
    return any(
        kind in each.layers and argument == each.argument and (each.values is None or value in each.values)
        for each in LEFTOVERS
    )


def _module(found: Mapping[str, Any], needed: bool) -> dict[str, Any]:
    """Return where Keras finds a class: what is needed of ``module`` and ``registered_name``, or nothing."""
    import keras

    kind, own = found["class_name"], str(found.get("module") or "")
    own = own.removeprefix("tf_") if own.startswith("tf_keras.") else own
    if kind in LEGACY and own in ("", LAYERS):
        return {"module": LEGACY_LAYERS, "registered_name": None}
    if kind in MODELS and (own.startswith("keras.") or (needed and not own)):
        return {"module": MODELS[kind], "registered_name": found.get("registered_name")}
    if own:
        return {"module": own}
    is_layer = needed and hasattr(keras.layers, kind)
    return {"module": LAYERS, "registered_name": None} if is_layer else {}
