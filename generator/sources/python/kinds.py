"""What code may make, and how each kind becomes a source: the table ``KINDS``."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from modelrepo.generator.errors import OptionError, SourceError
from modelrepo.generator.sources import exported_program, formats, pytorch, torchscript
from modelrepo.generator.sources.python.examples import shapes
from modelrepo.generator.sources.pytorch import state_dict
from modelrepo.generator.sources.pytorch.arguments import call_with, forward_of, inputs_of, opened
from modelrepo.generator.sources.tensorflow.declared import Declared, declared_from
from modelrepo.generator.sources.tensorflow.function import function_source
from modelrepo.generator.sources.tensorflow.layers import keras_source
from modelrepo.generator.specs.artifacts import Weights
from modelrepo.generator.specs.options import Options
from modelrepo.generator.specs.source import SourceModel
from modelrepo.generator.specs.tensors import InputShape


@dataclass(frozen=True)
class Made:
    """What code made for ``reference``: the inputs that are ``said`` where it stands, and the file of its weights."""

    reference: str
    model: Any
    said: tuple[InputShape, ...]
    path: Path | None
    weights: Weights
    options: Options


def is_model(made: Any) -> bool:
    """Tell whether something is a model, and nothing that makes one; no framework is imported for it."""
    return any(tells(made) for tells, _ in KINDS)


def source_of(made: Made) -> SourceModel:
    """Return a model, or a function of torch tensors, as a source.

    Raises SourceError for one that can't be asked, and OptionError for options that its kind does not heed.
    """
    return next((make for tells, make in KINDS if tells(made.model)), _torch)(made)


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
        formats.expect(made.path, "state dict", "safetensors", *(["torch module"] if options.trust_source else []))
        state_dict.fit(module, state_dict.read_state(made.path, options.trust_source), made.path, reference)
    pytorch.refuse_empty(
        reference, module, 'Load its weights in your code, or call model.to_empty(device="cpu") and give --weights FILE'
    )
    forward = torchscript.forward_of(reference, model) if torchscript.is_script(model) else forward_of(_called(model))
    inputs, fixed = opened(inputs_of(reference, forward, shapes(options, forward, made.said)), options.dynamic)
    call = call_with(forward, [spec.name for spec in inputs])
    return pytorch.source_model(reference, module.cpu(), inputs, made.weights, call=call, fixed=fixed)


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


def _keras(made: Made) -> SourceModel:
    _fit_keras(made)
    model, options = made.model, made.options
    # One that is built says itself what it takes.
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
    except Exception as error:  # Keras raises ValueError, OSError, KeyError, … for what does not fit
        raise SourceError(
            f"{path} does not fit {made.reference}: {pytorch.cause(error)}", "Save them with model.save_weights"
        ) from error


def _program(made: Made) -> SourceModel:
    """Return a program of torch.export, which has its shapes, and its exporter."""
    _refuse_weights(made)
    exported_program.refuse_exporter(made.options)
    if made.options.input_shape or made.options.dynamic:
        raise OptionError(
            f"{made.reference} makes a program of torch.export, which has the shapes it was exported with",
            "Leave --input-shape and --dynamic out, or export it with other dynamic_shapes",
        )
    return exported_program.source_of(made.reference, made.model, made.weights, made.options.max_batch_size)


def _tensorflow(made: Made) -> SourceModel:
    """Return a tf.function, or a tf.Module that can be called, as a source."""
    _refuse_weights(made)
    reference, model, options = made.reference, made.model, made.options
    if not callable(model):
        raise SourceError(f"{reference} makes a {type(model).__name__} that can't be called", "Give it a __call__")
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
            f"{made.reference} makes a {type(made.model).__name__}, which no file of weights can be loaded into",
            "Leave --weights out, and load them in your code",
        )


KINDS: tuple[tuple[Callable[[Any], bool], Callable[[Made], SourceModel]], ...] = (
    (_is_torch, _torch),  # those of Keras on PyTorch, too
    (_is_keras, _keras),
    (_is_program, _program),
    (_is_tensorflow, _tensorflow),
)
