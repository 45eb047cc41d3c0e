"""Models that code of the user's makes: `--model python:PACKAGE.MODULE:FACTORY`."""

import inspect
import operator
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from generator import memory
from generator.digests import sha256_of
from generator.errors import OptionError, SourceError, nearest
from generator.progress import Progress
from generator.sources import exported_program, formats, pytorch, torchscript
from generator.sources.model import SourceModel
from generator.sources.python import user_code
from generator.sources.pytorch import state_dict
from generator.sources.pytorch.arguments import Forward, call_with, forward_of, inputs_of, opened
from generator.sources.tensorflow import tensorflow
from generator.sources.tensorflow.declared import Declared, declared_from
from generator.sources.tensorflow.function import function_source
from generator.sources.tensorflow.layers import keras_source
from generator.specs import InputShape, Options, Weights
from generator.written import input_shapes

FORM = "python:MODULE:FACTORY"
SUMMARY = "what a function of yours returns: a PyTorch or Keras model, a tf.function, or a function of tensors"
FRAMEWORKS = ("torch", "tensorflow")
PACKAGES = ("torch", "tensorflow")
OPTIONS = ("weights", "input_shape", "dynamic", "opset", "exporter", "trust_source")
# Where a module says how operators of its own are written in ONNX: docs/how-to/when-export-fails.md.
TRANSLATIONS = "ONNX_TRANSLATIONS"


def names_file(name: str) -> bool:
    """Return False: a module is named as Python imports it, from the current folder."""
    return False


def default_name(name: str) -> str:
    """Return the factory's name."""
    return name.rpartition(":")[2].rpartition(".")[2]


def known() -> tuple[str, ...]:
    """Return none: the user's code is not searched."""
    return ()


def files(name: str) -> tuple[Path, ...]:
    """Return the files of the user's code that the model is made of; SourceError where there is no such module."""
    module, _ = _parts(name)
    return user_code.files(module)


def check(name: str, options: Options) -> None:
    """Raise SourceError where there is no such module; what is in it is not run."""
    files(name)


def load(name: str, options: Options, progress: Progress) -> SourceModel:
    """Import the module, call the factory, and return what it makes as a source.

    An example of each input comes from the options, a file of samples, or the factory's annotation, in this order.
    Raises SourceError where the code fails, for what is no model, and for inputs that nothing describes.
    """
    module, attribute = _parts(name)
    reference = f"python:{name}"
    _as_new()
    if user_code.imports(files(name)) & {"tensorflow", "keras"} and find_spec("tensorflow"):
        tensorflow()  # imports it without what it has to say
    loaded = user_code.load(module)
    factory = _attribute(loaded, module, attribute)
    path = None if options.weights in ("pretrained", "random") else Path(options.weights)
    if path:
        memory.check(path.stat().st_size, reference)
    model = factory if _is_model(factory) else _made(factory, name, options)
    annotated = _annotated(factory, reference)
    weights = _weights(attribute, options)
    return replace(
        _source(reference, model, annotated, path, weights, options), translations=_translations(loaded, module)
    )


