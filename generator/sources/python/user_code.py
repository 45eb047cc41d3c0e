"""The user's own modules: found without an import, imported, and their errors reported by file and line."""

import ast
import importlib
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import chdir, contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from modelrepo import HOME
from modelrepo.generator.errors import SourceError, nearest
from modelrepo.generator.system.quiet import quiet

# The modules imported for the last model: another model may have modules of the same names in another folder.
_imported: set[str] = set()
# The folders that its code has added to Python's path: its factory and its forward may import more from there.
_folders: list[str] = []


@contextmanager
def importable() -> Iterator[None]:
    """Let Python find modules in the current folder first, without writing compiled ones there.

    Folders that the user's code adds stay at the end of the path, until the next model is loaded.
    """
    path, bytecode = [each for each in sys.path if each not in _folders], sys.dont_write_bytecode
    here = str(Path.cwd())
    sys.path[:] = [here, *path, *_folders]
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        _folders.extend(each for each in dict.fromkeys(sys.path) if each not in (here, *path, *_folders))
        sys.path[:] = [*path, *_folders]
        sys.dont_write_bytecode = bytecode


def files(module: str) -> tuple[Path, ...]:
    """Return the files that ``module`` is made of, without running any.

    These are its own file, or all of its package, and the modules that it imports from the current folder; for an
    installed package, only its own file. Raises SourceError if there is no such module.
    """
    with importable():
        spec = _find(module)
        top = _find(module.partition(".")[0])
    own = [Path(spec.origin)] if spec.origin and spec.has_location else []
    folders = [Path(each) for each in top.submodule_search_locations or ()]
    found: set[Path] = set()
    waiting = own + [file for folder in folders if _is_users(folder) for file in _sources(folder)]
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            waiting += [each for name in imports([file]) for each in _local(name)]
    return tuple(sorted(found))


def placed(module: str) -> dict[str, Path]:
    """Return the user's files that ``module`` is made of, by their paths in the folder that Python imports them from.

    None of an installed package is. Errors as of ``files``.
    """
    with importable():
        top = _find(module.partition(".")[0])
    first = Path(top.origin) if top.origin else Path(next(iter(top.submodule_search_locations or ())), "__init__.py")
    home = first.parents[1] if top.submodule_search_locations else first.parent
    found = {}
    for file in files(module):
        folder = next((each for each in (home, Path.cwd()) if file.is_relative_to(each)), None)
        if folder and _is_users(file):
            found[str(file.relative_to(folder))] = file
    return found


def imports(paths: Iterable[Path]) -> set[str]:
    """Return the top-level names that the user's files import; none for a file that can't be parsed."""
    return {name.partition(".")[0] for path in paths if _is_users(path) for name in _imports_of(path)}


def load(module: str) -> ModuleType:
    """Import ``module`` again; SourceError names the line of the user's code that fails."""
    _forget_folders()
    with importable():
        spec = _find(module)
        for name in _imported & sys.modules.keys():
            del sys.modules[name]
        _imported.clear()
        _check_free(module, spec)
        before = set(sys.modules)
        importlib.invalidate_caches()
        loaded = run(lambda: importlib.import_module(module), f"importing {module} fails")
        _imported.update(name for name in set(sys.modules) - before if _is_users(_file(sys.modules[name])))
    return loaded  # type: ignore[no-any-return]


def _forget_folders() -> None:
    """Take the folders of the last model out of Python's path."""
    sys.path[:] = [each for each in sys.path if each not in _folders]
    _folders.clear()


def run(call: Callable[[], Any], what: str) -> Any:
    """Return the result of a call of the user's code; SourceError with the line and the reason if it fails."""
    try:
        with quiet(), chdir(Path.cwd()):  # the user's code may change the folder
            return call()
    except ModuleNotFoundError as error:
        raise SourceError(
            f"{_place(error)}: {what}: there is no module {error.name!r}",
            "Install it, or run generate where Python finds it",
        ) from error
    except SyntaxError as error:
        name = _shown(Path(error.filename)) if error.filename else "?"
        raise SourceError(f"{name}:{error.lineno}: {what}: {error.msg}") from error
    except (Exception, SystemExit) as error:
        lines = str(error).strip().splitlines()
        reason = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
        raise SourceError(f"{_place(error)}: {what}: {reason}") from error


