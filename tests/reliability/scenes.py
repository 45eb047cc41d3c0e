"""Commands, each with the repository that it finds; and trees of files that can be compared."""

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.reliability.worker import Worker

ROOT, STATE = "model_repository", ".modelrepo/model_repository"
QUICK = ("-q", "--live-check", "off", "--client-dir", "none")
LINEAR = ("generate", "--model", "numpy:linear", *QUICK)
OTHER = ("generate", "--model", "numpy:sums_the_batch", *QUICK)
VERSIONS = [(*LINEAR, "--seed", str(seed)) for seed in (1, 2, 3)]
OTHERS = [(*OTHER, "--seed", str(seed)) for seed in (4, 5)]
BY_HAND = "# edited by hand\n"


@dataclass(frozen=True)
class Scene:
    """A command, and the commands that made the repository before it."""

    name: str
    command: Sequence[str]
    before: Sequence[Sequence[str]] = field(default_factory=tuple)
    edited: bool = False  # whether the configuration was then edited by hand

    @property
    def verb(self) -> str:
        """The verb of the command."""
        return self.command[0]


SCENES = (
    Scene("generate, the first version", VERSIONS[0]),
    Scene("generate, another version", VERSIONS[1], VERSIONS[:1]),
    Scene("generate, over an edited configuration", VERSIONS[1], VERSIONS[:1], edited=True),
    Scene("generate, another version policy", (*VERSIONS[1], "--version-policy", "latest:2"), VERSIONS[:2]),
    Scene("generate, after a rollback", VERSIONS[2], [*VERSIONS[:2], ("rollback", "linear")]),
    Scene("rollback", ("rollback", "linear", "--to", "1"), VERSIONS[:2]),
    Scene("rollback, over an edited configuration", ("rollback", "linear", "--to", "1"), VERSIONS[:2], edited=True),
    Scene("promote two versions", ("promote", "linear", "1,2"), VERSIONS[:2]),
    Scene("promote the newest", ("promote", "linear", "2"), [*VERSIONS[:2], ("rollback", "linear")]),
    Scene("prune", ("prune", "linear", "--keep", "1"), VERSIONS),
    Scene("prune two models", ("prune", "--keep", "1", "--yes"), [*VERSIONS[:2], *OTHERS]),
    Scene("remove", ("remove", "linear"), [*VERSIONS[:2], *OTHERS[:1]]),
    Scene("remove all models", ("remove", "*", "--yes"), [*VERSIONS[:1], *OTHERS[:1]]),
)
Tree = dict[str, str]


def lay_out(scene: Scene, worker: Worker, folder: Path) -> None:
    """Make the repository that a scene's command finds."""
    folder.mkdir(parents=True)
    for command in scene.before:
        ended = worker.run(folder, command)
        assert ended.code == 0, ended.err
    if scene.edited:
        config = folder / ROOT / "linear/config.pbtxt"
        config.write_text(BY_HAND + config.read_text())


def copied(folder: Path, copy: Path) -> Path:
    """Return a fresh copy of a folder, with its times."""
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy, symlinks=True)
    return copy


def tree(folder: Path) -> Tree:
    """Return what lies below a folder, by path, without what differs from run to run: times, and names made of them.

    A repository that is empty, and one that is not there, are the same.
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        name = re.sub(r"\d{8}T\d+Z", "TIME", path.relative_to(folder).as_posix())
        if name == ROOT or (name.partition("/")[0] == ".modelrepo" and name.count("/") < 2) or name == f"{STATE}/lock":
            continue
        found[name] = "folder" if path.is_dir() else _comparable(path)
    return {name: kind for name, kind in found.items() if name not in EMPTY or _holds(found, name)}


# Folders that mean nothing while they are empty.
EMPTY = (f"{STATE}/manifests", f"{STATE}/golden", f"{STATE}/replaced", f"{STATE}/plans")


def _holds(found: Tree, name: str) -> bool:
    return any(each.startswith(f"{name}/") for each in found)


def _comparable(path: Path) -> str:
    data = path.read_bytes()
    if path.suffix == ".npz" or b"\0" in data:
        return data.hex()
    text = data.decode("utf-8", errors="surrogateescape")
    for pattern, instead in (
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+\d:.Z]*", "TIME"),
        (r"since TIME \([0-9a-f]{16}\)", "since TIME"),
        (r"(# modelrepo (?:rollback|promote)[^\\\n]*?) \([0-9a-f]{16}\)", r"\1"),
        (r'"mtime_ns": \d+', '"mtime_ns": 0'),
        (r'"seconds": [\d.e-]+', '"seconds": 0'),
    ):
        text = re.sub(pattern, instead, text)
    return text


def differing(one: Tree, other: Tree) -> list[str]:
    """Return what differs between two trees, a line for each path."""
    lines = [f"{name} is left over" for name in one.keys() - other.keys()]
    lines += [f"{name} is missing" for name in other.keys() - one.keys()]
    return sorted([*lines, *(f"{name} differs" for name in one.keys() & other.keys() if one[name] != other[name])])


def below(found: Tree, folder: str) -> Tree:
    """Return the part of a tree below a folder."""
    return {name: kind for name, kind in found.items() if name.startswith(f"{folder}/")}
