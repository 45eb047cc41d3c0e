"""The golden requests of published versions: in the state folder, beside their manifests."""

from pathlib import Path

from modelrepo.generator.errors import RepositoryError
from modelrepo.generator.repository.repository import Repository
from modelrepo.generator.verification import golden
from modelrepo.generator.verification.golden import Golden


def read(repository: Repository, name: str, version: int) -> Golden | None:
    """Return the golden requests of a version, None if an earlier release published it.

    RepositoryError if they are damaged, or from a newer release.
    """
    return golden.read(repository.golden_folder(name), str(version))


def keep(repository: Repository, name: str, version: int, requests: Golden) -> None:
    """Write the golden requests of a version; without the version they are harmless."""
    golden.write(repository.golden_folder(name), str(version), requests)


def files(repository: Repository, name: str, version: int) -> tuple[Path, ...]:
    """Return the files of a version's golden requests, which go when the version goes."""
    return tuple(sorted(repository.golden_folder(name).glob(f"{version}.*")))


def are_kept(repository: Repository, name: str, version: int) -> bool:
    """Whether a version has golden requests that can be read, or a reason why it has none."""
    try:
        return read(repository, name, version) is not None
    except RepositoryError:
        return False
