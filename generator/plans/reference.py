"""ONNX Runtime's answers, stored with a prepared plan for hosts without modelrepo."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from modelrepo.generator.errors import RepositoryError
from modelrepo.generator.graphs import onnx_file, runtime
from modelrepo.generator.plans.pending import PendingPlan
from modelrepo.generator.plans.status import wanted_tolerance
from modelrepo.generator.specs.options import Tolerance
from modelrepo.generator.specs.tensors import Array, Arrays, Signature
from modelrepo.generator.tensorrt.answers import FOLDER, INDEX, SCHEMA
from modelrepo.generator.tensorrt.plan_spec import ONNX
from modelrepo.generator.tensorrt.profiles import Profile
from modelrepo.generator.tensorrt.proof import Reference
from modelrepo.generator.verification import golden, verify
from modelrepo.generator.verification.golden import Golden
from modelrepo.generator.verification.golden_requests import Limits, Model, chosen
from modelrepo.generator.verification.inputs import make_pool
from modelrepo.generator.verification.remembered import Remembered
from modelrepo.generator.verification.verify import Run

# The smallest and the tuned sizes of a profile; the largest may be too much for a CPU, and prove little more.
CASE_BOUNDS = (0, 1)
MODEL, GOLDEN = "model", "golden"
EARLIER = "an earlier release of modelrepo prepared its plan"
Shapes = Mapping[str, tuple[int, ...]]


def write_reference(
    folder: Path,
    onnx: Path,
    signature: Signature,
    profiles: Sequence[Profile],
    tolerance: Tolerance,
    seed: int = 0,
    limits: Limits | None = None,
) -> None:
    """Write inputs and ONNX Runtime's answers to ``folder``/reference, in the format that ``answers`` reads.

    ``onnx`` is the prepared model in ``folder``, or a model in a folder of its own that computes the same on a CPU;
    that folder is copied. Each profile gives two cases, with its smallest and its tuned shapes; a model with fixed
    shapes has one case. ``tolerance`` is the limit for the plan's answers. With ``limits``, golden requests for the
    published plan are written, too. Raises VerificationError if the model gives no answers to compare with.
    """
    target = folder / FOLDER
    target.mkdir()
    run = runtime.open_model(onnx)
    cases: list[dict[str, Any]] = []
    for profile, shapes in _cases(profiles):
        fixed = tuple(replace(spec, shape=shapes.get(spec.name, spec.shape)) for spec in signature.inputs)
        pool = make_pool([replace(spec, shape=("row", *spec.shape)) for spec in fixed], 0, seed)
        whole = Signature(fixed, signature.outputs)  # without a batch: a row is all inputs of a case
        row, answers = next(verify.answered(pool, run, whole))
        inputs = pool.single(row, whole)
        cases.append(_write_case(target, len(cases), profile, shapes, inputs, answers))
    if limits is not None:
        golden.write(target, GOLDEN, _golden(run, signature, profiles, seed, limits))
    own = onnx.parent.resolve() != folder.resolve()
    if own:
        shutil.copytree(onnx.parent, target / MODEL)
    document = {
        "schema": SCHEMA,
        "model": f"{MODEL}/{onnx.name}" if own else None,
        "tolerance": asdict(tolerance),
        "batched": signature.batch_dim is not None,
        "cases": cases,
    }
    (target / INDEX).write_text(json.dumps(document, indent=2) + "\n", "utf-8")


def _golden(run: Run, signature: Signature, profiles: Sequence[Profile], seed: int, limits: Limits) -> Golden:
    """Return golden requests with the smallest and the tuned sizes of each profile."""
    kept = Remembered(run)
    lead = 0 if signature.batch_dim is None else 1
    asked = []
    for _, shapes in _cases(profiles):
        sized = [replace(each, shape=shapes.get(each.name, each.shape)) for each in signature.inputs]
        batch = int(sized[0].shape[0]) if lead else 1
        pool = make_pool([replace(each, shape=("row", *each.shape[lead:])) for each in sized], batch, seed)
        asked.append((pool, (batch,)))
    return chosen(Model(kept.recall, signature, lead, limits), (), asked)


def golden_requests(folder: Path) -> Golden:
    """Return the golden requests of a prepared plan; an earlier release prepared none."""
    return golden.read(folder / FOLDER, GOLDEN) or Golden(reason=EARLIER)


def _cases(profiles: Sequence[Profile]) -> list[tuple[int, Shapes]]:
    """Return each case's profile, and the shapes of the inputs that have symbolic dimensions; without duplicates."""
    cases: list[tuple[int, Shapes]] = []
    for number, profile in enumerate(profiles):
        for bound in CASE_BOUNDS:
            shapes = {name: bounds[bound] for name, bounds in profile.shapes.items()}
            if (number, shapes) not in cases:
                cases.append((number, shapes))
    return cases or [(0, {})]


def _write_case(
    target: Path, number: int, profile: int, shapes: Shapes, inputs: Arrays, answers: Arrays
) -> dict[str, Any]:
    written: dict[str, Any] = {"profile": profile, "shapes": {name: list(shape) for name, shape in shapes.items()}}
    written["inputs"] = [
        {
            "name": name,
            "file": _write(target / f"{number}-in-{position}.bin", _little(array)),
        }
        for position, (name, array) in enumerate(inputs.items())
    ]
    written["outputs"] = []
    for position, (name, array) in enumerate(answers.items()):
        kind = "d" if array.dtype.kind == "f" else "q"
        file = _write(target / f"{number}-out-{position}.bin", array.astype(f"<{'f8' if kind == 'd' else 'i8'}"))
        written["outputs"].append({"name": name, "file": file, "type": kind, "shape": list(array.shape)})
    return written


def reference_of(entry: PendingPlan, folder: Path) -> Reference:
    """Return the reference for a plan that is built in ``folder`` from an entry's files.

    Its model is the prepared one, or one that computes the same if a CPU lacks operators. RepositoryError if the
    reference can't be read.
    """
    return Reference(
        model=stand_in_model(folder) or folder / ONNX,
        signature=onnx_file.signature_of(folder / ONNX, entry.provenance.source.inputs),
        tolerance=wanted_tolerance(entry),
        seed=int(entry.provenance.options.get("seed", 0)),
    )


def stand_in_model(folder: Path) -> Path | None:
    """Return the model that a CPU runs in place of the one in ``folder``; None if that one runs on a CPU.

    RepositoryError if the reference can't be read.
    """
    index = folder / FOLDER / INDEX
    try:
        model = json.loads(index.read_text("utf-8"))["model"]
        return folder / FOLDER / model if model else None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RepositoryError(f"{index.name} is damaged: {error!r}", "Prepare the plan again with generate") from error


def _little(array: Array) -> Array:
    little: Array = array.astype(array.dtype.newbyteorder("<"))
    return little


def _write(path: Path, array: Array) -> str:
    path.write_bytes(np.ascontiguousarray(array).tobytes())
    return path.name
