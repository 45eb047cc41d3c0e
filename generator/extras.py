"""Optional packages, imported when they are needed and missed by the name of the extra that installs them."""

import importlib
from types import ModuleType

from generator.errors import SourceError


def need(module: str, extra: str) -> ModuleType:
    """Import ``module``; where it is not installed, SourceError names the extra to install."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise
        raise SourceError(f"{error.name} is not installed", f"pip install 'modelrepo[{extra}]'") from error
