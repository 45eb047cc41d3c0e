"""TensorFlow models of every form, asked alike: named arrays in, named arrays out, however the model nests its own.

A Keras model of user code is ``keras_source``, another callable of TensorFlow's ``function_source``.
"""

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from generator.errors import ConversionError, InputRefused, OptionError, SourceError
from generator.extras import need
from generator.quiet import quiet
from generator.sources.model import SourceModel, with_dynamic
from generator.specs import DTYPES, Arrays, Dim, Domain, InputShape, Options, TensorSpec, Weights, unknown_domain

INPUT, OUTPUT, BATCH = "input", "output", "batch"
# Heights and widths of an image that a model takes in any size: multiples of what networks halve it by.
IMAGE_SIZES = (64, 96, 128)
# How many words of a vocabulary a model is asked.
CHOICES = 16
# Names that Keras counts up for what the user did not name: they differ from run to run.
COUNTED = re.compile(r"(keras_tensor|input_layer|input|inputs)(_\d+)?")
COUNTED_TENSOR = re.compile(r"keras_tensor(_\d+)?")
# Lines in which TensorFlow says where an error was raised.
WHERE = re.compile(
    r"Graph execution error|Detected at node|Exception encountered|Arguments received|File \"|\[\[|<stack|Stack trace"
)
# Nothing says what an input can be asked.
UNKNOWN = Domain(known=False)
# What calls a model with its inputs, in their order.
Call = Callable[[Sequence[Any]], Any]


@dataclass(frozen=True)
class Traced:
    """A model as a function of flat tensors, in the order of its inputs and outputs; ``owner`` has its variables."""

    function: Any
    owner: Any


@dataclass(frozen=True)
class Declared:
    """What a model says about an input: None is a dimension of any size, or a shape of any rank."""

    name: str
    dtype: str
    shape: tuple[int | None, ...] | None
    domain: Domain = UNKNOWN


def tensorflow() -> Any:
    """Import TensorFlow, silently and for the CPU alone; SourceError where it is missing."""
    if "tensorflow" in sys.modules:
        return need("tensorflow", extra="tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # What oneDNN's allocator has had once, it keeps: VGG16 took 1.4 GB after loading, and 0.6 GB without it.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    with unheard():
        module = need("tensorflow", extra="tensorflow")
        module.config.set_visible_devices([], "GPU")
        module.constant(0)  # what the runtime has to say about the machine, it says when it starts
    return module


def keras() -> Any:
    """Import Keras on TensorFlow; SourceError where it runs on another backend already, or is missing."""
    tensorflow()
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = "tensorflow"
    module = need("keras", extra="tensorflow")
    if module.backend.backend() != "tensorflow":
        raise SourceError(
            f"Keras runs on {module.backend.backend()} here, and only what it runs on TensorFlow can be exported",
            "Set KERAS_BACKEND=tensorflow",
        )
    return module


def keras_source(
    reference: str,
    model: Any,
    options: Options,
    weights: Weights,
    *,
    labels: tuple[str, ...] = (),
    preprocess: Mapping[str, Any] | None = None,
    companions: Mapping[str, Path] | None = None,
    notes: tuple[str, ...] = (),
) -> SourceModel:
    """Return a source of a Keras 3 model in memory, asked as in inference: without dropout, with trained statistics.

    ``options`` give the sizes that the model leaves open (``input_shape``), and what stays open (``dynamic``). Raises
    SourceError for a model that was not built and no example given, or that fails on its own inputs, and OptionError
    for an example that it does not take.
    """
    library = keras()
    declared, structure = _keras_inputs(reference, model, options)
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
        labels=labels,
        preprocess=preprocess,
        companions=companions,
        notes=(*notes, *mixed),
    )
    if any(isinstance(dim, str) for spec in source.inputs for dim in spec.shape[1:]):
        _check_alike(source, call)
    return source


def function_source(
    reference: str,
    call: Call,
    declared: Sequence[Declared],
    options: Options,
    weights: Weights,
    *,
    owner: Any = None,
    output_names: tuple[str, ...] = (),
    labels: tuple[str, ...] = (),
    preprocess: Mapping[str, Any] | None = None,
    companions: Mapping[str, Path] | None = None,
    notes: tuple[str, ...] = (),
) -> SourceModel:
    """Return a source of a callable that takes tensors as ``declared``, in one sequence, and answers nested ones.

    ``owner`` is kept alive for its variables. ``output_names`` are taken where there are as many outputs; others are
    named for where they stand in the answer. Raises as ``keras_source`` does.
    """
    inputs = input_specs(reference, declared, options)
    function, names, told = _traced(reference, call, inputs, output_names)
    return SourceModel(
        reference=reference,
        framework="tensorflow",
        native=Traced(function, owner),
        inputs=inputs,
        output_names=names,
        run=_runner(function, inputs, names),
        weights=weights,
        labels=labels,
        preprocess=preprocess,
        companions=companions or {},
        notes=(*notes, *told),
    )


