"""Commands whose file system fails at each call: full, over quota, read-only, or broken."""

import errno
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.reliability.killing import Reference, faults_of_files, reference
from tests.reliability.scenes import ROOT, Scene, below, copied, differing, tree
from tests.reliability.worker import MAKES, MOVES, REMOVES, Ended, Fault, Worker

REPOSITORY = 6
# Every so many failures the same command runs again, without a fault.
EVERY = 3


@dataclass(frozen=True)
class Failing:
    """A way in which a file system fails: at one call, and then at all calls of the ``lasting`` kinds."""

    error: int
    lasting: int
    # Whether steps that were done can be taken back: on a file system that has become read-only nothing can.
    undone: bool = True
    stride: int = 1  # of the calls, in a whole run

    @property
    def text(self) -> str:
        """The words of the operating system."""
        return os.strerror(self.error)


WAYS = (
    Failing(errno.ENOSPC, MAKES),
    Failing(errno.EDQUOT, MAKES, stride=2),
    Failing(errno.EROFS, MAKES | MOVES | REMOVES, undone=False, stride=2),
    Failing(errno.EIO, 0),
)


@dataclass(frozen=True)
class Failure:
    """A run whose file system failed at a call: how it ended, and the faults that were found."""

    scene: str
    way: str
    where: str
    code: int
    faults: tuple[str, ...]
    of: int  # calls of the command that change a file


def failures(
    scene: Scene, worker: Worker, scratch: Path, ways: tuple[Failing, ...] = WAYS, every: int = 1, seed: int = 1
) -> Iterator[Failure]:
    """Let a scene's command fail at its calls, in each way; of a whole run every so many are taken."""
    known = reference(scene, worker, scratch)
    for way in ways:
        stride = every * way.stride
        first = random.Random(f"{scene.name} {way.text} {seed}").randrange(stride)
        for number, call in list(enumerate(known.calls, 1))[first::stride]:
            folder = copied(known.folder, scratch / "failing")
            ended = worker.run(folder, scene.command, Fault(number, way.error, way.lasting))
            whole = way.undone and scene.verb not in ("prune", "remove")
            found = list(_faults(folder, ended, way, known, worker, whole=whole))
            if number % EVERY == 0:
                found += _recovered(folder, scene, known, worker)
            yield Failure(scene.name, way.text, call, ended.code, tuple(found), len(known.calls))


def _faults(
    folder: Path, ended: Ended, way: Failing, known: Reference, worker: Worker, *, whole: bool
) -> Iterator[str]:
    """Yield what is wrong; ``whole`` is whether an error must have left everything as it was."""
    lines = [line for line in ended.err.splitlines() if line.startswith("error: ")]
    if ended.code not in (0, REPOSITORY):
        yield f"ends with {ended.code}: {ended.err.strip()[-300:]}"
    elif ended.code and (len(lines) != 1 or way.text not in lines[0]):
        yield f"says {ended.err.strip()!r}"
    now = below(tree(folder), ROOT)
    if ended.code and whole:
        yield from (f"after the error {each}" for each in differing(now, below(known.before, ROOT)))
    elif ended.code:
        yield from faults_of_files(folder, known, worker)
    else:
        yield from (f"after success {each}" for each in differing(now, below(known.after, ROOT)))


def _recovered(folder: Path, scene: Scene, known: Reference, worker: Worker) -> Iterator[str]:
    ended = worker.run(folder, scene.command)
    gone = ended.code == REPOSITORY and scene.verb == "remove" and "has no model" in ended.err
    if ended.code != 0 and not gone:
        yield f"the same command then ends with {ended.code}: {ended.err.strip()}"
    yield from (f"after the same command {each}" for each in differing(tree(folder), known.after))
