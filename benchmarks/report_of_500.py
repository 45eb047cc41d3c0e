"""The time to write the report of 500 measurements, and to read its JSON back."""

import statistics
import tempfile
import time
from dataclasses import replace
from importlib import metadata
from pathlib import Path

from pairs import machine
from tests.perf.bench_results import BASE, measured, measurement, run

from modelrepo.perf import report
from modelrepo.perf.results import documents
from modelrepo.perf.results.loads import Load
from modelrepo.perf.results.results import Results

ROUNDS = 5


def many(count: int) -> Results:
    """Return measurements of five models at two batch sizes and growing concurrency, each with five runs."""
    subjects = [replace(BASE, model=f"model_{number}") for number in range(5)]
    loads = [Load(size, concurrency=number) for size in (1, 4) for number in range(1, count // 10 + 1)]
    found = tuple(measurement(subject, load) for subject in subjects for load in loads)
    runs = tuple(run(each.subject, each.load) for each in found for _ in range(5))
    return replace(measured(), measurements=found, runs=runs)


def main() -> None:
    """Print the medians of a few rounds."""
    results, writing, reading = many(500), [], []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(ROUNDS):
            start = time.perf_counter()
            page = report.write(results, Path(folder))
            written = time.perf_counter()
            documents.read(Path(folder))
            writing.append(written - start)
            reading.append(time.perf_counter() - written)
        size = page.stat().st_size / 1e6
    print(f"{machine()}, plotly {metadata.version('plotly')}, jinja2 {metadata.version('jinja2')}")
    spread = f"({min(writing):.2f} to {max(writing):.2f})"
    print(
        f"report of {len(results.measurements)} measurements: "
        f"{statistics.median(writing):.2f} s {spread}, {size:.1f} MB"
    )
    print(f"its JSON read back: {statistics.median(reading):.2f} s")


if __name__ == "__main__":
    main()
