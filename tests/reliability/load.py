"""Servers under load while versions are published, rolled back, promoted and pruned."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from modelrepo.clients.client import GrpcClient
from modelrepo.clients.settings import Retry
from modelrepo.server import Server, running_server
from tests.reliability.asking import INPUT
from tests.reliability.scenes import LINEAR, ROOT
from tests.reliability.worker import Worker

CLIENTS = 3
POLL_SECONDS = 1
# A polling server has seen a change after so long, on a busy machine too.
SEEN_SECONDS = 90.0
Mode = Literal["poll", "explicit"]


@dataclass(frozen=True)
class Loaded:
    """What clients saw while versions came and went."""

    mode: str
    published: int
    rollbacks: int
    promotions: int
    pruned: int
    requests: int
    failed: int
    wrong: int
    answered: int  # versions that have answered a request
    faults: tuple[str, ...]


@dataclass
class _Seen:
    """The answers of all clients so far."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    known: set[int] = field(default_factory=set)  # seeds that were published, or are being published
    counts: Counter[int] = field(default_factory=Counter)  # requests by the seed that answered
    failed: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def under_load(worker: Worker, folder: Path, mode: Mode, versions: int) -> Loaded:
    """Publish so many versions, and roll back, promote and prune in between, while clients ask a real Triton."""
    seen, counts, faults = _Seen(), Counter[str](), list[str]()

    def change(kind: str, *command: str) -> None:
        ended = worker.run(folder, command)
        counts[kind] += 1
        if ended.code:
            faults.append(f"{' '.join(command)} ends with {ended.code}: {ended.err.strip()}")
        if mode == "explicit":
            server.load("linear")

    def publish(seed: int) -> None:
        with seen.lock:
            seen.known.add(seed)
        change("published", *LINEAR, "--seed", str(seed))

    def expect(seed: int) -> None:
        if not _answers(server, seed, 0 if mode == "explicit" else SEEN_SECONDS):
            faults.append(f"the version of seed {seed} is served, and another one answers")

    seen.known.add(1)
    assert worker.run(folder, (*LINEAR, "--seed", "1")).code == 0
    models = ("linear",) if mode == "explicit" else ()
    with (
        running_server(
            folder / ROOT, runtime="local", control=mode, models=models, poll_seconds=POLL_SECONDS
        ) as server,
        _clients(server, seen),
    ):
        for seed in range(2, versions + 1):
            publish(seed)
            if seed % 5 == 0:
                expect(seed)
            if seed % 4 == 0:
                change("rollback", "rollback", "linear")
                if seed % 8 == 0:
                    expect(seed - 1)
                change("promote", "promote", "linear", str(seed))
            if seed % 6 == 0:
                change("pruned", "prune", "linear", "--keep", "2")
        expect(versions)
    return Loaded(
        mode,
        counts["published"] + 1,
        counts["rollback"],
        counts["promote"],
        counts["pruned"],
        sum(seen.counts.values()) + len(seen.failed) + len(seen.wrong),
        len(seen.failed),
        len(seen.wrong),
        len(seen.counts),
        (*faults, *seen.failed[:5], *seen.wrong[:5]),
    )


@contextmanager
def _clients(server: Server, seen: _Seen) -> Iterator[None]:
    end = threading.Event()
    threads = [threading.Thread(target=_ask, args=(server, seen, end)) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        end.set()
        for thread in threads:
            thread.join()


def _ask(server: Server, seen: _Seen, end: threading.Event) -> None:
    """Ask again and again, and note which version answers."""
    with GrpcClient(server.grpc_url, retry=Retry(times=0)) as client:
        while not end.is_set():
            try:
                answer = client.infer("linear", {"input": INPUT})["output"]
            except Exception as error:  # every failure counts
                with seen.lock:
                    seen.failed.append(f"{type(error).__name__}: {error}")
                continue
            with seen.lock:
                seed = next((each for each in seen.known if np.allclose(answer, answer_of(each), atol=1e-4)), None)
                if seed is None:
                    seen.wrong.append(f"answer {answer.tolist()}")
                else:
                    seen.counts[seed] += 1
            time.sleep(0.005)


def _answers(server: Server, seed: int, seconds: float) -> bool:
    """Whether the version of a seed answers, now or before long."""
    end = time.monotonic() + seconds
    with GrpcClient(server.grpc_url) as client:
        while True:
            if np.allclose(client.infer("linear", {"input": INPUT})["output"], answer_of(seed), atol=1e-4):
                return True
            if time.monotonic() > end:
                return False
            time.sleep(0.05)


def answer_of(seed: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    """Return the answer of the version of a seed, as tests/numpy_framework.py has its weights."""
    weights = np.random.default_rng(seed).standard_normal((4, 3)).astype("float32")
    return np.asarray(INPUT @ weights, "float32")
