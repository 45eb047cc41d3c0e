"""Configurations kept by hand, by what they are about; each module has its ``CASES``."""

import importlib
import pkgutil
from functools import cache

from tests.differential.case import Case


@cache
def corpus() -> dict[str, tuple[Case, ...]]:
    """Return the cases of each module."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    modules = {name: importlib.import_module(f"{__name__}.{name}") for name in names}
    return {name: tuple(module.CASES) for name, module in modules.items()}


def cases() -> tuple[Case, ...]:
    """Return all cases."""
    return tuple(case for own in corpus().values() for case in own)
