"""Runs that are killed at each call that changes a file, and at random: what is served then, and how the next run ends.

A killed repository is judged by its files, and every state of it that differs from all others is served by the real
Triton as it is.
"""

import hashlib
import json
import random
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from modelrepo.generator.repository.lifecycle.standing import standing
from modelrepo.generator.repository.repository import Repository
from tests.reliability.asking import Served, answers_of, expected
from tests.reliability.scenes import ROOT, STATE, VERSIONS, Scene, Tree, below, copied, differing, lay_out, tree
from tests.reliability.worker import Ended, Fault, Worker

KILLED = -9
# What another command does after the killed one.
NEXT = (*VERSIONS[0][:-1], "9")
# Every so many points another command comes next, and not the same.
EVERY = 3

PART = re.compile(rf"(?:{ROOT}|{STATE}/(?:manifests|golden))/(?P<model>[^/]+)(?:/(?P<version>\d+))?")


@dataclass(frozen=True)
class Reference:
    """A scene without a fault: the trees before and after it, and what is served; then with another run after it."""

    folder: Path  # the repository before the command
    before: Tree
    after: Tree
    served_before: Served
    served_after: Served
    before_next: Tree
    after_next: Tree
    calls: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class Point:
    """A killed run: where it was killed, the faults that were found then, and the state that it left."""

    scene: str
    where: str
    killed: bool
    faults: tuple[str, ...]
    state: str  # a digest of what Triton reads
    of: int  # calls of the command that change a file


def reference(scene: Scene, worker: Worker, scratch: Path) -> Reference:
    """Run a scene without a fault."""
    folder = scratch / "before"
    copied_to = scratch / "after"
    lay_out(scene, worker, folder)
    before, served_before = tree(folder), served(folder)
    copied(folder, copied_to)
    start = time.monotonic()
    ended = _done(worker.run(copied_to, scene.command))
    seconds = time.monotonic() - start
    after, served_after = tree(copied_to), served(copied_to)
    _done(worker.run(copied_to, NEXT))
    after_next = tree(copied_to)
    copied(folder, copied_to)
    _done(worker.run(copied_to, NEXT))
    return Reference(
        folder, before, after, served_before, served_after, tree(copied_to), after_next, ended.calls, seconds
    )


def _done(ended: Ended) -> Ended:
    assert ended.code == 0, ended.err
    return ended


def served(folder: Path) -> Served:
    """Return the versions that are served, by model, as the configurations and folders say."""
    repository = Repository(folder / ROOT)
    names = [each.name for each in repository.root.iterdir()] if repository.root.is_dir() else []
    return {name: standing(repository, name).served for name in sorted(names)}


def points(
    scene: Scene, worker: Worker, scratch: Path, *, at: slice = slice(None), at_random: int = 0, seed: int = 1
) -> Iterator[tuple[Point, Path]]:
    """Kill a scene's command at its calls, and at random times; yield each point with the repository that was left."""
    known = reference(scene, worker, scratch)
    here = [(f"{number} {call}", Fault(at=number)) for number, call in enumerate(known.calls, 1)]
    times = random.Random(f"{scene.name} {seed}")
    here = here[at]
    here += [("random", Fault(after=times.uniform(0, known.seconds))) for _ in range(at_random)]
    for number, (where, fault) in enumerate(here):
        folder = copied(known.folder, scratch / "killed")
        ended = worker.run(folder, scene.command, fault)
        left, found = tree(folder), tuple(faults_of_files(folder, known, worker))
        kept = copied(folder, scratch / "left")
        again = _next(folder, scene, known, worker) if number % EVERY == 2 else _again(folder, scene, known, worker)
        state = hashlib.sha256(json.dumps(below(left, ROOT)).encode()).hexdigest()[:16]
        yield Point(scene.name, where, ended.code == KILLED, (*found, *again), state, len(known.calls)), kept


