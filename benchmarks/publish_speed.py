"""Publishing a large file, against `cp` and `sync` of the same bytes, in pairs; and the peak of its memory."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from pairs import machine, race

from modelrepo.generator.repository.manifest import Provenance, SourceRecord
from modelrepo.generator.repository.repository import Repository, StagedModel
from modelrepo.generator.specs.artifacts import Weights
from modelrepo.generator.specs.findings import Verification
from modelrepo.generator.system.digests import copy_hashed, record_files
from modelrepo.generator.system.files import link_or_copy

SIZE_MB = 2048
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
    """Print the ratios; with a file as the argument, publish it in this folder, as `generate` does it."""
    if len(sys.argv) > 1:
        print(f"{publish(Path(sys.argv[1])):.2f} s since it was in the staging folder")
        return
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "model.onnx"
        piece = os.urandom(1 << 20)
        with source.open("wb") as file:
            for _ in range(SIZE_MB):
                file.write(piece)
            os.fsync(file.fileno())
        ours = [sys.executable, __file__, str(source)]
        race(f"publish {SIZE_MB} MB, with Python's start", ours, ["sh", "-c", f"cp {source} copy && sync copy"], ROUNDS)
        last = [sys.executable, __file__, str(source)]
        for _ in range(ROUNDS):
            home = tempfile.mkdtemp()
            print("   ", subprocess.run(last, cwd=home, check=True, capture_output=True, text=True).stdout.strip())
            shutil.rmtree(home)


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
