"""The kinds of models that the user's code may make, and how each becomes a source: the table ``KINDS``."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from modelrepo.generator.errors import OptionError, SourceError
from modelrepo.generator.sources import exported_program, formats, pytorch, torchscript
from modelrepo.generator.sources.domains import with_domains
from modelrepo.generator.sources.python.examples import shapes
from modelrepo.generator.sources.pytorch import state_dict
from modelrepo.generator.sources.pytorch.arguments import call_with, forward_of, inputs_of, opened
from modelrepo.generator.sources.pytorch.assumptions import assuming
from modelrepo.generator.sources.tensorflow.declared import Declared, declared_from
from modelrepo.generator.sources.tensorflow.function import function_source
from modelrepo.generator.sources.tensorflow.layers import keras_source
from modelrepo.generator.specs.artifacts import Weights
from modelrepo.generator.specs.options import Options
from modelrepo.generator.specs.source import SourceModel
from modelrepo.generator.specs.tensors import InputShape


@dataclass(frozen=True)
class Made:
    """A model that the user's code made for ``reference``."""

    reference: str
    model: Any
    # The inputs in the factory's annotation.
    said: tuple[InputShape, ...]
    # The file of its weights, if the options name one.
    path: Path | None
    weights: Weights
    options: Options


def is_model(made: Any) -> bool:
    """Whether an object is a model, and not a function that makes one; imports no framework."""
    return any(fits(made) for fits, _ in KINDS)


def source_of(made: Made) -> SourceModel:
    """Return a model, or a function of torch tensors, as a source.

    Raises SourceError for one that can't be run, and OptionError for options that its kind ignores.
    """
    return next((make for fits, make in KINDS if fits(made.model)), _torch)(made)


def _is_torch(made: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(made, torch.nn.Module)


def _is_keras(made: Any) -> bool:
    keras = sys.modules.get("keras")
    return keras is not None and isinstance(made, (keras.Model, keras.Layer))


def _is_program(made: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(made, torch.export.ExportedProgram)


def _is_tensorflow(made: Any) -> bool:
    tensorflow = sys.modules.get("tensorflow")
    return tensorflow is not None and isinstance(
        made, (tensorflow.Module, tensorflow.types.experimental.PolymorphicFunction)
    )


def _torch(made: Made) -> SourceModel:
    """Return a module, or a function of tensors."""
    reference, options = made.reference, made.options
    model = _unwrapped(made.model)
    if not _is_torch(model):
        _refuse_weights(made)
    module = model if _is_torch(model) else pytorch.as_module(model)
    module.eval()
    if made.path:
        _refuse_code(made.path, options.trust_source)
        state_dict.fit(module, state_dict.read_state(made.path, options.trust_source), made.path, reference)
    pytorch.refuse_empty(
        reference, module, 'Load its weights in your code, or call model.to_empty(device="cpu") and give --weights FILE'
    )
    forward = torchscript.forward_of(reference, model) if torchscript.is_script(model) else forward_of(_called(model))
    specs = with_domains(inputs_of(reference, forward, shapes(options, forward, made.said)), options.domain)
    inputs, fixed = opened(specs, options.dynamic)
    call = call_with(forward, [spec.name for spec in inputs])
    source = pytorch.source_model(
        reference, module.cpu(), inputs, made.weights, call=call, fixed=fixed, samples=options.samples
    )
    return assuming(source, options.assume_branch)


def _refuse_code(path: Path, trust: bool) -> None:
    """Raise SourceError for a file that is not one of weights, or is a pickled model that is not trusted."""
    if formats.expect(path, "state dict", "safetensors", "torch module") == "torch module" and not trust:
        raise SourceError(
            f"{path} is a pickled PyTorch model, and reading it runs the code that it holds",
            "If you trust who made it, add --trust-source; or save its weights alone: torch.save(model.state_dict(), "
            "path)",
        )


def _unwrapped(model: Any) -> Any:
    """Return the model within torch.compile or data parallelism, since these wrappers hide its parameters."""
    import torch

    while True:
        if isinstance(model, (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)):
            model = model.module
        elif "_orig_mod" in getattr(model, "_modules", {}):  # torch.compile
            model = model._orig_mod
        else:
            return model


def _called(model: Any) -> Callable[..., Any]:
    """Return the function with a model's parameters: the forward of a module."""
    return model.forward if _is_torch(model) else model  # type: ignore[no-any-return]


def _keras(made: Made) -> SourceModel:
    _fit_keras(made)
    model, options = made.model, made.options
    # A model that is built describes its inputs itself.
    built = getattr(model, "inputs", None)
    given = options.input_shape or made.said if built else shapes(options, forward_of(model.call), made.said)
    return keras_source(made.reference, model, replace(options, input_shape=given), made.weights)


def _fit_keras(made: Made) -> None:
    path = made.path
    if path is None:
        return
    formats.expect(path, "hdf5")
    try:
        made.model.load_weights(path)
    except Exception as error:  # Keras raises ValueError, OSError, KeyError, … for weights that don't fit
        raise SourceError(
            f"{path} does not fit {made.reference}: {pytorch.cause(error)}", "Save them with model.save_weights"
        ) from error


def _program(made: Made) -> SourceModel:
    """Return a program of torch.export, which has its own shapes."""
    _refuse_weights(made)
    exported_program.refuse_exporter(made.options)
    if made.options.input_shape or made.options.dynamic:
        raise OptionError(
            f"{made.reference} returns a program of torch.export, which has the shapes it was exported with",
            "Leave --input-shape and --dynamic out, or export it with other dynamic_shapes",
        )
    return exported_program.source_of(made.reference, made.model, made.weights, made.options.max_batch_size)


def _tensorflow(made: Made) -> SourceModel:
    """Return a tf.function, or a tf.Module that can be called, as a source."""
    _refuse_weights(made)
    reference, model, options = made.reference, made.model, made.options
    if not callable(model):
        raise SourceError(f"{reference} returns a {type(model).__name__}, which can't be called", "Give it a __call__")
    function = model if hasattr(model, "input_signature") else type(model).__call__
    signature = getattr(function, "input_signature", None)
    python = getattr(function, "python_function", function)
    forward = forward_of(python if function is model else python.__get__(model))
    if signature:
        options = replace(options, input_shape=options.input_shape or made.said)
        names = [each.name for each in forward.parameters]
        declared = declared_from(dict(zip(names, signature, strict=False)))
    else:
        inputs, _ = opened(inputs_of(reference, forward, shapes(options, forward, made.said)), {})
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

    return function_source(reference, call, declared, options, made.weights, owner=model)


def _refuse_weights(made: Made) -> None:
    if made.path:
        raise SourceError(
            f"{made.reference} returns a {type(made.model).__name__}, which can't load a file of weights",
            "Leave --weights out, and load them in your code",
        )


KINDS: tuple[tuple[Callable[[Any], bool], Callable[[Made], SourceModel]], ...] = (
    (_is_torch, _torch),  # includes Keras models on PyTorch
    (_is_keras, _keras),
    (_is_program, _program),
    (_is_tensorflow, _tensorflow),
)