def _as_new() -> None:
    """Undo what the last model's code may have set for all of torch."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)
        torch.set_grad_enabled(True)


def _parts(name: str) -> tuple[str, str]:
    module, colon, attribute = name.rpartition(":")
    if not (colon and module and attribute):
        raise SourceError(
            f"python:{name} does not say what makes the model", f"Such as python:{module or name.strip(':')}:FACTORY"
        )
    return module, attribute


def _attribute(loaded: Any, module: str, attribute: str) -> Any:
    try:
        return operator.attrgetter(attribute)(loaded)
    except AttributeError as error:
        public = {key: value for key, value in vars(loaded).items() if callable(value) and not key.startswith("_")}
        own = [key for key, value in public.items() if getattr(value, "__module__", module) == module]
        hint = nearest(attribute, own) if own else "It defines nothing that could be called"
        raise SourceError(f"{module} has no {attribute!r}", hint) from error


def _translations(loaded: Any, module: str) -> Mapping[Any, Callable[..., Any]]:
    """Return what the module says of operators of its own: functions of onnxscript, by the operator of torch."""
    found = getattr(loaded, TRANSLATIONS, {})
    if not isinstance(found, Mapping) or not all(callable(part) for pair in found.items() for part in pair):
        raise SourceError(
            f"{TRANSLATIONS} of {module} does not say what operators are in ONNX",
            "Write {torch.ops.mine.twist.default: function}",
        )
    return found


def _made(factory: Any, name: str, options: Options) -> Any:
    """Call a factory, with random numbers that are the same each time."""
    if not callable(factory):
        raise SourceError(f"python:{name} is a {type(factory).__name__}, and nothing that makes a model")
    needed = _needed(factory)
    if needed:
        raise SourceError(
            f"{name} needs arguments: {', '.join(needed)}",
            "Name a function that calls it, such as def factory(): return " + f"{name.rpartition(':')[2]}(…)",
        )

    def build() -> Any:
        keras = sys.modules.get("keras")
        if keras is not None:
            keras.utils.set_random_seed(options.seed)
        return factory()

    def seeded() -> Any:
        if "torch" not in sys.modules:
            return build()
        return pytorch.seeded(build, options.seed, revive=options.weights == "random")

    with user_code.importable():
        model = user_code.run(seeded, f"{name} fails")
    if not _is_model(model) and (not callable(model) or isinstance(model, type)):
        raise SourceError(
            f"{name} returns {model if model is None else type(model).__name__}, and no model",
            "Return a torch.nn.Module, a Keras model, a tf.function, or a function of torch tensors",
        )
    return model


def _needed(factory: Any) -> list[str]:
    try:
        found = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):  # some that are built in have none
        return []
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [each.name for each in found if each.default is each.empty and each.kind not in variadic]


def _is_model(made: Any) -> bool:
    return _is_torch(made) or _is_program(made) or _is_keras(made) or _is_tensorflow(made)


def _is_torch(made: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(made, torch.nn.Module)


def _is_program(made: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(made, torch.export.ExportedProgram)


def _is_keras(made: Any) -> bool:
    keras = sys.modules.get("keras")
    return keras is not None and isinstance(made, (keras.Model, keras.Layer))


def _is_tensorflow(made: Any) -> bool:
    tensorflow = sys.modules.get("tensorflow")
    return tensorflow is not None and isinstance(
        made, (tensorflow.Module, tensorflow.types.experimental.PolymorphicFunction)
    )


def _weights(attribute: str, options: Options) -> Weights:
    if options.weights == "pretrained":
        return Weights("own", f"as {attribute} makes them", untrained=False)
    if options.weights == "random":
        return Weights("random", f"seed {options.seed}", untrained=True)
    path = Path(options.weights)
    return Weights("file", path.name, untrained=False, sha256=sha256_of(path))


def _annotated(factory: Any, reference: str) -> tuple[InputShape, ...]:
    """Return the inputs that stand in the text of a factory's ``-> Annotated[torch.nn.Module, "x=1x3x224x224"]``."""
    annotation = getattr(factory, "__annotations__", {}).get("return")
    if annotation is None or isinstance(factory, type):
        return ()
    holder = type("Holder", (), {"__annotations__": {"return": annotation}})
    try:
        hint = get_type_hints(holder, getattr(factory, "__globals__", {}), include_extras=True)["return"]
    except (NameError, AttributeError, SyntaxError, TypeError) as error:
        raise SourceError(f"the annotation of {reference} can't be read: {error}") from error
    texts = [each for each in get_args(hint)[1:] if isinstance(each, str)] if get_origin(hint) is Annotated else []
    try:
        return input_shapes(texts[0]) if texts else ()
    except ValueError as error:
        raise SourceError(f"the annotation of {reference}, {texts[0]!r}: {error}") from error


def _shapes(options: Options, forward: Forward, annotated: tuple[InputShape, ...]) -> tuple[InputShape, ...]:
    return options.input_shape or _sampled(options.samples, forward) or annotated


