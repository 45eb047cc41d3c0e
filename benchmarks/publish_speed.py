"""Publishing a large file, against `cp` and `sync` of the same bytes, in pairs; and the peak of its memory."""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from pairs import machine

from modelrepo.generator.repository.manifest import Provenance, SourceRecord
from modelrepo.generator.repository.repository import Repository, StagedModel
from modelrepo.generator.specs.artifacts import Weights
from modelrepo.generator.specs.findings import Verification
from modelrepo.generator.system.digests import SETTLED_NS, copy_hashed, record_files, sha256_of
from modelrepo.generator.system.files import link_or_copy

SIZE_MB = 2048  # of random bytes
ROUNDS = 5
TEXT = 'name: "big"\nbackend: "onnxruntime"\nmax_batch_size: 0\nversion_policy { specific { versions: [ %d ] } }\n'


@dataclass(frozen=True)
class Config:
    """A configuration without tensors: nothing reads it here."""

    max_batch_size: int = 0

    def text(self, version: int, existing: Collection[int] = ()) -> str:
        """Return the text for a version."""
        return TEXT % version


def main() -> None:
    """Print the ratios; with a file as the argument, publish it in this folder, as `generate` does it.

    `generate` has read the file before, for the content key: after the word ``read`` this has, too.
    """
    if len(sys.argv) > 1:
        _child(Path(sys.argv[1]), read="read" in sys.argv[2:])
        return
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "model.onnx"
        piece = os.urandom(1 << 20)
        with source.open("wb") as file:
            for _ in range(SIZE_MB):
                file.write(piece)
            os.fsync(file.fileno())
        time.sleep(SETTLED_NS / 1e9 + 1)
        print(f"| {SIZE_MB} MB | cp and sync, s | publish, s | ratio | once it is staged, s | peak memory, MB |")
        print("|---|---|---|---|---|---|")
        for title, word in (("read for the content key before", "read"), ("hashed while it is copied", "new")):
            runs = [_pair(source, word) for _ in range(ROUNDS + 1)][1:]  # the first pair warms the disk's cache
            columns = list(zip(*runs, strict=True))
            medians = " | ".join(f"{statistics.median(column):.2f}" for column in columns[:2])
            ratios = [ours / theirs for theirs, ours, *_ in runs]
            ratio = f"**{statistics.median(ratios):.2f}x** ({min(ratios):.2f} to {max(ratios):.2f})"
            staged, peak = statistics.median(columns[2]), max(columns[3])
            print(f"| {title} | {medians} | {ratio} | {staged:.2f} | {peak:.0f} |", flush=True)


def _pair(source: Path, word: str) -> tuple[float, float, float, float]:
    """Return the seconds of `cp` and `sync`, those of publishing, those of its last part, and the peak memory."""
    with tempfile.TemporaryDirectory() as home:
        start = time.perf_counter()
        subprocess.run(["sh", "-c", f"cp {source} copy && sync copy"], cwd=home, check=True)
        theirs = time.perf_counter() - start
    with tempfile.TemporaryDirectory() as home:
        command = [sys.executable, str(Path(__file__).resolve()), str(source), word]
        out = subprocess.run(command, cwd=home, check=True, capture_output=True, text=True).stdout
        ours, staged, peak = map(float, out.split())
    return theirs, ours, staged, peak


def _child(source: Path, *, read: bool) -> None:
    if read:
        sha256_of(source)
    start = time.perf_counter()
    staged = publish(source)
    print(time.perf_counter() - start, staged, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)


def publish(source: Path) -> float:
    """Publish a file as a model, and return the seconds from its copy in the staging folder to its being served."""
    repository = Repository(Path("model_repository"))
    with repository.staging() as staging:
        copy_hashed(source, staging / "model.onnx")
        start = time.perf_counter()
        model = staging / "big"
        link_or_copy(staging / "model.onnx", model / "1/model.onnx")
        record = SourceRecord(str(source), Weights("file", "", untrained=False), None, "as-is", 20, 10, ())
        provenance = Provenance("key", record, {}, {}, Verification())
        config = Config()
        staged = StagedModel(
            "big", "onnxruntime", model, record_files(model), config, config.text(1), provenance, version=1, older={}
        )
        with repository.locked():
            repository.publish(staged)
        return time.perf_counter() - start


if __name__ == "__main__":
    main()
