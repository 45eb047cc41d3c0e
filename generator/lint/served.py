"""Which versions of a model Triton serves, and whether its configuration is all that it knows of it."""

from typing import Any

from modelrepo.generator.lint.subject import Model

# The function by which a backend fills in what a configuration lacks.
COMPLETES = b"TRITONBACKEND_ModelSetConfig"
COMPLETES_PYTHON = b"auto_complete_config"


def served_versions(model: Model, config: Any) -> tuple[int, ...]:
    """Return the versions that the policy of a configuration selects, of those that are there."""
    present = sorted(model.versions)
    policy = config.version_policy
    if policy.HasField("all"):
        return tuple(present)
    if policy.HasField("specific"):
        return tuple(version for version in present if version in policy.specific.versions)
    newest = policy.latest.num_versions if policy.HasField("latest") else 1
    return tuple(present[-newest:] if newest else ())


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
        if path.is_file():
            return COMPLETES_PYTHON not in path.read_bytes()
    for path in (folder / f"libtriton_{config.backend}.so" for folder in folders):
        if path.is_file():
            return COMPLETES not in path.read_bytes()
    return bool(config.input and config.output)