def _find(module: str) -> ModuleSpec:
    search, spec = list(sys.path), None
    parts = module.split(".")
    for depth in range(1, len(parts) + 1):
        spec = _spec(".".join(parts[:depth]), search)
        if spec is None or (depth < len(parts) and spec.submodule_search_locations is None):
            raise _missing(module)
        search = list(spec.submodule_search_locations or ())
    assert spec is not None  # noqa: S101 - a name has at least one part
    return spec


def _spec(name: str, search: list[str]) -> ModuleSpec | None:
    try:
        found = PathFinder.find_spec(name, search)
        if found is None:  # packages under development have their own finders
            others = [each for each in sys.meta_path if each is not PathFinder]
            found = next((spec for each in others if (spec := each.find_spec(name, search))), None)
    except (ImportError, ValueError):
        return None
    return found


def _missing(module: str) -> SourceError:
    if module.endswith(".py") or "/" in module:
        name = module.removesuffix(".py").strip("./").replace("/", ".")
        return SourceError(
            f"{module!r} is not the name of a module", f"Name it as Python imports it: python:{name}:FACTORY"
        )
    here = sorted(each.stem for each in Path.cwd().glob("*.py")) if "." not in module else []
    offered = nearest(module, here) if here else ""
    return SourceError(
        f"there is no module {module!r}",
        offered
        if offered.startswith("Did")
        else "Modules are searched for in the current folder and in Python's packages",
    )


def _sources(folder: Path) -> list[Path]:
    return [
        file
        for file in folder.rglob("*.py")
        if not any(part.startswith(".") for part in file.parts[len(folder.parts) :])
    ]


def _imports_of(file: Path) -> Iterator[str]:
    try:
        tree = ast.parse(file.read_bytes()) if file.suffix == ".py" else ast.Module([], [])
    except (SyntaxError, ValueError):  # the import reports it
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def _local(name: str) -> list[Path]:
    """Return the files of a module or package of the current folder; none for one from elsewhere."""
    file, folder = Path.cwd() / f"{name}.py", Path.cwd() / name
    return [file] if file.is_file() else _sources(folder) if folder.is_dir() else []


def _check_free(module: str, spec: ModuleSpec) -> None:
    """Raise SourceError if another module has the name already: Python would return that."""
    top = module.partition(".")[0]
    taken = sys.modules.get(top)
    if taken is None or (top != module and spec.origin and _beside(taken, spec)):
        return
    if top == module and getattr(taken, "__file__", None) == spec.origin:
        return
    raise SourceError(
        f"Python has another module called {top!r}, from {getattr(taken, '__file__', None) or 'its own'}",
        "Rename yours",
    )


def _beside(package: ModuleType, spec: ModuleSpec) -> bool:
    folders = [Path(each) for each in getattr(package, "__path__", ())]
    return any(Path(spec.origin or "").is_relative_to(folder) for folder in folders)


def _is_users(path: Path) -> bool:
    """Whether a file is the user's: not ours, and not in a folder of installed packages."""
    folders = sysconfig.get_paths()
    others = [HOME, *(Path(folders[name]) for name in ("stdlib", "platstdlib", "purelib", "platlib"))]
    return not any(path.is_relative_to(other) for other in others)


def _file(module: ModuleType) -> Path:
    """Return a module's file, or the folder of a package without one; a file of Python's library for other modules.

    torch.ops and torch.classes only have the name of a file; without them in ``sys.modules`` the next model fails.
    """
    spec = getattr(module, "__spec__", None)
    folders = [*(spec.submodule_search_locations or ())] if isinstance(spec, ModuleSpec) and not spec.origin else []
    file = Path(getattr(module, "__file__", None) or next(iter(folders), ast.__file__))
    return file if file.is_absolute() else Path(ast.__file__)


def _place(error: BaseException) -> str:
    """Return the last file and line of the user's code in a traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if _is_users(Path(frame.filename))]
    frame = (own or frames)[-1]
    return f"{_shown(Path(frame.filename))}:{frame.lineno}"


def _shown(file: Path) -> str:
    return str(file.relative_to(Path.cwd())) if file.is_relative_to(Path.cwd()) else str(file)
