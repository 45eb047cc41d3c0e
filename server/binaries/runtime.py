"""The Triton that runs here without a container: its requirements, and the paths of its parts.

The wheel of PyTriton carries NVIDIA's own ``tritonserver`` with its Python backend: see ``server/binaries/wheels.py``.
"""

import os
import platform
import re
import sys
import sysconfig
import tempfile
from dataclasses import dataclass
from pathlib import Path

from modelrepo.generator.errors import ServerError
from modelrepo.generator.progress import Progress
from modelrepo.server.binaries import wheels
from modelrepo.server.binaries.wheels import (
    OLD_PERF_ANALYZER,
    PERF_ANALYZER,
    PYTRITON,
    PYTRITON_LIBRARIES,
    Wheel,
    reachable,
    server_cache,
)

# From the manylinux tags of the wheels: PyTriton's, and the newest one with perf_analyzer.
GLIBC, PERF_ANALYZER_GLIBC = (2, 35), (2, 38)
PYTHONS = ((3, 11), (3, 12), (3, 13))
TRITON_VERSION = PYTRITON.version


@dataclass(frozen=True)
class Runtime:
    """An unpacked Triton."""

    folder: Path
    triton_version: str = TRITON_VERSION

    @property
    def binary(self) -> Path:
        """The server's executable."""
        return self.folder / "pytriton/tritonserver/bin/tritonserver"

    @property
    def python_backend(self) -> tuple[Path, ...]:
        """The files that make a ``backends/python`` folder for this interpreter."""
        home = self.folder / "pytriton/tritonserver"
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        return (
            home / "backends/python/libtriton_python.so",
            home / "backends/python/triton_python_backend_utils.py",
            home / "python_backend_stubs" / version / "triton_python_backend_stub",
        )

    @property
    def libraries(self) -> tuple[Path, ...]:
        """The folders of the shared libraries that the server needs, this interpreter's among them."""
        return libpython().parent, self.folder / PYTRITON_LIBRARIES

    def environment(self) -> dict[str, str]:
        """Return the server's environment: this process's, and the path of its libraries."""
        return {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(map(str, self.libraries))}


@dataclass(frozen=True)
class Requirement:
    """A requirement of the local Triton: what was found, what is needed, and whether that is enough."""

    name: str
    found: str
    needed: str
    ok: bool


def runs_folder() -> Path:
    """Return the parent of running servers' folders: in the cache, unless a shell would interpret that path."""
    own = server_cache() / "runs"
    return own if is_plain(str(own)) else Path(tempfile.gettempdir(), f"modelrepo-{os.getuid()}", "runs")


def is_plain(text: str) -> bool:
    """Whether a path is ASCII without characters that a shell interprets.

    Triton's Python backend starts its processes with a command line that it passes to bash unquoted.
    """
    return re.fullmatch(r"[A-Za-z0-9_./+@%,=-]+", text) is not None


def libpython() -> Path:
    """Return the path of this interpreter's shared library, whether it exists or not.

    An interpreter that was moved after it was built, as those that uv downloads, names a folder of another machine.
    """
    name = sysconfig.get_config_var("INSTSONAME") or ""
    if ".so" not in name:  # a statically linked interpreter may still have a shared library beside it
        name = f"libpython{sys.version_info.major}.{sys.version_info.minor}.so.1.0"
    folders = (Path(sysconfig.get_config_var("LIBDIR") or sys.base_prefix), Path(sys.base_prefix, "lib"))
    return next((folder / name for folder in folders if reachable(folder / name)), folders[0] / name)


def requirements() -> tuple[Requirement, ...]:
    """Return the requirements of the local Triton, in the order in which to fix them."""
    library, has_library = libpython(), reachable(libpython())
    return (
        platform_requirement(),
        Requirement(
            "python",
            found=f"{platform.python_version()}, {sys.executable}",
            needed=f"Python {', '.join(f'{major}.{minor}' for major, minor in PYTHONS)}",
            ok=sys.version_info[:2] in PYTHONS,
        ),
        Requirement(
            "libpython",
            found=str(library) if has_library else f"no {library}",
            needed="a Python with a shared library",
            ok=has_library,
        ),
    )


def platform_requirement() -> Requirement:
    """Return what all of NVIDIA's wheels require: the system, the processor and the C library."""
    system, glibc = f"{platform.system()} {platform.machine()}", _glibc()
    return Requirement(
        "platform",
        found=f"{system}, {f'glibc {glibc}' if glibc else 'no glibc'}",
        needed=f"Linux x86_64 with glibc {GLIBC[0]}.{GLIBC[1]} or newer",
        ok=system == "Linux x86_64" and _at_least(GLIBC),
    )


def perf_analyzer_wheel() -> Wheel:
    """Return the newest wheel with a perf_analyzer that this machine's C library can run."""
    return PERF_ANALYZER if _at_least(PERF_ANALYZER_GLIBC) else OLD_PERF_ANALYZER


def _at_least(version: tuple[int, int]) -> bool:
    glibc = _glibc()
    return bool(glibc) and tuple(map(int, glibc.split(".")[:2])) >= version


def _glibc() -> str:
    """Return the version of glibc, or an empty text for a different C library."""
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except ValueError:  # musl and macOS have no such variable
        return ""
    return version if name == "glibc" else ""


def unsupported() -> str | None:
    """Return why this machine can't run the local Triton, or None if it can."""
    for each in requirements():
        if not each.ok:
            return f"the local Triton needs {each.needed}; this machine has {each.found}"
    return None


def installed() -> Runtime | None:
    """Return the unpacked Triton, or None if it is not fetched yet or not readable; downloads nothing."""
    folder = wheels.installed(PYTRITON)
    return Runtime(folder) if folder else None


def ensure(progress: Progress) -> Runtime:
    """Return the local Triton; download and unpack it first if it is not here yet.

    Raises ServerError if this machine can't run it, or if it can't be downloaded.
    """
    reason = unsupported()
    if reason:
        raise ServerError(reason, "Use a container: --runtime docker; `modelrepo doctor` shows what is missing")
    return Runtime(wheels.ensure(PYTRITON, progress))