def faults_of_files(folder: Path, known: Reference, worker: Worker) -> Iterator[str]:
    """Yield what is wrong with a repository after its command was killed, before anything else is run."""
    left = below(tree(folder), ROOT)
    before, after = below(known.before, ROOT), below(known.after, ROOT)
    for name, content in left.items():
        if content not in (before.get(name), after.get(name)):
            yield f"{name} is neither the old nor the new one"
    listed = worker.run(folder, ("versions", "--json"))
    if listed.code != 0 and left:
        yield f"versions ends with {listed.code}: {listed.err.strip()}"
    now = served(folder)
    if now not in _between(known):
        yield f"served is {now}, and neither {known.served_before} nor {known.served_after}"
    for name, versions in now.items():
        for version in versions:
            files = below(left, f"{ROOT}/{name}/{version}")
            if files not in (below(before, f"{ROOT}/{name}/{version}"), below(after, f"{ROOT}/{name}/{version}")):
                yield f"version {version} of {name} is not whole"


def _between(known: Reference) -> list[Served]:
    """Return what may be served while a command runs: of each model the old versions or the new ones."""
    states: list[Served] = [{}]
    for name in known.served_before.keys() | known.served_after.keys():
        old, new = known.served_before.get(name), known.served_after.get(name)
        states = [
            {**state, **({name: versions} if versions is not None else {})}
            for state in states
            for versions in (old, new)
        ]
    return states


def _again(folder: Path, scene: Scene, known: Reference, worker: Worker) -> Iterator[str]:
    """Yield what is wrong after the same command has run again."""
    ended = worker.run(folder, scene.command)
    gone = ended.code == 6 and scene.verb == "remove" and "has no model" in ended.err
    if ended.code != 0 and not gone:
        yield f"the same command then ends with {ended.code}: {ended.err.strip()}"
    yield from (f"after the same command {each}" for each in differing(tree(folder), known.after))


def _next(folder: Path, scene: Scene, known: Reference, worker: Worker) -> Iterator[str]:
    """Yield what is wrong after another command has run."""
    ended = worker.run(folder, NEXT)
    if ended.code != 0:
        yield f"another command then ends with {ended.code}: {ended.err.strip()}"
    now = tree(folder)
    references = (known.before_next, known.after_next)
    closest = min((differing(now, each) for each in references), key=len)
    if scene.verb in ("prune", "remove"):  # of several versions or models some may be removed, each wholly
        parts = [_parts(each) for each in (now, *references)]
        closest = [
            f"{' '.join(part)} is neither there nor gone"
            for part in sorted({*parts[0], *parts[1], *parts[2]})
            if parts[0].get(part) not in (parts[1].get(part), parts[2].get(part))
        ]
    yield from (f"after another command {each}" for each in closest)


def _parts(found: Tree) -> dict[tuple[str, str], Tree]:
    """Return the parts of a tree by model and version: files and records; what all versions share has no version."""
    parts: dict[tuple[str, str], Tree] = {}
    for name, content in found.items():
        match = PART.match(name)
        model, version = (match["model"], match["version"] or "") if match else (name, "")
        if match is None or version or "." in name.rpartition("/")[2]:
            parts.setdefault((model, version), {})[name] = content
    return parts


def kinds(found: list[Point]) -> dict[str, int]:
    """Return how many runs were killed at each kind of call."""
    return dict(Counter("random" if each.where == "random" else each.where.split()[1] for each in found if each.killed))


def asked(folder: Path, known: Served) -> list[str]:
    """Serve a killed repository with the real Triton as it is, and return what is wrong with its answers."""
    answers = answers_of(folder / ROOT)
    wrong = [f"Triton serves {sorted(answers)}, and not {known}"] if {*answers} != _keys(known) else []
    return wrong + [f"{key} answers {answer}" for key, answer in answers.items() if answer != expected(folder, *key)]


def _keys(known: Served) -> set[tuple[str, int]]:
    return {(name, version) for name, versions in known.items() for version in versions}
