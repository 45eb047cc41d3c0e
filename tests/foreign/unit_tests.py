"""Tests of other projects' unittest classes, run in this process with some of their helpers replaced."""

import importlib
import re
import sys
import types
import unittest
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# The line of a traceback that names the error.
ERROR = re.compile(r"[\w.]*(Error|Exception|Failure|Fail)\b")


class Enough(BaseException):
    """Ends a test whose model is known; no ``except Exception`` of the test keeps it."""


def module_of(folder: Path, name: str) -> types.ModuleType:
    """Import a module of tests from a folder of a checkout."""
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    stand_in()
    return importlib.import_module(name)


def stand_in() -> None:
    """Stand in for packages of tests that are not installed: what is parameterized with one is not in the sample."""
    stand_ins: dict[str, dict[str, Any]] = {
        "parameterized": {"parameterized": types.SimpleNamespace(expand=lambda *_, **__: lambda _: None)},
        "expecttest": {"TestCase": unittest.TestCase},
    }
    for name, content in stand_ins.items():
        if name not in sys.modules and not find_spec(name):
            sys.modules[name] = types.ModuleType(name)
            vars(sys.modules[name]).update(content)


def outcome(module: types.ModuleType, name: str) -> str:
    """Run the test CLASS.METHOD of a module and return why it fails or is skipped; nothing if it passes."""
    kind, _, method = name.partition(".")
    result = unittest.TestResult()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        getattr(module, kind)(method).run(result)
    troubles = [*result.errors, *result.failures]
    if troubles:
        lines = troubles[0][1].strip().splitlines()
        return next((line for line in reversed(lines) if ERROR.match(line)), lines[-1])[:300]
    return f"skipped: {result.skipped[0][1]}" if result.skipped else ""


@contextmanager
def replaced(folder: Path, packages: Sequence[str], helpers: Mapping[str, Callable[[Any], Any]]) -> Iterator[None]:
    """Replace helpers by their names in the imported modules of a folder, and of packages, by what is made of each."""
    before = []
    for module in list(sys.modules.values()):
        file, package = str(getattr(module, "__file__", None) or ""), module.__name__
        if not file.startswith(str(folder)) and not package.startswith(tuple(packages)):
            continue
        for name, make in helpers.items():
            if name in vars(module):
                original = vars(module)[name]
                before.append((module, name, original))
                setattr(module, name, make(original))
    try:
        yield
    finally:
        for module, name, original in before:
            setattr(module, name, original)


def names_in(module: types.ModuleType) -> list[str]:
    """Return CLASS.METHOD of every test of a module."""
    return [
        f"{kind.__name__}.{method}"
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, unittest.TestCase) and kind.__module__ == module.__name__
        for method in unittest.TestLoader().getTestCaseNames(kind)
    ]
