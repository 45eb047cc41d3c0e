"""The costs of serving: a local Triton against ONNX Runtime in-process, and against a backend that does nothing.

python benchmarks/served_against_in_process.py [--quick]

They are measured alternately in one run, the served models by a real perf_analyzer over gRPC. Server and perf_analyzer
share the machine. In-process sessions have ONNX Runtime's default threads, like the models.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from loads import measuring
from pairs import machine
from served_models import MIDDLE, SMALL, nothing_backend, write_mlp, write_resnet50

from modelrepo.perf.results.results import Figures
from modelrepo.server import running_server
from modelrepo.server.binaries.runtime import TRITON_VERSION, perf_analyzer_wheel

QUICK = "--quick" in sys.argv
ROUNDS = 3 if QUICK else 9
# The seconds of perf_analyzer's three windows together.
SECONDS = 1.5 if QUICK else 3.0
BUSY = 32

Measure = Callable[[], float]
Served = Callable[[str, int], Figures]


def in_process(model: Path, shape: tuple[int, ...]) -> Measure:
    """Return a function that measures the median milliseconds of a run, for as long as perf_analyzer runs."""
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    inputs = {"input": np.zeros(shape, "float32")}

    def measure() -> float:
        times: list[float] = []
        end = time.perf_counter() + SECONDS
        while (start := time.perf_counter()) < end:
            session.run(None, inputs)
            times.append((time.perf_counter() - start) * 1e3)
        return statistics.median(times)

    return measure


def latency(served: Served, model: str) -> Measure:
    """Return a function that measures the median milliseconds of a request, one at a time."""
    return lambda: served(model, 1).latency.p50 / 1e3


def throughput(served: Served, model: str) -> Measure:
    """Return a function that measures the requests answered in a second, many at a time."""
    return lambda: served(model, BUSY).throughput


def print_ratio(
    name: str, goal: str, ours: Measure, theirs: Measure, figure: Callable[[float, float], float] = lambda a, b: a / b
) -> None:
    """Measure theirs, ours, theirs again, in rounds; print ours against theirs, and theirs against itself: the noise.

    Ours is compared with the mean of theirs before and after it.
    """
    before: list[float] = []
    own: list[float] = []
    after: list[float] = []
    for number in range(ROUNDS + 1):
        three = theirs(), ours(), theirs()
        if number:  # the first round warms caches
            for measured, value in zip((before, own, after), three, strict=True):
                measured.append(value)
    means = [(first + second) / 2 for first, second in zip(before, after, strict=True)]
    compared = _spread([figure(*pair) for pair in zip(own, means, strict=True)])
    noise = _spread([figure(*pair) for pair in zip(after, before, strict=True)])
    medians = f"{statistics.median(own):.3f} against {statistics.median(means):.3f}"
    print(f"{name:<46} {goal:<10} {compared:<22} {noise:<22} {medians}", flush=True)


def _spread(figures: Sequence[float]) -> str:
    return f"{statistics.median(figures):.3f} ({min(figures):.3f} to {max(figures):.3f})"


def main() -> None:
    """Measure everything and print a table."""
    with tempfile.TemporaryDirectory(prefix="modelrepo-benchmark-") as name, nothing_backend(Path(name, "backends")):
        repository = Path(name, "repository")
        write_resnet50(repository)
        for model, widths, backend, batching in (
            ("mlp", SMALL, "onnxruntime", True),
            ("nothing", SMALL, "nothing", True),
            ("middle", MIDDLE, "onnxruntime", True),
            ("middle_alone", MIDDLE, "onnxruntime", False),
        ):
            write_mlp(repository, model, widths, backend=backend, batching=batching)
        print(f"{machine()}; Triton {TRITON_VERSION}; {perf_analyzer_wheel().requirement}'s perf_analyzer over gRPC")
        for model, shape in (("mlp", (1, SMALL[0])), ("middle", (1, MIDDLE[0]))):
            print(f"{model} in-process: {in_process(repository / model / '1/model.onnx', shape)():.3f} ms")
        resnet50 = in_process(repository / "resnet50/1/model.onnx", (1, 3, 224, 224))
        print(f"{'':<46} {'goal':<10} {'median (range)':<22} {'the same twice':<22} medians")
        with running_server(repository) as server, measuring(server, SECONDS) as served:
            print_ratio("ResNet50 p50, served / in-process", "<= 1.05", latency(served, "resnet50"), resnet50)
            print_ratio(
                "MLP p50, served - doing nothing, in ms",
                "<= 0.25",
                latency(served, "mlp"),
                latency(served, "nothing"),
                lambda own, other: own - other,
            )
            print_ratio(
                f"MLP requests/s at {BUSY}, served / doing nothing",
                ">= 0.9",
                throughput(served, "mlp"),
                throughput(served, "nothing"),
            )
            print_ratio(
                f"1-2 ms model, requests/s at {BUSY}, batching / not",
                ">= 5",
                throughput(served, "middle"),
                throughput(served, "middle_alone"),
            )
        print(machine())


if __name__ == "__main__":
    main()
