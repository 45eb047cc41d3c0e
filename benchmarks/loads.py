"""Runs of perf_analyzer against a local server, as `modelrepo bench` makes them."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from modelrepo.clients import connect
from modelrepo.clients.settings import parse_url
from modelrepo.generator.progress import Progress
from modelrepo.generator.triton import releases
from modelrepo.perf.analyzer.find import find
from modelrepo.perf.analyzer.run import Setting, request_of, run
from modelrepo.perf.measuring.target import Data, Target, prepare
from modelrepo.perf.results.loads import Load
from modelrepo.perf.results.results import Figures
from modelrepo.server import Server


@contextmanager
def setting(server: Server, seconds: float) -> Iterator[Setting]:
    """Yield the setting of runs of ``seconds``, in a folder of their own."""
    with tempfile.TemporaryDirectory(prefix="modelrepo-perf-") as name, connect(server.grpc_url) as client:
        folder = Path(name)
        (folder / "raw").mkdir()
        found = find("wheel", folder, Progress(), releases.release_named(releases.NEWEST))
        yield Setting(found, client, None, folder, seconds, stability=10.0)


def target(common: Setting, server: Server, model: str) -> Target:
    """Return a served model as a target for random values over gRPC."""
    address = parse_url(server.grpc_url)
    return prepare(common.client, address, model, None, None, Data("random", {}), common.folder, Progress())


@contextmanager
def measuring(server: Server, seconds: float) -> Iterator[Callable[[str, int], Figures]]:
    """Yield a function that measures a model at a concurrency, in three windows that take ``seconds`` together."""
    with setting(server, seconds) as common:
        targets: dict[str, Target] = {}

        def measure(model: str, concurrency: int) -> Figures:
            if model not in targets:
                targets[model] = target(common, server, model)
            found = run(common, targets[model], request_of(common, targets[model], Load(1, concurrency)), 1)
            if found.figures is None:
                raise SystemExit(f"{found.command}: {found.reason}")
            return found.figures

        yield measure
