"""What can be refused before a model is loaded: data, weights and names of classes that no model could use."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelrepo.generator import sources
from modelrepo.generator.errors import OptionError
from modelrepo.generator.graphs.onnx_file import read_signature
from modelrepo.generator.graphs.walk import required_inputs
from modelrepo.generator.pipeline import labels
from modelrepo.generator.sources import formats, onnx
from modelrepo.generator.specs.options import Options
from modelrepo.generator.specs.tensors import DTYPES, Signature, TensorSpec, unknown_domain
from modelrepo.generator.verification import datasets

# Formats without weights that could be fitted to a network, as ``formats`` names them; others are tried.
NOT_WEIGHTS = {
    *("text", "page", "pointer", "arrays", "onnx", "tflite", "keras", "skops", "plan", "gguf", "graph"),
    *("torchscript", "pt2", "savedmodel", "saved_model.pb", "hf", "folder"),
}


def check_data(options: Options) -> None:
    """Raise OptionError for names of classes, samples or calibration data that can't be read; only headers are read."""
    if options.labels:
        labels.read(options.labels)
    if options.label_column and not options.samples and not options.calibration.path:
        raise OptionError("--label-column was given without samples", "Give them with --samples or --calibration")
    if options.samples:
        datasets.check(options.samples, options.label_column)
    if options.calibration.path:  # which may have no labels
        datasets.check(options.calibration.path)


def check_weights(options: Options) -> None:
    """Raise SourceError for a file of weights that is missing, empty, cut off, or something else."""
    if options.weights in ("pretrained", "random"):
        return
    path = Path(options.weights)
    if formats.kind_of(path) in NOT_WEIGHTS:
        formats.expect(path, "state dict", "safetensors")


def check_fit(options: Options) -> None:
    """Raise OptionError for samples or calibration data that don't fit the only input of an ONNX file.

    The inputs of other models, and whether an ONNX file takes batches, are known when it is loaded.
    """
    source, name = sources.find(options.model)
    paths = [path for path in (options.samples, options.calibration.path) if path]
    if not paths or source is not sources.SOURCES["onnx"]:
        return
    forms = _forms(onnx.read(name).model.graph)
    for path in paths if forms else ():
        pictures, _ = datasets.found_at(path)
        if not pictures:
            _check_any(path, forms, options.label_column)


def _check_any(path: Path, forms: Sequence[Signature], column: str) -> None:
    """Raise OptionError for data that fits none of some forms of a model, with the reason for the first."""
    problems: list[OptionError] = []
    for form in forms:
        try:
            datasets.read(path, form, column=column)
            return
        except OptionError as error:
            problems.append(error)
    raise problems[0]


def _forms(graph: Any) -> tuple[Signature, ...]:
    """Return the only input of a GraphProto as a model takes it in batches, and as one without batches does.

    None if there are more inputs, or it has no shape.
    """
    from onnx import GraphProto

    values = required_inputs(graph)
    if len(values) != 1 or not values[0].type.tensor_type.HasField("shape"):
        return ()
    (spec,) = read_signature(GraphProto(input=values)).inputs
    if spec.dtype not in DTYPES or not spec.shape:
        return ()
    spec = replace(spec, domain=unknown_domain(spec.dtype))
    batched = Signature((replace(spec, shape=("batch", *spec.shape[1:])),), ())
    return batched, Signature((spec,), (TensorSpec("", "float32", ()),))
