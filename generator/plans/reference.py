"""What ONNX Runtime answers, stored beside a plan that is to be built where nothing of ours may be."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from generator.backends import onnxruntime
from generator.backends.tensorrt.profiles import Profile
from generator.comparison import Precision, why_useless
from generator.errors import RepositoryError, VerificationError
from generator.inputs import make_pool
from generator.plans.answers import FOLDER, INDEX, SCHEMA
from generator.specs import Array, Arrays, Signature, Tolerance

# Smallest and tuned sizes of a profile: the largest may be too much for a CPU, and proves little more.
BOUNDS = (0, 1)
MODEL = "model"
Shapes = Mapping[str, tuple[int, ...]]


def plan_precision(precision: str) -> Precision:
    """Return how far a plan of this precision may answer from the ONNX model that it was built from."""
    from generator.backends.tensorrt.proof import TF32
    from generator.optimize import recipe_of

    return TF32 if precision == "fp32" else recipe_of(precision).PRECISION


def write_reference(
    folder: Path,
    onnx: Path,
    signature: Signature,
    profiles: Sequence[Profile],
    tolerance: Tolerance,
    seed: int = 0,
) -> None:
    """Write inputs and ONNX Runtime's answers to ``folder``/reference, in the form that ``answers`` reads.

    ``onnx`` is the prepared model in ``folder``, or one that computes the same on a CPU, alone in a folder of its own,
    which is copied. A case is made of the smallest and of the tuned shapes of each profile; a model with fixed shapes
    has one. ``tolerance`` is the user's, or that of ``plan_precision``. Raises VerificationError where the model gives
    no answer that can be compared.
    """
    target = folder / FOLDER
    target.mkdir()
    run = onnxruntime.open_model(onnx)
    cases: list[dict[str, Any]] = []
    for profile, shapes in _cases(profiles):
        inputs, answers = _answered(run, signature, shapes, seed)
        cases.append(_write_case(target, len(cases), profile, shapes, inputs, answers))
    own = onnx.parent.resolve() != folder.resolve()
    if own:
        shutil.copytree(onnx.parent, target / MODEL)
    document = {
        "schema": SCHEMA,
        "model": f"{MODEL}/{onnx.name}" if own else None,
        "tolerance": {
            "relative": tolerance.relative,
            "absolute": tolerance.absolute,
            "text": str(tolerance),
        },
        "batched": signature.batch_dim is not None,
        "cases": cases,
    }
    (target / INDEX).write_text(json.dumps(document, indent=2) + "\n", "utf-8")


def _cases(profiles: Sequence[Profile]) -> list[tuple[int, Shapes]]:
    """Return each case's profile and the shapes of the inputs that have symbolic dimensions; none twice."""
    cases: list[tuple[int, Shapes]] = []
    for number, profile in enumerate(profiles):
        for bound in BOUNDS:
            shapes = {name: bounds[bound] for name, bounds in profile.shapes.items()}
            if (number, shapes) not in cases:
                cases.append((number, shapes))
    return cases or [(0, {})]


def _answered(run: Any, signature: Signature, shapes: Shapes, seed: int) -> tuple[Arrays, Arrays]:
    """Return inputs of these shapes, and answers that can be compared; VerificationError where none is found."""
    sized = [replace(spec, shape=("row", *shapes.get(spec.name, spec.shape))) for spec in signature.inputs]
    pool = make_pool(sized, 0, seed)
    problem = ""
    for row in range(len(pool.families)):
        inputs = {name: array[0] for name, array in pool.rows([row]).items()}
        try:
            answers = {name: np.asarray(answer) for name, answer in run(inputs).items()}
        except VerificationError as error:  # a model may refuse some values
            problem = str(error)
            continue
        useless = why_useless({name: answer[np.newaxis] for name, answer in answers.items()}, pool, [row])
        if useless is None:
            return inputs, answers
        problem = useless
    raise VerificationError(f"no answer that a plan could be compared with: {problem}")


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


def stand_in_model(folder: Path) -> Path | None:
    """Return the model that computes on a CPU what that of ``folder`` does not; None where its own does.

    RepositoryError where the reference can't be read.
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
