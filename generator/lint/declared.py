"""What configurations declare, and whether it is all that Triton knows of a model."""

from pathlib import Path
from typing import Any

from modelrepo.generator.lint.data import holds
from modelrepo.generator.lint.regular import is_file
from modelrepo.generator.lint.subject import Model

# The function by which a backend fills in what a configuration lacks.
COMPLETES = b"TRITONBACKEND_ModelSetConfig"
COMPLETES_PYTHON = b"auto_complete_config"


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
    if is_ensemble(config):
        return True
    folders = (*model.versions.values(), model.folder)
    for path in (folder / "model.py" for folder in folders):
        if is_file(path):
            return not _holds(model, path, COMPLETES_PYTHON)
    for path in (folder / f"libtriton_{config.backend}.so" for folder in folders):
        if is_file(path):
            return not _holds(model, path, COMPLETES)
    return bool(config.input and config.output)


def _holds(model: Model, path: Path, needle: bytes) -> bool:
    return model.once((holds, path, needle), lambda: any(holds(path, needle)))