def declared_from(specs: Mapping[str, Any]) -> tuple[Declared, ...]:
    """Return what a signature of TensorFlow's says: its ``tf.TensorSpec`` by the name of each argument."""
    names = named(["" if COUNTED_TENSOR.fullmatch(name) else name for name in specs], INPUT)
    return tuple(
        Declared(name, dtype_name(spec.dtype.name, name), _shape(spec.shape))
        for name, spec in zip(names, specs.values(), strict=True)
    )


def input_specs(reference: str, declared: Sequence[Declared], options: Options) -> tuple[TensorSpec, ...]:
    """Return a model's inputs, with the sizes of ``options.input_shape`` and what ``options.dynamic`` opens."""
    if not declared:
        raise SourceError(f"{reference} has no inputs, so there is nothing to ask it")
    examples = {each.name or declared[0].name: each for each in options.input_shape}
    unknown = examples.keys() - {each.name for each in declared}
    if unknown or (len(declared) > 1 and any(not each.name for each in options.input_shape)):
        named = min(unknown, default="")
        raise OptionError(
            f"--input-shape names the input {named!r}" if named else "--input-shape does not say which input it is of",
            f"The model takes {', '.join(each.name for each in declared)}",
        )
    specs = tuple(_input(reference, each, examples.get(each.name)) for each in declared)
    return with_dynamic(specs, options.dynamic)


def dtype_name(dtype: str, name: str) -> str:
    """Return numpy's name of a type of TensorFlow's, such as object for string; ConversionError for one without."""
    found = {"string": "object"}.get(dtype, dtype)
    if found not in DTYPES:
        raise ConversionError(f"{name!r} is of type {dtype}, which can't be served")
    return found


def unique(names: Sequence[str] | Mapping[str, Any], taken: Sequence[str] = ()) -> tuple[str, ...]:
    """Return names without what Triton or file systems read in them, each once."""
    found: list[str] = []
    for name in names:
        clean = re.sub(r"[^A-Za-z0-9_.]", "_", name.removesuffix(":0")) or "tensor"
        number, wanted = 1, clean
        while clean in found or clean in taken:
            clean, number = f"{wanted}_{number}", number + 1
        found.append(clean)
    return tuple(found)


def named(names: Sequence[str], kind: str) -> tuple[str, ...]:
    """Return names in which those that nobody gave are the ``kind`` of tensor, numbered where there are several."""
    return unique([name or (kind if len(names) == 1 else f"{kind}_{number}") for number, name in enumerate(names)])


@contextmanager
def unheard() -> Iterator[None]:
    """Discard what is written to the process's own stderr, where TensorFlow's C++ greets whoever imports it."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


# What Keras says of a model.


def _keras_inputs(reference: str, model: Any, options: Options) -> tuple[tuple[Declared, ...], Any]:
    """Return a Keras model's inputs, and the structure that it takes them in."""
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
            Declared(name, dtype, _shape(tensor.shape), _domain(dtype, tensor, readers.get(id(tensor), ())))
        )
    return tuple(declared), structure


def _unbuilt_inputs(reference: str, model: Any, options: Options) -> tuple[tuple[Declared, ...], Any]:
    """Return the inputs of a model without a graph of layers, as it was built, or as the user's examples say."""
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
                f"nothing says what the inputs of {reference} are like: it was saved before it was built",
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
    """Return what an input can be asked: the places of an Embedding, the words of a lookup, else any values."""
    layers = keras().layers
    places = [layer.input_dim for layer in readers if isinstance(layer, layers.Embedding)]
    if places:
        return Domain(0.0, min(places) - 1.0)
    for layer in readers:
        if isinstance(layer, (layers.StringLookup, layers.IntegerLookup)) and not layer.invert:
            known = layer.get_vocabulary(include_special_tokens=False)[:CHOICES]
            return Domain(choices=(*(str(each) if dtype == "object" else int(each) for each in known),))
    image = dtype == "float32" and len(tensor.shape) == 4  # of any values are answered
    return Domain() if image else unknown_domain(dtype)


