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
    "onnx_files",
    "onnxruntime",
    "onnx_settings",
    "tensorrt",
    "openvino",
    "pytorch",
    "python",
    "backends",
    "machine",
    "unjudged",
)


@cache
def rules(modules: tuple[str, ...] = MODULES) -> tuple[Rule, ...]:
    """Return the rules of modules, by default every rule, in the order of the modules."""
    loaded = (importlib.import_module(f"{__name__}.{name}") for name in modules)
    return tuple(rule for module in loaded for rule in module.RULES)
