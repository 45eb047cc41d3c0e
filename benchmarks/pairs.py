"""Whole commands, timed in pairs: these figures are ratios of one run, because machines are noisy and differ."""

import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class FinishedCommand:
    """One finished command: seconds on the wall, and the peak of its resident memory in MB."""

    seconds: float
    peak_mb: float


def run(command: Sequence[str], folder: Path) -> FinishedCommand:
    """Run a command in ``folder`` and measure it; its output is shown only if it fails."""
    start = time.perf_counter()
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} exited with {process.returncode}:\n{(folder / 'log.txt').read_text()}")
    return FinishedCommand(seconds, usage.ru_maxrss / 1e3)


def race(name: str, ours: Sequence[str], theirs: Sequence[str], rounds: int = 5) -> None:
    """Run both commands in turn, each in an empty folder, and print the ratios pair by pair (median, range)."""
    pairs = []
    for number in range(rounds + 1):
        both = []
        for command in (ours, theirs):
            folder = Path(tempfile.mkdtemp(prefix="modelrepo-benchmark-"))
            both.append(run(command, folder))
            shutil.rmtree(folder)
        if number:  # the first pair warms the disk's cache
            pairs.append(both)
    _print(f"{name}: wall", [ours.seconds / theirs.seconds for ours, theirs in pairs])
    _print(f"{name}: peak memory", [ours.peak_mb / theirs.peak_mb for ours, theirs in pairs])
    seconds = [statistics.median(pair[side].seconds for pair in pairs) for side in (0, 1)]
    memory = [statistics.median(pair[side].peak_mb for pair in pairs) for side in (0, 1)]
    print(f"    medians: {seconds[0]:.2f} s and {memory[0]:.0f} MB against {seconds[1]:.2f} s and {memory[1]:.0f} MB")


def machine() -> str:
    """Return the conditions of the figures: this machine, its load, and the measured versions."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
    packages = ", ".join(f"{name} {metadata.version(name)}" for name in ("numpy", "onnxruntime"))
    load = " ".join(f"{average:.1f}" for average in os.getloadavg())
    return f"{os.cpu_count()} x {cpu}, load {load}; Python {platform.python_version()}, {packages}"


def _print(name: str, ratios: list[float]) -> None:
    print(f"{name:<58} {statistics.median(ratios):.2f}x  ({min(ratios):.2f} to {max(ratios):.2f})")
