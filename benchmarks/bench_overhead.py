"""The overhead of `modelrepo bench`: the same run of perf_analyzer by hand and by bench in turn, with the noise.

python benchmarks/bench_overhead.py [--quick]
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from loads import setting, target
from pairs import machine
from served_models import MIDDLE, SMALL, write_mlp

from modelrepo.perf.analyzer import export
from modelrepo.perf.analyzer.command import Request, arguments
from modelrepo.perf.analyzer.run import Setting, request_of, run
from modelrepo.perf.measuring.target import Target
from modelrepo.perf.results.loads import Load
from modelrepo.server import running_server

ROUNDS = 3 if "--quick" in sys.argv else 10
SECONDS = 1.5


def by_hand(common: Setting, request: Request) -> tuple[float, float]:
    """Return seconds and throughput of a run that is started like from a shell."""
    start = time.perf_counter()
    done = subprocess.run(
        [*common.analyzer.command, *arguments(request)],
        env={**os.environ, **common.analyzer.environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return time.perf_counter() - start, export.read_table(request.table, done.stdout).throughput


def by_us(common: Setting, wanted: Target, request: Request) -> tuple[float, float]:
    """Return seconds and throughput of one run by bench, with all that it measures beside it."""
    start = time.perf_counter()
    found = run(common, wanted, request, 1)
    if found.figures is None:
        raise SystemExit(found.reason)
    return time.perf_counter() - start, found.figures.throughput


def main() -> None:
    """Measure and print a table."""
    with tempfile.TemporaryDirectory(prefix="modelrepo-benchmark-") as name:
        repository = Path(name)
        for model, widths in (("mlp", SMALL), ("middle", MIDDLE)):
            write_mlp(repository, model, widths, backend="onnxruntime", batching=True)
        print(machine())
        print(f"{'':<24} {'overhead, s':<22} {'throughput, ours / by hand':<28} by hand twice")
        with running_server(repository) as server, setting(server, SECONDS) as common:
            watched = replace(common, metrics_url=server.metrics_url)
            for model, concurrency in (("mlp", 1), ("mlp", 32), ("middle", 8)):
                wanted = target(common, server, model)
                request = request_of(common, wanted, Load(1, concurrency))
                rows = [
                    (by_hand(common, request), by_us(watched, wanted, request), by_hand(common, request))
                    for _ in range(ROUNDS + 1)
                ][1:]
                overheads = [ours[0] - (first[0] + again[0]) / 2 for first, ours, again in rows]
                ratios = [ours[1] / ((first[1] + again[1]) / 2) for first, ours, again in rows]
                noise = [again[1] / first[1] for first, _, again in rows]
                cells = (_spread(overheads), _spread(ratios), _spread(noise))
                print(
                    f"{f'{model}, concurrency {concurrency}':<24} {cells[0]:<22} {cells[1]:<28} {cells[2]}", flush=True
                )
        print(machine())


def _spread(figures: list[float]) -> str:
    return f"{statistics.median(figures):.3f} ({min(figures):.3f} to {max(figures):.3f})"


if __name__ == "__main__":
    main()
