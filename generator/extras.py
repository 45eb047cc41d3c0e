"""Optional packages, imported when they are needed and missed by the name of the extra that installs them."""

import importlib
from types import ModuleType

from generator.errors import SourceError

# What each extra of pyproject.toml brings, by the name it is imported with.
EXTRAS = {
    "bench": ("plotext", "plotly", "prometheus_client", "psutil"),
    "torch": ("torch", "torchvision", "onnxscript", "onnx_ir", "safetensors"),
}


def need(module: str, extra: str) -> ModuleType:
    """Import ``module``; where it or another package of the extra is missing, SourceError names the extra."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in EXTRAS[extra]:
            raise
        raise SourceError(f"{error.name} is not installed", f"pip install 'modelrepo[{extra}]'") from error
