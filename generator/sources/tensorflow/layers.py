"""Keras models as sources: their inputs and outputs, read from their layers, and run in inference mode."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from modelrepo.generator.errors import ConversionError, SourceError
from modelrepo.generator.sources.tensorflow import cause, keras, tensorflow
from modelrepo.generator.sources.tensorflow.declared import COUNTED, INPUT, Declared, declared_shape, dtype_name, named
from modelrepo.generator.sources.tensorflow.function import Call, array_of, flattened, function_source
from modelrepo.generator.specs.artifacts import Weights
from modelrepo.generator.specs.options import Options
from modelrepo.generator.specs.source import SourceModel
from modelrepo.generator.specs.tensors import Domain, unknown_domain
from modelrepo.generator.system.quiet import quiet

# The number of words of a vocabulary that a model is run on.
CHOICES = 16


def keras_source(
    reference: str,
    model: Any,
    options: Options,
    weights: Weights,
) -> SourceModel:
    """Return a source of a Keras 3 model in memory, run in inference mode: without dropout, with trained statistics.

    ``options`` give the sizes that the model leaves open (``input_shape``), and the dynamic axes (``dynamic``). Raises
    SourceError for a model that is not built if no example is given, or that fails on its own inputs, and OptionError
    for an example that it does not take.
    """
    library = keras()
    declared, structure = _keras_inputs(reference, model, options)
    _check_forgetful(reference, model)
    mixed = _in_full_precision(model)

    def call(tensors: Sequence[Any]) -> Any:
        packed = library.tree.pack_sequence_as(structure, list(tensors))
        return model(packed, training=False)

    source = function_source(
        reference,
        call,
        declared,
        options,
        weights,
        owner=model,
        output_names=_keras_outputs(model),
        notes=mixed,
    )
    if any(isinstance(dim, str) for spec in source.inputs for dim in spec.shape[1:]):
        return replace(source, notes=(*source.notes, *_compared(source, call)))
    return source


def _keras_inputs(reference: str, model: Any, options: Options) -> tuple[tuple[Declared, ...], Any]:
    """Return a Keras model's inputs, and the structure that nests them."""
    library = keras()
    if not getattr(model, "inputs", None):
        return _unbuilt_inputs(reference, model, options)
    tensors = model.inputs
    structure = tensors[0] if isinstance(model, library.Sequential) else model.input
    sparse = [tensor.name for tensor in tensors if tensor.sparse or getattr(tensor, "ragged", False)]
    if sparse:
        raise ConversionError(f"input {sparse[0]!r} of {reference} is sparse or ragged: Triton has only tensors")
    paths = [".".join(map(str, path)) for path, _ in library.tree.flatten_with_path(structure)]
    names = [
        tensor.name if not COUNTED.fullmatch(tensor.name) else path if not path.replace(".", "").isdigit() else ""
        for path, tensor in zip(paths, tensors, strict=True)
    ]
    readers = _readers(model)
    declared = []
    for name, tensor in zip(named(names, INPUT), tensors, strict=True):
        dtype = dtype_name(library.backend.standardize_dtype(tensor.dtype), name)
        declared.append(
            Declared(name, dtype, declared_shape(tensor.shape), _domain(dtype, tensor, readers.get(id(tensor), ())))
        )
    return tuple(declared), structure


def _unbuilt_inputs(reference: str, model: Any, options: Options) -> tuple[tuple[Declared, ...], Any]:
    """Return the inputs of a model without a graph of layers, from the user's examples or its build shape."""
    shapes = {each.name or INPUT: each for each in options.input_shape}
    if shapes:
        declared = tuple(
            Declared(name, each.dtype or "float32", (None, *each.shape[1:]) if each.shape else ())
            for name, each in shapes.items()
        )
    else:
        built = (model.get_build_config() or {}).get("input_shape") if hasattr(model, "get_build_config") else None
        if not built or not all(isinstance(size, int | None) for size in built):
            raise SourceError(
                f"nothing describes the inputs of {reference}: it was saved before it was built",
                "Give an example of each with --input-shape, such as input=1x224x224x3:float32",
            )
        declared = (Declared(INPUT, "float32", (None, *built[1:])),)
    names = [each.name for each in declared]
    return declared, names[0] if len(names) == 1 else dict.fromkeys(names)


