"""Models made by the user's code: `--model python:PACKAGE.MODULE:FACTORY`."""

import inspect
import operator
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from modelrepo.generator.errors import SourceError, nearest
from modelrepo.generator.progress import Progress
from modelrepo.generator.sources import python_file, pytorch
from modelrepo.generator.sources.python import user_code
from modelrepo.generator.sources.python.examples import annotated
from modelrepo.generator.sources.python.kinds import Made, is_model, source_of
from modelrepo.generator.sources.pytorch.ran import watcher
from modelrepo.generator.sources.source import Source
from modelrepo.generator.sources.tensorflow import tensorflow
from modelrepo.generator.specs.artifacts import Weights
from modelrepo.generator.specs.options import Options
from modelrepo.generator.specs.source import SourceModel
from modelrepo.generator.system import memory
from modelrepo.generator.system.digests import sha256_of
from modelrepo.generator.system.extras import TENSORFLOW, TORCH

# The name of a module's ONNX translations for its own operators: docs/how-to/when-export-fails.md.
TRANSLATIONS = "ONNX_TRANSLATIONS"


def default_name(name: str) -> str:
    """Return the factory's name."""
    return name.rpartition(":")[2].rpartition(".")[2]


def files(name: str) -> tuple[Path, ...]:
    """Return the files of the user's code that the model is made of; SourceError if there is no such module."""
    module, _ = _parts(name)
    return user_code.files(module)


def check(name: str, options: Options) -> None:
    """Raise SourceError if there is no such module; its code is not run."""
    files(name)


def load(name: str, options: Options, progress: Progress) -> SourceModel:
    """Import the module, call the factory, and return its model as a source.

    An example of each input comes from the options, a file of samples, or the factory's annotation, in this order.
    Raises SourceError if the code fails or does not return a model, and for inputs that nothing describes.
    """
    module, attribute = _parts(name)
    reference = f"python:{name}"
    _as_new()
    if user_code.imports(files(name)) & {"tensorflow", "keras"} and find_spec("tensorflow"):
        tensorflow()  # imports it without its messages
    loaded = user_code.load(module)
    factory = _attribute(loaded, module, attribute)
    path = None if options.weights in ("pretrained", "random") else Path(options.weights)
    if path:
        memory.check(path.stat().st_size, reference)
    model = factory if is_model(factory) else _made(factory, name, options)
    made = Made(reference, model, annotated(factory, reference), path, _weights(attribute, options), options)
    source = replace(source_of(made), translations=_translations(loaded, module))
    return replace(source, watched=watcher(files(name))) if source.framework == "torch" else source


def _as_new() -> None:
    """Reset global settings of torch that the last model's code may have changed."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)
        torch.set_grad_enabled(True)


def _parts(name: str) -> tuple[str, str]:
    module, colon, attribute = name.rpartition(":")
    file = Path(name)
    if file.suffix == ".py" and file.is_file():
        raise SourceError(f"python:{name} does not name the function that makes the model", python_file.hint(file))
    if module.endswith(".py") and Path(module).is_file():
        raise SourceError(
            f"{module!r} is not the name of a module",
            f"Name it as Python imports it: python:{python_file.module(Path(module))}:{attribute}",
        )
    if not (colon and module and attribute):
        raise SourceError(
            f"python:{name} does not name the function that makes the model",
            f"Write python:{module or name.strip(':')}:FACTORY",
        )
    return module, attribute


def _attribute(loaded: Any, module: str, attribute: str) -> Any:
    try:
        return operator.attrgetter(attribute)(loaded)
    except AttributeError as error:
        public = {key: value for key, value in vars(loaded).items() if callable(value) and not key.startswith("_")}
        own = [key for key, value in public.items() if getattr(value, "__module__", module) == module]
        hint = nearest(attribute, own) if own else "It defines nothing that can be called"
        raise SourceError(f"{module} has no {attribute!r}", hint) from error


def _translations(loaded: Any, module: str) -> Mapping[Any, Callable[..., Any]]:
    """Return the module's translations of its own operators: functions of onnxscript, by the operator of torch."""
    found = getattr(loaded, TRANSLATIONS, {})
    if not isinstance(found, Mapping) or not all(callable(part) for pair in found.items() for part in pair):
        raise SourceError(
            f"{TRANSLATIONS} of {module} does not map operators to functions",
            "Write {torch.ops.mine.twist.default: function}",
        )
    return found


def _made(factory: Any, name: str, options: Options) -> Any:
    """Call a factory, with the same random numbers each time."""
    if not callable(factory):
        raise SourceError(f"python:{name} is a {type(factory).__name__}, not a function that returns a model")
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
    if not is_model(model) and (not callable(model) or isinstance(model, type)):
        raise SourceError(
            f"{name} returns {model if model is None else type(model).__name__}, not a model",
            "Return a torch.nn.Module, a Keras model, a tf.function, or a function of torch tensors",
        )
    return model


def _needed(factory: Any) -> list[str]:
    try:
        found = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):  # some built-in ones have none
        return []
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [each.name for each in found if each.default is each.empty and each.kind not in variadic]


def _weights(attribute: str, options: Options) -> Weights:
    if options.weights == "pretrained":
        return Weights("own", f"as {attribute} makes them", untrained=False)
    if options.weights == "random":
        return Weights("random", f"seed {options.seed}", untrained=True)
    path = Path(options.weights)
    return Weights("file", path.name, untrained=False, sha256=sha256_of(path))


SOURCE = Source(
    form="python:MODULE:FACTORY",
    summary="the result of a function of yours: a PyTorch or Keras model, a tf.function, or a function of tensors",
    frameworks=("torch", "tensorflow"),
    load=load,
    check=check,
    files=files,
    default_name=default_name,
    options=("weights", "input_shape", "dynamic", "opset", "exporter", "assume_branch", "trust_source"),
    packages=("torch", "tensorflow"),
    extras=(TORCH, TENSORFLOW),
)