def _sampled(path: Path | None, forward: Forward) -> tuple[InputShape, ...]:
    """Return the inputs that a file of samples holds, each array as forward takes it; none for other files."""
    import numpy as np

    if path is None or path.suffix not in (".npz", ".npy"):
        return ()
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            arrays = {"": loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
    except Exception as error:  # numpy, zipfile and zlib each have errors of their own for broken files
        raise SourceError(f"can't read samples from {path}: it is no .npy or .npz file of numbers or text") from error
    names = {each.name for each in forward.parameters}
    taken = {name: array for name, array in arrays.items() if not name or name in names or forward.any_name}
    return tuple(InputShape(name, array.shape, _dtype(array)) for name, array in (taken or arrays).items())


def _dtype(array: Any) -> str:
    """Return the type that a model takes an array as: numpy's own for decimals is wider than what models have."""
    return {"float64": "float32"}.get(array.dtype.name, "object" if array.dtype.kind in "US" else array.dtype.name)


# One function for each kind of model.


def _source(
    reference: str,
    model: Any,
    annotated: tuple[InputShape, ...],
    path: Path | None,
    weights: Weights,
    options: Options,
) -> SourceModel:
    if _is_keras(model) and not _is_torch(model):  # Keras on PyTorch makes modules of it
        _fit_keras(reference, model, path)
        built = getattr(model, "inputs", None)  # it says itself what it takes
        shapes = options.input_shape or annotated if built else _shapes(options, forward_of(model.call), annotated)
        return keras_source(reference, model, replace(options, input_shape=shapes), weights)
    if path and not _is_torch(model):
        raise SourceError(
            f"{reference} makes a {type(model).__name__}, which no file of weights can be loaded into",
            "Leave --weights out, and load them in your code",
        )
    if _is_program(model):
        _refuse_shapes(reference, options)
        return exported_program.source_of(reference, model, weights, options.max_batch_size)
    if _is_tensorflow(model):
        return _tensorflow(reference, model, annotated, weights, options)
    return _torch(reference, model, annotated, path, weights, options)


def _refuse_shapes(reference: str, options: Options) -> None:
    """Raise OptionError for what does not change a program of torch.export: it has its shapes, and its exporter."""
    exported_program.refuse_exporter(options)
    if options.input_shape or options.dynamic:
        raise OptionError(
            f"{reference} makes a program of torch.export, which has the shapes it was exported with",
            "Leave --input-shape and --dynamic out, or export it with other dynamic_shapes",
        )


def _torch(
    reference: str,
    model: Any,
    annotated: tuple[InputShape, ...],
    path: Path | None,
    weights: Weights,
    options: Options,
) -> SourceModel:
    model = _unwrapped(model)
    module = model if _is_torch(model) else pytorch.as_module(model)
    module.eval()
    if path:
        formats.expect(path, "state dict", "safetensors", *(["torch module"] if options.trust_source else []))
        state_dict.fit(module, state_dict.read_state(path, options.trust_source), path, reference)
    _check_weights(reference, module)
    forward = torchscript.forward_of(reference, model) if torchscript.is_script(model) else forward_of(_called(model))
    given = inputs_of(reference, forward, _shapes(options, forward, annotated))
    inputs, fixed = opened(given, options.dynamic)
    call = call_with(forward, [spec.name for spec in inputs])
    return pytorch.source_model(reference, module.cpu(), inputs, weights, call=call, fixed=fixed)


def _unwrapped(model: Any) -> Any:
    """Return what torch.compile or data parallelism was put around: these take anything, and say nothing of it."""
    import torch

    while True:
        if isinstance(model, (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)):
            model = model.module
        elif "_orig_mod" in getattr(model, "_modules", {}):  # torch.compile
            model = model._orig_mod
        else:
            return model


def _called(model: Any) -> Callable[..., Any]:
    """Return the function that says what a model takes: a module's forward."""
    return model.forward if _is_torch(model) else model  # type: ignore[no-any-return]


def _check_weights(reference: str, module: Any) -> None:
    tensors = (*module.named_parameters(), *module.named_buffers())
    empty = next((name for name, each in tensors if each.is_meta), None)
    if empty:
        raise SourceError(
            f"{reference} makes a model without values: its {empty} is on the meta device",
            'Load its weights in your code, or call model.to_empty(device="cpu") and give --weights FILE',
        )


def _fit_keras(reference: str, model: Any, path: Path | None) -> None:
    if path is None:
        return
    formats.expect(path, "hdf5")
    try:
        model.load_weights(path)
    except Exception as error:  # Keras raises ValueError, OSError, KeyError, … for what does not fit
        raise SourceError(
            f"{path} does not fit {reference}: {pytorch.cause(error)}", "Save them with model.save_weights"
        ) from error


def _tensorflow(
    reference: str, model: Any, annotated: tuple[InputShape, ...], weights: Weights, options: Options
) -> SourceModel:
    """Return a tf.function, or a tf.Module that can be called, as a source."""
    if not callable(model):
        raise SourceError(f"{reference} makes a {type(model).__name__} that can't be called", "Give it a __call__")
    function = model if hasattr(model, "input_signature") else type(model).__call__
    signature = getattr(function, "input_signature", None)
    python = getattr(function, "python_function", function)
    forward = forward_of(python if function is model else python.__get__(model))
    if signature:
        options = replace(options, input_shape=options.input_shape or annotated)
        names = [each.name for each in forward.parameters]
        declared = declared_from(dict(zip(names, signature, strict=False)))
    else:
        inputs, _ = opened(inputs_of(reference, forward, _shapes(options, forward, annotated)), {})
        declared = tuple(
            Declared(
                spec.name, spec.dtype, tuple(None if isinstance(dim, str) else dim for dim in spec.shape), spec.domain
            )
            for spec in inputs
        )
    arranged = call_with(forward, [each.name for each in declared])

    def call(tensors: Sequence[Any]) -> Any:
        args, kwargs = arranged(tensors)
        return model(*args, **kwargs)

    return function_source(reference, call, declared, options, weights, owner=model)
