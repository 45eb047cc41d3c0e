"""The rules, by what they are about: one function each, and one table a module."""

import importlib
from functools import cache

from modelrepo.generator.lint.rule import Rule

MODULES = (
    "parsing",
    "tensors",
    "fatal",
    "identity",
    "instances",
    "versions",
    "features",
    "batching",
    "sequences",
    "ensembles",
    "warmup",
    "labels",
    "repositories",
    "version_folders",
    "entries",
    "profiles",
    "onnxruntime",
    "tensorrt",
    "openvino",
    "pytorch",
    "python",
    "backends",
    "machine",
)


@cache
def rules() -> tuple[Rule, ...]:
    """Return every rule, in the order of the modules."""
    modules = (importlib.import_module(f"{__name__}.{name}") for name in MODULES)
    return tuple(rule for module in modules for rule in module.RULES)
