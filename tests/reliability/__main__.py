"""`make reliability`: runs are killed at every call, file systems fail, writers meet, and servers are under load."""

import hashlib
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import click

from tests.conftest import PROJECT
from tests.kept_rows import KeptRows, resumable
from tests.reliability import failing, full, killing, load, scenes, worker, writers
from tests.reliability.page import PAGE, page
from tests.reliability.rows import Row
from tests.reliability.scenes import SCENES, Scene
from tests.reliability.worker import Worker

STATE = PROJECT / "build/reliability/rows.jsonl"
# Kills at random, of each scene.
AT_RANDOM = 8
ROUNDS = 12
VERSIONS = 50
Part = Callable[[Path, int, int], Row]


@click.command()
@click.option("--seed", default=1, help="Of kills at random, of writers' commands. Default: 1.")
@click.option("--stride", default=1, help="Only one call of so many, and fewer rounds. Default: 1.")
@click.option("--only", multiple=True, help="Only parts whose key holds this, such as killed or load; may repeat.")
@click.option("--fresh", is_flag=True, help="Forget what earlier runs have found.")
@click.option("--update-page", is_flag=True, help="Run nothing; write the page from what is known.")
def main(seed: int, stride: int, only: tuple[str, ...], fresh: bool, update_page: bool) -> None:
    """Run what has no row yet for this code, and exit with 1 if anything was lost, broken or left over."""
    kept = KeptRows(STATE, Row, fresh)
    known = {row.key: row for row in kept.rows if row.digest == digest(row.key)}
    wanted = {key: part for key, part in parts().items() if not only or any(each in key for each in only)}
    start = time.monotonic()
    with resumable():
        for key, part in {} if update_page else wanted.items():
            if key in known:
                continue
            with tempfile.TemporaryDirectory(prefix="reliability-") as scratch:
                row = part(Path(scratch), seed, stride)
            known[key] = Row(key, digest(key), row.counts, row.faults, row.kinds)
            kept.add(known[key])
            click.echo(f"{time.monotonic() - start:.0f} s: {key}: {_told(known[key])}", err=True)
    rows = [known[key] for key in parts() if key in known]
    if not only:
        PAGE.write_text(page(rows, [key for key in parts() if key not in known]), "utf-8")
    faults = [f"{row.key}: {fault}" for row in rows for fault in row.faults]
    click.echo("\n".join(faults) or "No fault was found")
    sys.exit(1 if faults else 0)


def parts() -> dict[str, Part]:
    """Return the parts of a run by key; each takes an empty folder, a seed and a stride."""
    return {
        **{f"killed/{scene.name}": partial(killed, scene) for scene in SCENES},
        **{f"failing/{scene.name}": partial(failed, scene) for scene in SCENES},
        **({f"failing/{full.NAME}": filled} if full.possible() else {}),
        "writers/in one namespace": partial(wrote, False, False),
        "writers/in one namespace, some killed": partial(wrote, False, True),
        "writers/in two namespaces, some killed": partial(wrote, True, True),
        "load/poll": partial(loaded, "poll"),
        "load/explicit": partial(loaded, "explicit"),
    }


def digest(key: str) -> str:
    """Return what a row depends on: the code that writes repositories, and the tests of its kind."""
    module = {"killed": killing, "failing": failing, "writers": writers, "load": load}[key.partition("/")[0]]
    files = sorted((PROJECT / "generator/repository").rglob("*.py"))
    files += [PROJECT / "generator/system/files.py", *(PROJECT / "tests/reliability").glob("faults.c")]
    files += [Path(str(each.__file__)) for each in (module, scenes, worker)]
    files += [Path(full.__file__)] if key.endswith(full.NAME) else []
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


def killed(scene: Scene, scratch: Path, seed: int, stride: int) -> Row:
    """Kill a command at its calls and at random; every state that it leaves is served by the real Triton."""
    found, faults, states = list[killing.Point](), list[str](), set[str]()
    with Worker(scratch) as forks:
        trial = killing.points(
            scene,
            forks,
            scratch,
            at=slice((seed - 1) % stride, None, stride),
            at_random=AT_RANDOM // stride,
            seed=seed,
        )
        for point, left in trial:
            found.append(point)
            faults += [f"killed at {point.where}: {fault}" for fault in point.faults]
            if point.state not in states:
                states.add(point.state)
                faults += killing.asked(left, killing.served(left))
    counts = {"calls": found[0].of, "points": sum(each.killed for each in found), "states": len(states)}
    return Row(scene.name, "", counts, faults, killing.kinds(found))


def failed(scene: Scene, scratch: Path, seed: int, stride: int) -> Row:
    """Let the file system fail under a command."""
    with Worker(scratch) as forks:
        return _failing(list(failing.failures(scene, forks, scratch, every=stride, seed=seed)))


def filled(scratch: Path, seed: int, stride: int) -> Row:
    """Fill a small file system, and make it read-only."""
    home, folder = scratch / "worker", scratch / "small"
    home.mkdir()
    folder.mkdir()
    with Worker(home) as forks:
        return _failing(list(full.failures(forks, folder)))


def _failing(found: list[failing.Failure]) -> Row:
    faults = [f"{each.way} at {each.where}: {fault}" for each in found for fault in each.faults]
    refused = sum(each.code == failing.REPOSITORY for each in found)
    counts = {"calls": found[0].of, "points": len(found), "refused": refused}
    return Row("", "", counts, faults, dict(Counter(each.way for each in found)))


def wrote(apart: bool, kill: bool, scratch: Path, seed: int, stride: int) -> Row:
    """Let writers work at once; ``apart`` half of them in namespaces of their own."""
    folder, other = scratch / "shared", scratch / "seen-as"
    homes = [scratch / "one", scratch / "two"]
    for each in (folder, *homes):
        each.mkdir()
    with ExitStack() as stack:
        workers = [(stack.enter_context(Worker(homes[0])), folder)]
        if apart:
            workers.append((stack.enter_context(Worker(homes[1], writers.elsewhere(folder, other))), other))
        found = list(writers.rounds(workers, folder, seed, max(ROUNDS // stride, 2), kill=kill))
        faults = [fault for each in found for fault in each.faults] + writers.asked(folder)
    counts = {
        name: sum(getattr(each, name) for each in found) for name in ("writers", "published", "refused", "killed")
    }
    return Row("", "", {"rounds": len(found), **counts}, faults)


def loaded(mode: load.Mode, scratch: Path, seed: int, stride: int) -> Row:
    """Publish, roll back, promote and prune while clients ask a server."""
    home, folder = scratch / "worker", scratch / "served"
    home.mkdir()
    folder.mkdir()
    with Worker(home) as forks:
        found = load.under_load(forks, folder, mode, max(VERSIONS // stride, 6))
    names = ("published", "rollbacks", "promotions", "pruned", "requests", "failed", "wrong", "answered")
    return Row(mode, "", {name: getattr(found, name) for name in names}, found.faults)


def _told(row: Row) -> str:
    counts = ", ".join(f"{count} {name}" for name, count in row.counts.items())
    return f"{counts}, {len(row.faults)} faults"


if __name__ == "__main__":
    main()