def _readers(model: Any) -> dict[int, list[Any]]:
    """Return the layers that read each input or intermediate tensor, by the id of the tensor."""
    found: dict[int, list[Any]] = {}
    for layer in model._flatten_layers():
        for node in getattr(layer, "_inbound_nodes", ()):
            for tensor in node.input_tensors:
                found.setdefault(id(tensor), []).append(layer)
    return found


def _domain(dtype: str, tensor: Any, readers: Sequence[Any]) -> Domain:
    """Return the domain of an input: the indices of an Embedding, the words of a lookup, else any values."""
    layers = keras().layers
    places = [layer.input_dim for layer in readers if isinstance(layer, layers.Embedding)]
    if places:
        return Domain(0.0, min(places) - 1.0)
    for layer in readers:
        if isinstance(layer, (layers.StringLookup, layers.IntegerLookup)) and not layer.invert:
            known = layer.get_vocabulary(include_special_tokens=False)[:CHOICES]
            return Domain(choices=(*(str(each) if dtype == "object" else int(each) for each in known),))
    image = dtype == "float32" and len(tensor.shape) == 4  # images may have any values
    return Domain() if image else unknown_domain(dtype)


def _check_forgetful(reference: str, model: Any) -> None:
    """Raise ConversionError for a model whose output depends on earlier requests, which may be another client's."""
    stateful = next((layer.name for layer in model._flatten_layers() if getattr(layer, "stateful", False)), None)
    if stateful is not None:
        raise ConversionError(
            f"layer {stateful!r} of {reference} is stateful: its output depends on earlier requests",
            "Build it with stateful=False, with its state as an input and an output if that is needed",
        )


def _in_full_precision(model: Any) -> tuple[str, ...]:
    """Let layers of mixed precision compute in float32, as their weights are; return a note if there are any."""
    mixed = [layer for layer in model._flatten_layers() if layer.dtype_policy.name.startswith("mixed_")]
    name = mixed[0].dtype_policy.name if mixed else ""
    for layer in mixed:
        layer.dtype_policy = "float32"
    return (f"its layers have the policy {name}: they compute in float32, as their weights are",) if mixed else ()


def _compared(source: SourceModel, call: Call) -> tuple[str, ...]:
    """Raise SourceError if a model returns something else as a graph than layer by layer, as some code does.

    Returns a note if its layers fail on the example, so that there is nothing to compare with.
    """
    import numpy as np

    from modelrepo.generator.verification.inputs import (
        example,
        example_sizes,
    )  # imports numpy, which no help page needs

    library = tensorflow()
    sizes = example_sizes(source.inputs)
    arrays = {spec.name: example(spec, sizes) for spec in source.inputs}
    try:
        with quiet():
            answer = call([library.constant(array) for array in arrays.values()])
    except Exception as error:  # any error of the layers' code
        return (f"its graph was not compared with its layers, which fail on an example of it: {cause(error)}",)
    tensors, names, _ = flattened(source.reference, answer, source.inputs, source.output_names)
    for name, wanted in zip(names, tensors, strict=True):
        one, other = array_of(wanted), source.run(arrays)[name]
        if one.shape != other.shape or (
            one.dtype.kind == "f" and not np.allclose(one, other, 1e-2, 1e-2, equal_nan=True)
        ):
            raise SourceError(
                f"{source.reference} answers {list(one.shape)} layer by layer, but {list(other.shape)} as a graph of "
                f"any size, in output {name!r}",
                "Fix its sizes with --input-shape, or change the layer that reads the shape of its input",
            )
    return ()


def _keras_outputs(model: Any) -> tuple[str, ...]:
    """Return the names that a model's layers give its outputs; none if the structure of its answer has names."""
    names = tuple(getattr(model, "output_names", None) or ()) if getattr(model, "inputs", None) else ()
    return () if isinstance(getattr(model, "output", None) if names else None, Mapping) else names
