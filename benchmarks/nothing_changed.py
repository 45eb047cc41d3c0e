"""The same `generate` again, with nothing changed, and `generate --help`: seconds, and as ratios to Python's start."""

import statistics
import sys
import tempfile
from pathlib import Path

from pairs import BIN, run

ROUNDS = 10
GENERATE = str(BIN / "generate")
AGAIN = [GENERATE, "--model", "resnet50", "--backends", "onnx,tensorrt", "--weights", "random", "--no-verify"]

with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    first = run(AGAIN, folder)
    python = statistics.median(run([sys.executable, "-c", "pass"], folder).seconds for _ in range(ROUNDS))
    for title, command in (("nothing changed", AGAIN), ("--help", [GENERATE, "--help"])):
        seconds = statistics.median(run(command, folder).seconds for _ in range(ROUNDS))
        print(
            f"{title:<20} {seconds:.3f} s: {seconds / first.seconds:.3f}x the first run, "
            f"{seconds / python:.0f}x Python doing nothing"
        )