def _in_full_precision(model: Any) -> tuple[str, ...]:
    """Let layers of mixed precision compute in float32, as their weights are; return a note where there are such."""
    mixed = [layer for layer in model._flatten_layers() if layer.dtype_policy.name.startswith("mixed_")]
    name = mixed[0].dtype_policy.name if mixed else ""
    for layer in mixed:
        layer.dtype_policy = "float32"
    return (f"its layers have the policy {name}: they compute in float32, as their weights are",) if mixed else ()


def _check_alike(source: SourceModel, call: Call) -> None:
    """Raise SourceError where a model answers otherwise as a graph than layer by layer, as some code does."""
    import numpy as np

    from generator.inputs import example, example_sizes  # brings numpy, which no help page needs

    library = tensorflow()
    sizes = example_sizes(source.inputs)
    arrays = {spec.name: example(spec, sizes) for spec in source.inputs}
    try:
        with quiet():
            answer = call([library.constant(array) for array in arrays.values()])
    except Exception:  # an example that the model refuses; verification finds others
        return
    tensors, names, _ = _flattened(source.reference, answer, source.inputs, source.output_names)
    for name, wanted in zip(names, tensors, strict=True):
        one, other = array_of(wanted), source.run(arrays)[name]
        if one.shape != other.shape or (
            one.dtype.kind == "f" and not np.allclose(one, other, 1e-2, 1e-2, equal_nan=True)
        ):
            raise SourceError(
                f"{source.reference} answers {list(other.shape)} as a graph of any size where it answers "
                f"{list(one.shape)} layer by layer, in output {name!r}",
                "Fix its sizes with --input-shape, or change the layer that reads the shape of its input",
            )


def _keras_outputs(model: Any) -> tuple[str, ...]:
    """Return the names that a model's layers give its outputs; none where the structure of its answer has names."""
    names = tuple(getattr(model, "output_names", None) or ()) if getattr(model, "inputs", None) else ()
    return () if isinstance(getattr(model, "output", None) if names else None, Mapping) else names


# From what is declared to what is asked.


def _shape(shape: Any) -> tuple[int | None, ...] | None:
    if shape is None or getattr(shape, "rank", 0) is None:
        return None
    return tuple(None if dim is None else int(dim) for dim in shape)


def _input(reference: str, declared: Declared, example: InputShape | None) -> TensorSpec:
    shape = declared.shape
    if example and example.dtype and example.dtype != declared.dtype:
        raise OptionError(f"--input-shape says {example.dtype} of {declared.name!r}", f"The model has {declared.dtype}")
    if shape is None and example is not None:
        shape = (None, *example.shape[1:])
    if shape is None:
        raise SourceError(
            f"nothing says how many dimensions the input {declared.name!r} of {reference} has",
            f"Give an example with --input-shape, such as {declared.name}=1x224x224x3:{declared.dtype}",
        )
    dims: list[Dim] = [_dim(declared.name, axis, size) for axis, size in enumerate(shape)]
    if example:
        dims = _with_example(declared, dims, example)
    sizes = _image_sizes(dims) if declared.dtype != "object" else {}
    return TensorSpec(declared.name, declared.dtype, tuple(dims), declared.domain, sizes)


def _dim(name: str, axis: int, size: int | None) -> Dim:
    return size if size is not None else f"{name}_{axis}" if axis else BATCH


def _with_example(declared: Declared, dims: list[Dim], example: InputShape) -> list[Dim]:
    """Return dimensions with the sizes of an example, given with the batch or as one sample; the batch stays open."""
    lead = dims[:1] == [BATCH]
    given = (1, *example.shape) if lead and len(example.shape) == len(dims) - 1 else example.shape
    fixed = [(dim, size) for dim, size in zip(dims, given, strict=False) if isinstance(dim, int)]
    if len(given) != len(dims) or any(dim != size for dim, size in fixed):
        written = "x".join("N" if isinstance(dim, str) else str(dim) for dim in dims)
        raise OptionError(
            f"--input-shape {'x'.join(map(str, example.shape))} does not fit the input {declared.name!r}",
            f"The model has {written}, where N is any size",
        )
    return [BATCH if lead and not axis else size for axis, size in enumerate(given)]


def _image_sizes(dims: Sequence[Dim]) -> dict[str, tuple[int, ...]]:
    """Return sizes for the open dimensions of what is an image: four dimensions, the last of them its colours."""
    if len(dims) != 4 or not isinstance(dims[3], int):
        return {}
    return {dim: IMAGE_SIZES for dim in dims[1:3] if isinstance(dim, str)}


# From a call to a function of flat tensors.


