"""What configurations declare, and whether it is all that Triton knows of a model."""

from pathlib import Path
from typing import Any, Literal

from modelrepo.generator.lint.completed import completed
from modelrepo.generator.lint.data import holds
from modelrepo.generator.lint.regular import is_file
from modelrepo.generator.lint.subject import Model

# The function by which a backend fills in what a configuration lacks.
COMPLETES = b"TRITONBACKEND_ModelSetConfig"
COMPLETES_PYTHON = b"auto_complete_config"
# Backends of NVIDIA's images that fill in what an input or output lacks (FixIO of TensorRT, AutofillIOConfig of DALI,
# add_input of Python), and those that also add to the ones that are written. Others fill in all, or none.
ADDING = ("dali", "vllm")
FILLING = ("tensorrt", *ADDING)


def message_of(model: Model | None) -> Any:
    """Return the configuration of a model as it is written; None if there is none that can be read."""
    try:
        return None if model is None or model.config is None else model.config.message
    except OSError:
        return None


def begun(model: Model) -> Any:
    """Return the configuration that Triton begins with: an empty one if there is none, None if it can't be read."""
    from tritonclient.grpc import model_config_pb2

    if model.config is None and not model.config_trouble:
        return model_config_pb2.ModelConfig()
    return message_of(model)


def is_ensemble(config: Any) -> bool:
    """Whether a configuration is that of an ensemble."""
    return bool(config.HasField("ensemble_scheduling"))


def is_complete(model: Model, config: Any) -> bool:
    """Whether the inputs and outputs of a configuration are all that the model has when it is loaded.

    A backend may fill in what is missing; those whose library lies in the folder tell whether they do.
    """
    lists_all = all(is_listed(model, config, kind) for kind in ("input", "output"))
    return lists_all and all(each.data_type and each.dims for each in (*config.input, *config.output))


def is_listed(model: Model, config: Any, kind: Literal["input", "output"]) -> bool:
    """Whether the inputs, or the outputs, of a configuration are all that the model has when it is loaded."""
    if is_ensemble(config):
        return True
    backend = completed(model, config, "").backend
    completes = _completes(model, backend)
    return backend not in ADDING and bool(getattr(config, kind)) if completes is None else not completes


def fills_tensors(model: Model, config: Any) -> bool:
    """Whether the backend may fill in the type and the dims of inputs and outputs that are written without.

    It may if nothing says yet which it is.
    """
    made = completed(model, config, "")
    completes = _completes(model, made.backend)
    return made.undetermined or made.backend in FILLING if completes is None else completes


def _completes(model: Model, backend: str) -> bool | None:
    """Whether what serves a model fills in what its configuration lacks; None if no file in its folder tells."""
    folders = (*model.versions.values(), model.folder)
    for path in (folder / "model.py" for folder in folders):
        if is_file(path):
            return _holds(model, path, COMPLETES_PYTHON)
    for path in (folder / f"libtriton_{backend}.so" for folder in folders):
        if is_file(path):
            return _holds(model, path, COMPLETES)
    return None


def _holds(model: Model, path: Path, needle: bytes) -> bool:
    return model.once((holds, path, needle), lambda: any(holds(path, needle)))
