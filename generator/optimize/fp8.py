"""FP8: one-byte floats for GPUs from compute capability 8.9 on, made by nvidia-modelopt in its own environment."""

import os
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from modelrepo.generator.errors import ConversionError, OptionError
from modelrepo.generator.graphs import edit
from modelrepo.generator.optimize import made, probes, qdq
from modelrepo.generator.optimize.recipe import Lowered, Recipe, Request
from modelrepo.generator.specs.options import Tolerance
from modelrepo.generator.specs.tensors import Arrays
from modelrepo.generator.system import process
from modelrepo.generator.system.environment import another, into
from modelrepo.generator.verification.comparison import Precision

# Names the python of modelopt's own environment: modelopt pins other releases of onnx and onnxruntime than ours.
PYTHON = "MODELREPO_MODELOPT"
MODELOPT, RELEASE = "nvidia-modelopt", "0.47.0"
PINNED = f"{MODELOPT}[onnx]=={RELEASE}"
WHICH = f"from importlib.metadata import version; print(version({MODELOPT!r}))"
WHICH_SECONDS = 60.0
WORKER = Path(__file__).with_name("modelopt_worker.py")
# ResNet18 with 8 inputs took 23 s on two cores; large models take much longer.
SECONDS = 3600.0


def lower(request: Request) -> Lowered:
    """Quantize convolutions and matrix products to FP8 (E4M3) with nvidia-modelopt; weights have a scale per channel.

    modelopt itself leaves out layers that FP8 would not make faster, such as those with few channels; nodes named in
    ``request.kept`` stay, too. ``twin`` computes the same in FP32: ONNX Runtime's optimizations break such graphs on a
    CPU. Raises ConversionError if modelopt RELEASE is missing, fails, or quantizes nothing.
    """
    from onnx import TensorProto

    if request.method != "minmax":
        raise OptionError(f"FP8 supports only minmax calibration, not {request.method}", "Remove --calibration-method")
    python = _python()
    request.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=request.folder) as scratch:
        path = qdq.prepared(request, Path(scratch), "FP8")
        outcome = _worked(python, path, request, Path(scratch))
        before, after = edit.load(path), edit.load(outcome)
    layers = qdq.quantized_layers(after, (TensorProto.FLOAT8E4M3FN,))
    done = qdq.summary(before, after, "FP8", layers, request.kept)
    qdq.drop_unused_domains(after)
    export = made.described(edit.save(after, request.folder), request.export)
    twin = qdq.write_twin(after, request.folder / "twin")
    # ONNX Runtime's optimizations put float8 where its own operators don't take it.
    return Lowered(export, done, layers, twin, runs_here=False)


def costs(request: Request, lowered: Lowered) -> Mapping[str, float]:
    """Return the share of its answer by which each layer changes if its input and weights are FP8."""
    with tempfile.TemporaryDirectory(dir=request.folder) as scratch:
        path = qdq.prepared(request, Path(scratch), "FP8")
        return qdq.costs(request, path, lowered.export.path, lowered.layers)


def _python() -> str:
    """Return the python that has modelopt, in the release that is part of the content key."""
    python = os.environ.get(PYTHON, "")
    if not python:
        raise ConversionError(
            f"FP8 needs nvidia-modelopt in its own environment, but {PYTHON} is not set",
            f"{another('DIR', PINNED)} (6.4 GB), then {PYTHON}=DIR/bin/python",
        )
    if not Path(python).is_file():
        raise ConversionError(f"{PYTHON} is {python}, which is not a file", "Set it to the python of that environment")
    found = _run([python, "-I", "-c", WHICH], WHICH_SECONDS)
    if found.code or found.out.strip() != RELEASE:
        there = f"nvidia-modelopt {found.out.strip()}" if not found.code else f"none ({found.last_words})"
        raise ConversionError(
            f"FP8 needs nvidia-modelopt {RELEASE}, but {python} has {there}",
            into(python, PINNED),
        )
    return python


def _run(command: Sequence[str], seconds: float) -> process.Finished:
    """Run modelopt's python."""
    try:
        return process.run(command, timeout=seconds)
    except OSError as error:
        raise ConversionError(f"can't run {command[0]}: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise ConversionError(f"nvidia-modelopt did not finish within {seconds:.0f} s") from error


def _worked(python: str, path: Path, request: Request, folder: Path) -> Path:
    """Run modelopt on a model and return the path of the result."""
    import numpy as np

    data, outcome = folder / "calibration.npz", folder / "fp8.onnx"
    np.savez(data, allow_pickle=False, **_stacked(probes.probe_inputs(request, _count(request))))
    # Isolated: our modules and those of PYTHONPATH are not the ones that modelopt expects.
    finished = _run([python, "-I", str(WORKER), str(path), str(data), str(outcome), *request.kept], SECONDS)
    if finished.code or not outcome.exists():
        raise ConversionError(f"nvidia-modelopt failed: {finished.last_words}", f"It was run with {python}")
    return outcome


def _count(request: Request) -> int:
    if not request.data:
        raise ConversionError("FP8 needs data to calibrate with", "Give it with --calibration")
    return sum(len(pool.families) for pool in request.data)


def _stacked(inputs: Iterable[Arrays]) -> dict[str, Any]:
    """Return inputs joined along their first axis; modelopt splits them again."""
    import numpy as np

    every = list(inputs)
    shapes = [{name: array.shape for name, array in arrays.items()} for arrays in every]
    if any(shape != shapes[0] for shape in shapes):
        raise ConversionError("nvidia-modelopt needs calibration inputs of one shape, but these have several")
    return {name: np.concatenate([np.atleast_1d(arrays[name]) for arrays in every]) for name in every[0]}


RECIPE = Recipe(
    lower=lower,
    costs=costs,
    # An FP8 of 4 bits of exponent has 4 bits of precision: a value is rounded by up to 6% of itself at every layer, and
    # errors average out in its sums.
    precision=Precision(Tolerance(relative=0.25), rounding=0.1),
    max_accuracy_drop=0.03,
    calibrated=True,
    tools={MODELOPT: RELEASE},
)
