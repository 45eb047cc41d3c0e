"""Optional packages, imported when needed; if one is missing, the error names the extra that installs it."""

import importlib
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from types import ModuleType

from modelrepo.generator.errors import ModelRepoError, OptionError, PerfError, SourceError


@dataclass(frozen=True)
class Extra:
    """An extra of pyproject.toml."""

    modules: tuple[str, ...]  # the import names of its packages
    error: type[ModelRepoError]  # raised if one of them is missing


TORCH = ("torch", "torchvision", "onnxscript", "onnx_ir", "safetensors")
SKLEARN = ("sklearn", "skl2onnx", "skops", "pandas")
EXTRAS = {
    "bench": Extra(("plotext", "plotly", "prometheus_client", "psutil"), PerfError),
    "boosting": Extra(("xgboost", "lightgbm", "onnxmltools", *SKLEARN), SourceError),
    "hf": Extra(("transformers", "huggingface_hub", *TORCH), SourceError),
    "simplify": Extra(("onnxslim",), OptionError),
    "sklearn": Extra(SKLEARN, SourceError),
    "tensorflow": Extra(("tensorflow", "keras", "tf2onnx", "onnx_ir", "ai_edge_litert"), SourceError),
    "timm": Extra(("timm", *TORCH), SourceError),
    "torch": Extra(TORCH, SourceError),
}


def version_of(package: str) -> str | None:
    """Return the version of an installed distribution; None if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def need(module: str, extra: str) -> ModuleType:
    """Import ``module``; raise the extra's error if it or another package of the extra is missing."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in EXTRAS[extra].modules:
            raise
        message, hint = f"{error.name} is not installed", f"pip install 'modelrepo[{extra}]'"
        raise EXTRAS[extra].error(message, hint) from error


def require(extra: str) -> None:
    """Raise the extra's error unless all of its packages are installed; call this before long work."""
    for module in EXTRAS[extra].modules:
        if find_spec(module) is None:
            raise EXTRAS[extra].error(f"{module} is not installed", f"pip install 'modelrepo[{extra}]'")
