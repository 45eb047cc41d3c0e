"""Triton as a process on this machine, with our Python-based backends."""

import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from modelrepo.generator.errors import RepositoryError
from modelrepo.generator.progress import Progress
from modelrepo.generator.repository.layout import CONFIG
from modelrepo.generator.system import step_packages
from modelrepo.server.binaries import runtime
from modelrepo.server.binaries.runtime import Runtime
from modelrepo.server.running.handle import HOST
from modelrepo.server.running.spec import ServerSpec, server_flags

BACKENDS_FOLDER = Path(__file__).parents[1] / "backends"
STUB_SECONDS = 120
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108

# What comes before and after Triton's own module. Our backends use it as well, and mend what they need themselves.
BEFORE_PLAIN = """from modelrepo.server.backends import plain

# The repository is the user's, and what is staged is published as it is.
sys.dont_write_bytecode = True
_is_plain = not plain.served_file().is_relative_to({folder!r})
if _is_plain:
    sys.path[:0] = plain.packages()

"""
AFTER_PLAIN = """

if _is_plain:
    plain.prepare(sys.modules[__name__])
"""


@dataclass(frozen=True)
class Launch:
    """A command for the guardian to run; see guardian.py."""

    command: tuple[str, ...]
    environment: dict[str, str]
    description: str
    shared_memory: str = ""
    cleanup: tuple[str, ...] = ()


def served_backends() -> tuple[str, ...]:
    """Return the names of the backends whose models the local server serves: ours, and Triton's for Python models."""
    return (*backends(), "python")


def backends() -> tuple[str, ...]:
    """Return the names of our backends."""
    return tuple(sorted(folder.name for folder in BACKENDS_FOLDER.iterdir() if (folder / "model.py").is_file()))


def launch(spec: ServerSpec, scratch: Path, progress: Progress) -> Launch:
    """Prepare the local server's files in ``scratch``; ServerError if Triton can't be fetched or run here."""
    triton = runtime.ensure(progress)
    prefix = _shared_memory_prefix(scratch)
    _lay_out_backends(triton, scratch / "backends")
    # The stub's interpreter finds its standard library from the first python3 on PATH.
    (scratch / "bin").mkdir()
    (scratch / "bin/python3").symlink_to(sys.executable)
    environment = triton.environment()
    environment["PATH"] = f"{scratch / 'bin'}:{environment.get('PATH', os.defpath)}"
    environment["LD_LIBRARY_PATH"] = ":".join(_linked(triton.libraries, scratch / "lib"))
    refuse_unsafe(spec.served)
    _install(spec)
    flags = server_flags(spec, _plain_path(spec.served, scratch), HOST, spec.ports)
    for name in served_backends():
        flags.append(f"--backend-config={name},shm-region-prefix-name={prefix}")
        flags.append(f"--backend-config={name},stub-timeout-seconds={STUB_SECONDS}")
    return Launch(
        command=(str(triton.binary), f"--backend-directory={scratch / 'backends'}", *flags),
        environment=environment,
        description=f"local Triton {triton.triton_version}",
        shared_memory=prefix,
    )


def _linked(folders: Sequence[Path], base: Path) -> Iterator[str]:
    """Yield links to folders, for a variable in which a colon separates paths."""
    base.mkdir()
    for number, folder in enumerate(folders):
        link = base / str(number)
        link.symlink_to(folder)
        yield str(link)


def _plain_path(repository: Path, scratch: Path) -> str:
    """Return a path of the repository without characters that a shell interprets: its own, or that of a link."""
    if runtime.is_plain(str(repository)):
        return str(repository)
    (scratch / "served").symlink_to(repository)
    return str(scratch / "served")


def refuse_unsafe(repository: Path) -> None:
    """Raise RepositoryError for names in a repository that a shell of Triton's Python backend would interpret."""
    for model in repository.iterdir():
        config = model / CONFIG
        text = config.read_text("utf-8", errors="replace") if os.access(config, os.R_OK) and config.is_file() else ""
        named = re.findall(r"""default_model_filename\s*:\s*(?:"([^"]*)"|'([^']*)')""", text)
        for name in (model.name, *(part for parts in named for part in parts if part)) if model.is_dir() else ():
            if not runtime.is_plain(name):
                raise RepositoryError(
                    f"{model} can't be served here: Triton's Python backend would have a shell interpret {name!r}",
                    "Use letters, digits, '_', '.' and '-'",
                )


def _install(spec: ServerSpec) -> None:
    """Install what the Python steps of the models that are loaded first require; ServerError if that fails."""
    models = spec.models if spec.control == "explicit" else [path.name for path in spec.served.iterdir()]
    for name in models:
        for file in (spec.served / name).glob(f"*/{step_packages.REQUIREMENTS}"):
            step_packages.ensure(step_packages.read(file.parent), name)


def _shared_memory_prefix(scratch: Path) -> str:
    return f"modelrepo_{scratch.name}_"


def shared_memory(scratch: Path) -> tuple[Path, ...]:
    """Return the shared-memory regions that a server with this folder uses, or has left behind."""
    return tuple(SHARED_MEMORY.glob(f"{_shared_memory_prefix(scratch)}*"))


def _lay_out_backends(triton: Runtime, folder: Path) -> None:
    """Put the Python backend and ours side by side: Triton refuses links that lead out of the folder.

    The stub ignores PYTHONPATH, so each ``model.py`` sets this process's import path itself; for models of the Python
    backend, Triton's own module does.
    """
    (folder / "python").mkdir(parents=True)
    packages = [str(BACKENDS_FOLDER.parents[2]), *(path for path in sys.path if path and Path(path).exists())]
    path = f"import sys\n\nsys.path[:0] = {list(dict.fromkeys(packages))!r}\n"
    for file in triton.python_backend:
        if file.suffix == ".py":
            text = f"{path}{BEFORE_PLAIN.format(folder=str(folder))}{file.read_text('utf-8')}{AFTER_PLAIN}"
            (folder / "python" / file.name).write_text(text, "utf-8")
            continue
        try:
            os.link(file, folder / "python" / file.name)
        except OSError:  # a different file system, or one without hard links
            shutil.copy2(file, folder / "python" / file.name)
    for name in backends():
        (folder / name).mkdir()
        (folder / name / "model.py").write_text(
            f"{path}from modelrepo.server.backends.{name}.model import TritonPythonModel\n", "utf-8"
        )
