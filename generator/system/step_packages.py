"""The packages of a Python step on this machine: in a folder of the cache, for the processes of that step only.

A server's process of a step finds the folder by the file of requirements beside its ``model.py``.
"""

import hashlib
import platform
import shutil
import subprocess
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path

from modelrepo.generator.errors import ServerError, first_line
from modelrepo.generator.system import process
from modelrepo.generator.system.cache import cache_folder
from modelrepo.generator.system.environment import has_pip, uv_command

# In the version folder of a step.
REQUIREMENTS = "requirements.txt"
# Builds the image that has them, and serves the repository with it.
SERVED_WITH = "docker compose -f docker-compose.yml -f docker-compose.steps.yml up --build --detach --wait"
# A file in a folder of packages that are all there.
COMPLETE = "complete"
SECONDS = 900.0
# Of pip: a machine without a network is told so soon.
PATIENCE = ("--retries", "1", "--timeout", "15")


def read(version: Path) -> tuple[str, ...]:
    """Return the requirements of the step in a version folder; none for one without."""
    file = version / REQUIREMENTS
    lines = file.read_text("utf-8").splitlines() if file.is_file() else []
    return tuple(line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#"))


def required(repository: Path, models: Sequence[str] = ()) -> dict[str, tuple[str, ...]]:
    """Return the requirements of the newest versions in a repository, of all models by default; those that have any."""
    found = {}
    for model in [repository / name for name in models] or (repository.iterdir() if repository.is_dir() else ()):
        versions = [path for path in model.iterdir() if path.name.isdecimal()] if model.is_dir() else []
        newest = max(versions, key=lambda path: int(path.name), default=None)
        requirements = read(newest) if newest else ()
        if requirements:
            found[model.name] = requirements
    return found


def folder(requirements: Sequence[str]) -> Path:
    """Return the folder that has these requirements for this Python, or will have them."""
    said = "\n".join([sys.implementation.cache_tag, platform.machine(), *sorted(requirements)])
    return cache_folder() / "packages" / hashlib.sha256(said.encode()).hexdigest()[:16]


def found(requirements: Sequence[str]) -> tuple[str, ...] | None:
    """Return the folders that Python finds requirements in beside its own; None if they are still to be installed."""
    if is_complete(requirements):
        return (str(folder(requirements)),)
    return () if all(_is_here(each) for each in requirements) else None


def is_complete(requirements: Sequence[str]) -> bool:
    """Whether a folder of the cache has these requirements."""
    return bool(requirements) and (folder(requirements) / COMPLETE).is_file()


def ensure(requirements: Sequence[str], step: str) -> tuple[str, ...]:
    """Return the folders of requirements as ``found``; what this Python lacks is installed first, with uv or pip.

    Raises ServerError, which names the step, if that fails.
    """
    known = found(requirements)
    if known is not None:
        return known
    target = folder(requirements)
    target.parent.mkdir(parents=True, exist_ok=True)
    making = target.with_name(f"{target.name}.{uuid.uuid4().hex[:8]}")
    wanted = " ".join(requirements)
    try:
        done = process.run([*_installer(step, wanted), "--target", str(making), *requirements], timeout=SECONDS)
        if done.code:
            raise ServerError(
                f"can't install {wanted} for step {step!r}: {_reason(done.last_words)}",
                f"Is there a network? Or install it here: {sys.executable} -m pip install {wanted}",
            )
        (making / COMPLETE).touch()
        shutil.rmtree(target, ignore_errors=True)
        making.rename(target)
    except (OSError, subprocess.TimeoutExpired) as error:
        if not is_complete(requirements):  # another process was quicker
            raise ServerError(f"can't install {wanted} for step {step!r}: {first_line(error)}") from error
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return (str(target),)


def _reason(words: str) -> str:
    """Return the last words of uv or pip without the frame of a longer message."""
    return first_line(words.lstrip("\u00d7\u2570\u2500\u25b6 ").removeprefix("ERROR: ").removeprefix("cause: "))


def name_of(requirement: str) -> str:
    """Return the name of a required package; empty for a file or an address."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        return Requirement(requirement).name
    except InvalidRequirement:
        return ""


def _installer(step: str, wanted: str) -> list[str]:
    if uv_command():
        return [*uv_command(), "pip", "install", "--quiet", "--python", sys.executable]
    if has_pip():
        return [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PATIENCE]
    raise ServerError(f"step {step!r} needs {wanted}, and neither uv nor pip is here to install it")


def _is_here(requirement: str) -> bool:
    """Whether this Python has a requirement already."""
    from importlib.metadata import PackageNotFoundError, version

    from packaging.requirements import InvalidRequirement, Requirement

    try:
        asked = Requirement(requirement)
        if asked.marker and not asked.marker.evaluate():
            return True
        return not asked.extras and not asked.url and asked.specifier.contains(version(asked.name), prereleases=True)
    except (InvalidRequirement, PackageNotFoundError):
        return False
