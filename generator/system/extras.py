"""Optional packages, imported when needed; if one is missing, the error names the extra that installs it."""

import importlib
from dataclasses import dataclass
from importlib.util import find_spec
from types import ModuleType

from modelrepo.generator.errors import ModelRepoError, OptionError, PerfError, SourceError
from modelrepo.generator.system.environment import extra_command


@dataclass(frozen=True)
class Extra:
    """An extra of pyproject.toml."""

    name: str
    modules: tuple[str, ...]  # the import names of its packages
    error: type[ModelRepoError] = SourceError  # raised if one of them is missing


# The extras that several modules need; another one is defined by the source that needs it.
TORCH = Extra("torch", ("torch", "torchvision", "onnxscript", "onnx_ir", "safetensors"))
TENSORFLOW = Extra("tensorflow", ("tensorflow", "keras", "tf2onnx", "onnx_ir", "ai_edge_litert"))
SKLEARN = Extra("sklearn", ("sklearn", "skl2onnx", "skops", "pandas"))
BOOSTING = Extra("boosting", ("xgboost", "lightgbm", "onnxmltools", *SKLEARN.modules))
SIMPLIFY = Extra("simplify", ("onnxslim",), OptionError)
TABLES = Extra("tables", ("pyarrow",), OptionError)
BENCH = Extra("bench", ("plotext", "plotly", "prometheus_client", "psutil"), PerfError)


def version_of(package: str) -> str | None:
    """Return the version of an installed distribution; None if it is not installed."""
    from importlib import metadata  # late: help pages do not need its 25 ms

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def need(module: str, extra: Extra) -> ModuleType:
    """Import ``module``; the extra's error if that module or another package of the extra is missing."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in extra.modules:
            raise
        raise _not_installed(error.name or "", extra) from error


def require(extra: Extra) -> None:
    """Raise the extra's error unless all of its packages are installed, before work that would fail without them."""
    for module in extra.modules:
        if find_spec(module) is None:
            raise _not_installed(module, extra)


def _not_installed(module: str, extra: Extra) -> ModelRepoError:
    return extra.error(f"{module} is not installed", extra_command(extra.name))
