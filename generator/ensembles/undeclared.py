"""Packages that a step's modules import, and that its requirements don't name: the serving container lacks them."""

import ast
import sys
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

from modelrepo.generator.errors import OptionError
from modelrepo.generator.specs.ensembles import Step
from modelrepo.generator.system import step_packages

# What Triton's container has for models of its Python backend.
PRESENT = {"numpy", "triton_python_backend_utils", *sys.stdlib_module_names}
# Packages of modules with other names, for machines that don't have them.
PACKAGES = {
    "PIL": "pillow",
    "cv2": "opencv-python-headless",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}


def refuse(step: Step, files: Iterable[Path]) -> None:
    """Raise OptionError if a step's modules import a package of this machine that its requirements don't name.

    Imports that the code itself tries, with an ``except``, are its own affair. A package that this machine does not
    have either is missed when the step is imported.
    """
    files = tuple(files)
    own = {part for file in files for part in (file.stem, *file.parts)}
    for file in files:
        for line, module in _imports(file):
            packages = () if module in PRESENT or module in own else metadata.packages_distributions().get(module, ())
            if packages and not _names(step.requirements) & {_plain(each) for each in packages}:
                raise OptionError(
                    f"step {step.name!r}: {file.name}:{line} imports {module}, which Triton's container does not have",
                    f'Add its package to the step: requirements = ["{package_of(module)}"]',
                )


def package_of(module: str) -> str:
    """Return the package that most likely has a module."""
    return PACKAGES.get(module) or next(iter(metadata.packages_distributions().get(module, ())), module)


def _imports(file: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines and top-level names of the modules that a file imports; none of one that can't be parsed."""
    try:
        waiting: list[ast.AST] = [ast.parse(file.read_bytes())] if file.suffix == ".py" else []
    except (SyntaxError, ValueError):  # the import reports it
        return
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from ((node.lineno, each.name.partition(".")[0]) for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.lineno, node.module.partition(".")[0]
        elif not isinstance(node, ast.Try):
            waiting += ast.iter_child_nodes(node)
        else:
            waiting += [*node.orelse, *node.finalbody]


def _names(requirements: Iterable[str]) -> set[str]:
    """Return the names of required packages, and of all that those require, as far as they are installed here."""
    waiting = [name for each in requirements if (name := step_packages.name_of(each))]
    found: set[str] = set()
    while waiting:
        name = _plain(waiting.pop())
        if name not in found:
            found.add(name)
            waiting += [each for text in _required(name) if (each := step_packages.name_of(text))]
    return found


def _required(name: str) -> list[str]:
    try:
        return [each for each in metadata.requires(name) or [] if "extra ==" not in each]
    except metadata.PackageNotFoundError:
        return []


def _plain(name: str) -> str:
    """Return a package's name as PEP 503 writes it."""
    return name.replace("_", "-").replace(".", "-").lower()
