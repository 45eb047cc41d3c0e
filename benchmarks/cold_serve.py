"""The time from `modelrepo serve` to the first READY, on a repository of one model, with the runtime in the cache.

python benchmarks/cold_serve.py [--quick]

Measured twice: the whole command, which prints its addresses when the model is ready, and `running_server` alone.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pairs import BIN, machine
from served_models import SMALL, write_mlp

from modelrepo.generator.progress import Progress
from modelrepo.server import running_server
from modelrepo.server.binaries import runtime

ROUNDS = 3 if "--quick" in sys.argv else 10


def command(repository: Path) -> float:
    """Return the seconds from the command's start to the line that it prints when its model is ready."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [str(BIN / "modelrepo"), "serve", "--repository", str(repository), "--json", "--quiet"], stdout=subprocess.PIPE
    )
    line = process.stdout.readline() if process.stdout else b""
    seconds = time.perf_counter() - start
    process.terminate()
    process.communicate()
    if [model["state"] for model in json.loads(line)["models"]] != ["READY"]:
        sys.exit(f"the model is not ready: {line.decode()}")
    return seconds


def function(repository: Path) -> float:
    """Return the seconds from entering `running_server` to the model's first READY."""
    start = time.perf_counter()
    with running_server(repository) as server:
        if [model.state for model in server.models()] != ["READY"]:
            sys.exit(f"the model is not ready: {server.models()}")
        return time.perf_counter() - start


def bare_import() -> float:
    """Return the seconds that Python takes to start and to import the modules of `serve`."""
    start = time.perf_counter()
    subprocess.run(
        [
            sys.executable,
            "-c",
            "import modelrepo.cli.commands.serve, modelrepo.generator.options.fields, modelrepo.server",
        ],
        check=True,
    )
    return time.perf_counter() - start


def main() -> None:
    """Measure in turn, and print medians and ranges."""
    runtime.ensure(Progress())
    with tempfile.TemporaryDirectory(prefix="modelrepo-benchmark-") as name:
        repository = Path(name, "repository")
        write_mlp(repository, "mlp", SMALL, backend="onnxruntime", batching=True)
        rounds = [(command(repository), function(repository), bare_import()) for _ in range(ROUNDS + 1)][1:]
    print(machine())
    titles = ("modelrepo serve to READY (goal: under 3 s)", "running_server to READY", "Python and its imports")
    for title, seconds in zip(titles, zip(*rounds, strict=True), strict=True):
        print(f"{title:<44} {statistics.median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f})")


if __name__ == "__main__":
    main()
