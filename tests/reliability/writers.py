"""Writers at once, on one model and on several, in one namespace of processes and in two; some of them are killed."""

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.reliability.asking import answers_of, expected
from tests.reliability.killing import KILLED, served
from tests.reliability.scenes import LINEAR, OTHER, ROOT, STATE, tree
from tests.reliability.worker import NONE, Fault, Worker

WRITERS = 8
MODELS = {"linear": LINEAR, "sums_the_batch": OTHER}
# Another host, as far as one machine has it: its own numbers of processes, and its own path to the shared folder.
ELSEWHERE = ("unshare", "-m", "-p", "-f", "--mount-proc", "sh", "-c", 'mount --bind "$0" "$1" && shift && exec "$@"')


@dataclass(frozen=True)
class Round:
    """What writers at once have left: how many ran, were refused and were killed, and the faults that were found."""

    name: str
    writers: int
    published: int
    refused: int
    killed: int
    faults: tuple[str, ...]


def elsewhere(folder: Path, other: Path) -> tuple[str, ...]:
    """Return the command that runs another with ``folder`` at the path ``other``, in namespaces of its own."""
    other.mkdir(exist_ok=True)
    return (*ELSEWHERE, str(folder), str(other))


def rounds(
    workers: Sequence[tuple[Worker, Path]], folder: Path, seed: int, count: int, *, kill: bool = False
) -> Iterator[Round]:
    """Let writers work at once, so many times, on the repository that all workers see, each at its own path."""
    drawn = random.Random(f"writers {seed} {kill}")
    for number in range(count):
        names = list(MODELS)[: 1 + number % 2]
        commands = [_drawn(drawn, names) for _ in range(WRITERS)] if number else _first(drawn, names)
        faults = [Fault(at=drawn.randrange(1, 90)) if kill and at < 2 else NONE for at in range(WRITERS)]
        shares = [slice(at, None, len(workers)) for at in range(len(workers))]
        before = _published(folder)
        for (worker, path), share in zip(workers, shares, strict=True):
            worker.run_all(path, commands[share], faults[share], wait=False)
        ended = [each for worker, _ in workers for each in worker.ended()]
        told = [row for each in ended for row in _rows(each.out) if row["status"] == "published"]
        found = [
            f"ends with {each.code}: {each.err.strip()[-200:]}" for each in ended if each.code not in (0, 6, KILLED)
        ]
        hung = [each for each in ended if each.code == KILLED]
        if not kill:
            found += ["a writer hangs" for _ in hung]
        found += _faults(folder, workers[0], before, told)
        yield Round(
            f"{', '.join(names)}", len(ended), len(told), sum(each.code == 6 for each in ended), len(hung), tuple(found)
        )


def _first(drawn: random.Random, names: Sequence[str]) -> list[tuple[str, ...]]:
    return [(*MODELS[names[0]], "--json", "--seed", str(drawn.randrange(10**6))) for _ in range(WRITERS)]


def _drawn(drawn: random.Random, names: Sequence[str]) -> tuple[str, ...]:
    name = drawn.choice(names)
    generate = (*MODELS[name], "--json", "--seed", str(drawn.randrange(10**6)))
    others = [("rollback", name), ("prune", name, "--keep", "3"), ("promote", name, str(drawn.randrange(1, 9)))]
    return drawn.choice([generate, generate, *others])


def _rows(out: str) -> list[dict[str, str]]:
    try:
        return list(json.loads(out).get("results", ()))
    except ValueError:
        return []


def _published(folder: Path) -> set[tuple[str, int]]:
    records = (folder / STATE / "manifests").glob("*/*.json")
    return {(each.parent.name, int(each.stem)) for each in records}


def _faults(
    folder: Path, first: tuple[Worker, Path], before: set[tuple[str, int]], told: Sequence[dict[str, str]]
) -> Iterator[str]:
    """Yield what is wrong: a version that two writers were given, one that is not whole, and what is left over."""
    worker, path = first
    numbers = [(row["name"], int(row["version"])) for row in told]
    yield from (f"{each} was published twice" for each in {*numbers} if numbers.count(each) > 1)
    yield from (f"{each} was published again" for each in before.intersection(numbers))
    ended = worker.run(path, ("prune", "--keep", "100", "--yes"))  # a writer, which recovers
    if ended.code:
        yield f"prune ends with {ended.code}: {ended.err.strip()}"
    listed = worker.run(path, ("versions", "--verify", "--json"))
    rows = json.loads(listed.out)["versions"] if listed.code == 0 else []
    if listed.code:
        yield f"versions --verify ends with {listed.code}: {listed.err.strip()} {listed.out.strip()[-300:]}"
    yield from (f"{row['model']} {row['version']}: {row['note']}" for row in rows if not row["intact"])
    kinds = {name.removeprefix(f"{STATE}/").partition("/")[0] for name in tree(folder) if name.startswith(STATE)}
    yield from (f"{kind} is left over" for kind in kinds - {"manifests", "golden"})


def asked(folder: Path) -> list[str]:
    """Serve what writers have left with the real Triton, and return what is wrong with its answers."""
    answers = answers_of(folder / ROOT)
    known = {(name, version) for name, versions in served(folder).items() for version in versions}
    wrong = [f"Triton serves {sorted(answers)}, and not {sorted(known)}"] if {*answers} != known else []
    return wrong + [f"{key} answers {answer}" for key, answer in answers.items() if answer != expected(folder, *key)]