def _traced(
    reference: str, call: Call, inputs: Sequence[TensorSpec], wanted: tuple[str, ...]
) -> tuple[Any, tuple[str, ...], tuple[str, ...]]:
    """Return a concrete function of flat tensors, the names of its outputs, and notes on what was left out."""
    library = tensorflow()
    signature = [
        library.TensorSpec(
            [None if isinstance(dim, str) else dim for dim in spec.shape],
            library.string if spec.dtype == "object" else spec.dtype,
            name=re.sub(r"[^A-Za-z0-9_]", "_", f"in_{spec.name}"),
        )
        for spec in inputs
    ]
    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def flat(*tensors: Any) -> list[Any]:
        nonlocal names, notes
        answers, names, notes = _flattened(reference, call(tensors), inputs, wanted)
        return [library.identity(answer) for answer in answers]

    try:
        with quiet():
            function = library.function(flat, input_signature=signature, autograph=False).get_concrete_function()
    except (SourceError, ConversionError):
        raise
    except Exception as error:  # whatever the model's code raises
        shapes = ", ".join(map(str, inputs))
        raise SourceError(
            f"{reference} itself fails on {shapes}: {cause(error)}", "Give an example of each input with --input-shape"
        ) from error
    return function, names, notes


def _flattened(
    reference: str, answer: Any, inputs: Sequence[TensorSpec], wanted: tuple[str, ...]
) -> tuple[list[Any], tuple[str, ...], tuple[str, ...]]:
    library = tensorflow()
    paths, answers, notes = [], [], []
    for path, leaf in _leaves(answer):
        name = "_".join(map(str, path if path and isinstance(path[0], str) else (OUTPUT, *path)))
        if isinstance(leaf, (library.RaggedTensor, library.SparseTensor)):
            raise ConversionError(
                f"output {name!r} of {reference} is a {type(leaf).__name__}: Triton has only tensors",
                "Let the model answer its to_tensor(), or tf.sparse.to_dense() of it",
            )
        if library.is_tensor(leaf):
            paths.append(name)
            answers.append(leaf)
        elif leaf is not None:
            notes.append(f"its answer {name!r} is left out: a {type(leaf).__name__}, and no tensor")
    if not answers:
        raise SourceError(f"{reference} answers {type(answer).__name__} without a tensor in it")
    names = unique(wanted if len(wanted) == len(answers) else paths, [spec.name for spec in inputs])
    for position, (name, tensor) in enumerate(zip(names, answers, strict=True)):
        if tensor.dtype == library.bfloat16:
            answers[position] = library.cast(tensor, library.float32)
            notes.append(f"output {name!r} is bfloat16, and given as float32")
        else:
            dtype_name(tensor.dtype.name, name)
    return answers, names, tuple(notes)


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yield what an answer consists of, with the keys that lead there; a sequence of one is no level of its own."""
    if isinstance(value, Mapping):
        items = list(value.items())
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        items = list(zip(value._fields, value, strict=True))
    elif isinstance(value, (list, tuple)):
        if len(value) == 1:
            yield from _leaves(value[0], path)
            return
        items = list(enumerate(value))
    else:
        yield path, value
        return
    for key, each in items:
        yield from _leaves(each, (*path, key))


def _runner(function: Any, inputs: Sequence[TensorSpec], names: tuple[str, ...]) -> Callable[[Arrays], dict[str, Any]]:
    def run(arrays: Arrays) -> dict[str, Any]:
        library = tensorflow()
        try:
            answers = function(*(library.constant(arrays[spec.name]) for spec in inputs))
        except Exception as error:  # whatever the model's operators raise
            shapes = ", ".join(f"{name}{list(array.shape)}" for name, array in arrays.items())
            raise InputRefused(f"the source model fails on {shapes}: {cause(error)}") from error
        return {name: array_of(answer) for name, answer in zip(names, answers, strict=True)}

    return run


def cause(error: BaseException) -> str:
    """Return what an error says in one line; TensorFlow puts where it comes from before what it is."""
    told = [line.strip() for line in str(error).splitlines() if line.strip()]
    own = [line for line in told if not WHERE.match(line)]
    return f"{type(error).__name__}: {own[0].rstrip(':') if own else ''}"


def array_of(tensor: Any) -> Any:
    """Return a tensor as numpy has it; text as str, as ONNX Runtime gives it."""
    import numpy as np

    array = np.asarray(tensor.numpy())
    if array.dtype != object and array.dtype.kind != "S":
        return array
    texts = np.empty(array.shape, object)
    texts.ravel()[:] = [each.decode("utf-8", "replace") for each in array.ravel()]
    return texts
