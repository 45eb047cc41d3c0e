"""The structure of the project, measured from its imports: `python -m tests.structure` prints it.

A room is a folder of ``generator/`` or another top-level folder; ``generator/errors.py`` and ``generator/progress.py``
are rooms of their own. CONTRIBUTING.md holds the one block that says which room may import which.
"""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
PACKAGE = "modelrepo"
FOLDERS = ("cli", "clients", "generator", "perf", "server")
# Folders within a room that are rooms of their own.
WITHIN = ("generator/repository/lifecycle",)


@dataclass(frozen=True)
class Import:
    """One module of the project imports another."""

    file: Path
    line: int
    module: str


def room_of(module: str) -> str:
    """Return the room of a module such as modelrepo.generator.specs.tensors."""
    _, top, *rest = module.split(".")
    if "/".join((top, *rest[:2])) in WITHIN:
        return rest[1]
    return rest[0] if top == "generator" and rest else top


def files() -> Iterator[Path]:
    """Yield every module of the product, by its path relative to the project."""
    for folder in FOLDERS:
        yield from sorted(file.relative_to(PROJECT) for file in (PROJECT / folder).rglob("*.py"))


def module_of(file: Path) -> str:
    """Return the name under which a file of the project is imported."""
    return ".".join((PACKAGE, *file.with_suffix("").parts)).removesuffix(".__init__")


def imports_of(file: Path) -> Iterator[Import]:
    """Yield what a module imports of the project, wherever the import stands; those for type checkers count too."""
    for node in ast.walk(ast.parse((PROJECT / file).read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (Import(file, node.lineno, alias.name) for alias in node.names if _is_ours(alias.name))
        elif isinstance(node, ast.ImportFrom) and node.module and _is_ours(node.module):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield Import(file, node.lineno, inner if _is_module(inner) else node.module)


def _is_ours(module: str) -> bool:
    return module.startswith(f"{PACKAGE}.")


def _is_module(name: str) -> bool:
    path = PROJECT / name.removeprefix(f"{PACKAGE}.").replace(".", "/")
    return path.is_dir() or path.with_suffix(".py").is_file()


def arrows() -> dict[tuple[str, str], list[Import]]:
    """Return the imports between rooms, by the two rooms."""
    found: dict[tuple[str, str], list[Import]] = defaultdict(list)
    for file in files():
        for each in imports_of(file):
            pair = room_of(module_of(file)), room_of(each.module)
            if pair[0] != pair[1]:
                found[pair].append(each)
    return dict(found)


def floors(imported: Mapping[str, set[str]]) -> dict[str, int]:
    """Return the floor of each room, one above the highest room that it imports; ``CycleError`` for a circle."""
    known: dict[str, int] = {}
    for room in TopologicalSorter(imported).static_order():
        known[room] = 1 + max((known[other] for other in imported.get(room, ())), default=0)
    return known


def against(lines: Sequence[Sequence[str]]) -> list[Import]:
    """Return the imports that do not lead from a line of ``order`` to one below it."""
    height = {room: len(lines) - number for number, line in enumerate(lines) for room in line}
    return [each for (room, other), found in arrows().items() if height[room] <= height[other] for each in found]


def purposes() -> dict[str, str]:
    """Return the first sentence of the docstring of each room, by its folder."""
    found = {}
    for folder in FOLDERS:
        for file in sorted((PROJECT / folder).glob("**/__init__.py")):
            path = file.parent.relative_to(PROJECT)
            if len(path.parts) <= 2 or path.as_posix() in WITHIN:
                first = (ast.get_docstring(ast.parse(file.read_text("utf-8"))) or "").partition("\n")[0]
                found[path.as_posix()] = first.rstrip(".")
    return found


def order() -> list[list[str]]:
    """Return the lines of the block in CONTRIBUTING.md, from the top: each may import those below it."""
    (block,) = re.findall(r"```imports\n(.*?)```", (PROJECT / "CONTRIBUTING.md").read_text("utf-8"), re.DOTALL)
    return [re.findall(r"\w+", part) for line in block.splitlines() for part in line.split("→")]


def main() -> None:
    """Print the rooms by floor, and the arrows between them."""
    pairs = arrows()
    imported: dict[str, set[str]] = {room_of(module_of(file)): set() for file in files()}
    for room, other in pairs:
        imported[room].add(other)
    wrong = against(order())
    for each in wrong:
        print(f"against the direction: {each.file}:{each.line} imports {each.module}")
    by_floor = floors(imported)
    print(f"{len(imported)} rooms, {max(by_floor.values())} floors, {len(pairs)} arrows")
    for number in range(max(by_floor.values()), 0, -1):
        for room in sorted(room for room in imported if by_floor[room] == number):
            print(f"{number:3} {room}: {', '.join(sorted(imported[room]))}")


if __name__ == "__main__":
    main()
