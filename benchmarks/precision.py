"""The costs and gains of a lower precision and of pruning: seconds, size, agreement, accuracy, and speed on this CPU.

python benchmarks/precision.py [--quick]

ResNet50 has seeded random weights: its sizes and speeds are those of a trained one, its agreement proves little. So a
small classifier is trained too, and its accuracy measured with images of neither its training nor its calibration.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import shapes
from pairs import BIN, machine, run

from modelrepo.generator.graphs.onnx_file import signature_of
from modelrepo.generator.graphs.runtime import open_model, open_session
from modelrepo.generator.optimize import recipe_of
from modelrepo.generator.optimize.recipe import Request
from modelrepo.generator.repository.manifest import Manifest
from modelrepo.generator.repository.repository import Repository
from modelrepo.generator.specs.artifacts import Export
from modelrepo.generator.specs.tensors import Arrays
from modelrepo.generator.verification import accuracy
from modelrepo.generator.verification.datasets import Dataset, random_like

QUICK = "--quick" in sys.argv
RESNET50 = ("--model", "resnet50", "--weights", "random", "--seed", "0", "--no-verify", "--live-check", "off")
MEASURED_PRECISIONS = ("fp16", "int8", "int8-dynamic")
HELD_OUT, HELD_OUT_SEED = (32 if QUICK else 256), 1000
ROUNDS, SECONDS = (2, 0.5) if QUICK else (9, 3.0)
CALIBRATED_ON, MEASURED_ON = 256, 1000
MAX_ACCURACY_DROP = "2%"
# Pruned without further training, such a small network loses more: how much is measured, without a limit.
ANY_LOSS = ("--max-accuracy-drop", "100%")


def main() -> None:
    """Measure everything and print tables."""
    versions = (f"{name} {metadata.version(name)}" for name in ("torch", "onnx"))
    print(f"{datetime.now(UTC):%Y-%m-%d}; {machine()}, {', '.join(versions)}\n")
    with tempfile.TemporaryDirectory(prefix="modelrepo-benchmark-") as name:
        folder = Path(name)
        repository = _resnet50(folder)
        _print("ResNet50, random weights", ("", "goal", "measured"), _resnet50_rows(repository, folder))
        _print(
            "ONNX Runtime on this CPU, ResNet50, images a second against FP32 in turn, median (range)",
            ("", "batch", "against FP32", "FP32 twice", "medians"),
            _speeds(repository),
        )
        _print(
            f"A trained classifier of {len(shapes.SHAPES)} shapes, {MEASURED_ON} labelled images; a lower precision "
            f"is refused where it loses more than {MAX_ACCURACY_DROP}",
            ("", "right", "FP32", "lost", "what was done"),
            _shapes_rows(folder),
        )
    print(machine())


def _print(title: str, headings: Sequence[str], rows: Iterator[Sequence[str]]) -> None:
    print(f"### {title}\n\n| {' | '.join(headings)} |\n|{'---|' * len(headings)}", flush=True)
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)
    print()


# --- ResNet50


def _resnet50(folder: Path) -> Repository:
    """Publish ResNet50 in every precision, and pruned: resnet50_onnx, resnet50_onnx_fp16, …, pruned."""
    where = ("--repository", str(folder / "repository"))
    backends = ",".join(("onnx", *(f"onnx:{precision}" for precision in MEASURED_PRECISIONS)))
    run([str(BIN / "generate"), *RESNET50, *where, "--backends", backends], folder)
    run([str(BIN / "generate"), *RESNET50, *where, "--prune", "2:4", "--name-template", "resnet50_onnx_pruned"], folder)
    return Repository(folder / "repository")


def _manifest(repository: Repository, suffix: str = "") -> Manifest:
    return repository.manifests(f"resnet50_onnx{suffix}")[-1]


def _path(repository: Repository, suffix: str = "") -> Path:
    manifest = _manifest(repository, suffix)
    return repository.root / manifest.name / str(manifest.version) / "model.onnx"


def _size(repository: Repository, suffix: str = "") -> float:
    return _path(repository, suffix).stat().st_size / 1e6


def _resnet50_rows(repository: Repository, folder: Path) -> Iterator[Sequence[str]]:
    seconds = list(_fp16_seconds(repository, folder))
    yield "FP16 conversion alone", "< 5 s", f"**{_spread(seconds)} s**"
    full = _size(repository)
    for precision, goal in (("fp16", "0.5x"), ("int8", "0.25x"), ("int8-dynamic", "")):
        size = _size(repository, f"_{precision}")
        yield f"size in {precision}", goal, f"**{size / full:.3f}x**: {size:.1f} of {full:.1f} MB"
    pruned = _manifest(repository, "_pruned").provenance.optimization
    size = _size(repository, "_pruned")
    yield "pruned 2:4", "", f"{pruned.sparsity:.1%} of its weights are 0; {size / full:.3f}x ({size:.1f} MB)"
    for precision, goal in (("fp16", "≥ 99%"), ("int8", "≥ 97%"), ("int8-dynamic", "")):
        yield f"top-1 agreement of {precision}", goal, _agreement(repository, f"_{precision}")


def _images(repository: Repository, count: int) -> Dataset:
    """Return natural-looking images that were not used for calibration."""
    provenance = _manifest(repository).provenance
    signature = signature_of(_path(repository), provenance.source.inputs)
    return random_like(signature, provenance.source.preprocess, count, HELD_OUT_SEED)


def _fp16_seconds(repository: Repository, folder: Path) -> Iterator[float]:
    path, source = _path(repository), _manifest(repository).provenance
    export = Export(
        path, (path,), signature_of(path, source.source.inputs), "", source.source.opset, source.source.ir_version
    )
    for number in range(4):
        work = folder / f"fp16-{number}"
        work.mkdir()
        start = time.perf_counter()
        recipe_of("fp16").lower(Request(export, work))
        if number:  # the first includes imports, as the command does
            yield time.perf_counter() - start


def _agreement(repository: Repository, suffix: str) -> str:
    runs = open_model(_path(repository)), open_model(_path(repository, suffix))
    signature = signature_of(_path(repository), _manifest(repository).provenance.source.inputs)
    found = accuracy.measured(*runs, _images(repository, HELD_OUT), signature, batch=8, limit=0.0)
    assert found is not None
    return f"**{found.value:.1%}** of {found.samples} natural-looking images"


def _speeds(repository: Repository) -> Iterator[Sequence[str]]:
    for batch in (1, 8):
        for precision in ("int8", "int8-dynamic", "fp16"):
            images = _images(repository, batch).pools[0].arrays
            yield precision, str(batch), *_against(_path(repository), _path(repository, f"_{precision}"), images, batch)


def _against(full: Path, lowered: Path, images: Arrays, batch: int) -> tuple[str, str, str]:
    """Measure FP32, lowered, FP32 again, in rounds; return lowered against FP32, FP32 against itself, and medians."""
    theirs, ours = (_rate(open_session(path), images, batch) for path in (full, lowered))
    rounds = [(theirs(), ours(), theirs()) for _ in range(ROUNDS + 1)][1:]  # the first warms caches
    ratios = [own / ((first + again) / 2) for first, own, again in rounds]
    noise = [again / first for first, _, again in rounds]
    medians = [statistics.median(each) for each in zip(*rounds, strict=True)]
    return f"**{_spread(ratios)}x**", _spread(noise), f"{medians[1]:.1f} against {medians[0]:.1f}"


def _rate(session: Any, images: Arrays, batch: int) -> Callable[[], float]:
    """Return a function that measures the samples answered in a second."""

    def measure() -> float:
        count, start = 0, time.perf_counter()
        while (passed := time.perf_counter() - start) < SECONDS:
            session.run(None, dict(images))
            count += batch
        return count / passed

    return measure


# --- a trained classifier


def _shapes_rows(folder: Path) -> Iterator[Sequence[str]]:
    """Generate the classifier in every precision and pruned, each within its limit, and yield a row of its costs."""
    import numpy as np

    start = time.perf_counter()
    shapes.write_classifier(folder / "shapes.onnx")
    seconds = time.perf_counter() - start
    pictures, classes = shapes.images(MEASURED_ON, seed=2)
    np.savez(folder / "labelled.npz", input=pictures, labels=classes)
    np.savez(folder / "calibration.npz", input=shapes.images(CALIBRATED_ON, seed=3)[0])
    for precision in MEASURED_PRECISIONS:
        yield _generated(folder, f"onnx:{precision}", "--max-accuracy-drop", MAX_ACCURACY_DROP)
    for share in ("20%", "50%", "2:4"):
        for backend in ("onnx", "onnx:int8") if share == "2:4" else ("onnx",):
            yield _generated(folder, backend, "--prune", share, *ANY_LOSS)
    yield f"trained and exported in {seconds:.0f} s", "", "", "", ""


def _generated(folder: Path, backend: str, *options: str) -> Sequence[str]:
    """Return the row of one model, with the reason if it is refused."""
    command = [str(BIN / "generate"), "--model", f"onnx:{folder / 'shapes.onnx'}", "--backends", backend, *options]
    command += ["--samples", str(folder / "labelled.npz")]
    command += ["--calibration", str(folder / "calibration.npz")] if backend.endswith(":int8") else []
    command += ["--repository", str(folder / "shapes"), "--json", "--live-check", "off"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    pruned = f", pruned {options[1]}" if options[0] == "--prune" else ""
    title = f"{backend.partition(':')[2] or 'fp32'}{pruned}"
    if done.returncode:
        return title, "", "", "", f"exit code {done.returncode}: {done.stderr.strip().splitlines()[-1]}"
    (row,) = json.loads(done.stdout)["results"]
    reached = row["optimization"]["accuracy"]
    lost = reached["source"] - reached["value"]
    changes = "; ".join(row["optimization"]["done"])
    return title, f"**{reached['value']:.1%}**", f"{reached['source']:.1%}", f"{lost:.1%}", changes


def _spread(figures: Sequence[float]) -> str:
    return f"{statistics.median(figures):.2f} ({min(figures):.2f} to {max(figures):.2f})"


if __name__ == "__main__":
    main()
