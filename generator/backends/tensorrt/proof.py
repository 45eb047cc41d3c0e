"""Whether a plan answers as ONNX Runtime does, at every profile's smallest, tuned and largest shapes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from generator import verify
from generator.backends import onnxruntime
from generator.backends.tensorrt.builder import Asked
from generator.backends.tensorrt.plan_spec import PlanSpec
from generator.comparison import FP16, Precision, why_useless
from generator.errors import VerificationError
from generator.inputs import RANDOM, Pool, make_pool
from generator.remembered import LIMIT_BYTES, Remembered
from generator.specs import Arrays, Signature, Tolerance, Verification

# Asks a plan all of it, and returns its answers in order: builder.run_plan or container.run_plan.
Ask = Callable[[Sequence[Asked]], list[Arrays]]
# FP32 in a graph is TF32 in a plan: TensorRT multiplies with a mantissa of 10 bits, as many as FP16 has.
TF32 = FP16


@dataclass(frozen=True)
class _Case:
    """What is asked of one profile: a pool of samples, in batches of ``batch``; a whole input set is one sample."""

    profile: int
    batch: int
    pool: Pool


def verify_plan(
    ask: Ask,
    onnx: Path,
    spec: PlanSpec,
    signature: Signature,
    precision: Precision = TF32,
    tolerance: Tolerance | None = None,
    seed: int = 0,
) -> Verification:
    """Compare a plan with ONNX Runtime on ``onnx``, which is what it was built from or computes the same on a CPU.

    Everything is asked in one go, since a plan takes seconds to load. Raises VerificationError where an answer is
    missing, NaN or too far off, and where ONNX Runtime answers nothing that could be compared.
    """
    reference = Remembered(onnxruntime.open_model(onnx), LIMIT_BYTES)
    cases = [*_cases(spec, signature, reference.ask, seed)]
    asked: list[Asked] = []
    for case in cases:
        _compare(
            case, signature, reference.ask, _recording(reference.recall, case.profile, asked), precision, tolerance
        )
    answers = iter(ask(asked))
    found = [
        _compare(case, signature, reference.recall, lambda inputs: next(answers), precision, tolerance)
        for case in cases
    ]
    worst = max(found, key=lambda each: each.max_rel_diff or 0.0)
    return replace(worst, cases=sum(each.cases for each in found))


def _recording(reference: verify.Run, profile: int, asked: list[Asked]) -> verify.Run:
    """Return the reference, which notes what it is asked: verification asks the same in the same order again."""

    def run(inputs: Arrays) -> Arrays:
        asked.append(Asked(profile, inputs))
        return reference(inputs)

    return run


def _compare(
    case: _Case,
    signature: Signature,
    reference: verify.Run,
    candidate: verify.Run,
    precision: Precision,
    tolerance: Tolerance | None,
) -> Verification:
    return verify.verify(
        reference,
        candidate,
        signature,
        max_batch_size=case.batch,
        seed=0,
        tolerance=tolerance,
        precision=precision,
        sizes=(case.batch,),
        pools=(case.pool,),
    )


def _cases(spec: PlanSpec, signature: Signature, reference: verify.Run, seed: int) -> Iterator[_Case]:
    """Yield the three bounds of every profile, none twice; a model of fixed shapes has one case.

    Every family of inputs is asked at the largest shapes, the random ones at the others.
    """
    lead = 0 if signature.batch_dim is None else 1
    seen = set()
    for number, profile in enumerate(spec.profiles):
        for bound in (2, 1, 0):
            shapes = {name: each[bound] for name, each in profile.shapes.items()}
            if (number, str(shapes)) in seen:
                continue
            seen.add((number, str(shapes)))
            sized = [replace(each, shape=shapes.get(each.name, each.shape)) for each in signature.inputs]
            batch = int(sized[0].shape[0]) if lead else 1
            rows = [replace(each, shape=("row", *each.shape[lead:])) for each in sized]
            pool = _answered(make_pool(rows, batch, seed), reference, lead)
            few = len(pool.families) if bound == 2 else min(len(pool.families), max(batch, len(RANDOM)))
            yield _Case(number, batch, pool.only(range(few)))
    if not spec.profiles:
        rows = [replace(each, shape=("row", *each.shape)) for each in signature.inputs]
        yield _Case(0, 1, _answered(make_pool(rows, 1, seed), reference, lead))


def _answered(pool: Pool, reference: verify.Run, lead: int) -> Pool:
    """Return the rows that the reference answers with numbers: a model may refuse values that it was not made for."""
    kept = []
    problem = ""
    for row in range(len(pool.families)):
        inputs = pool.rows([row])
        try:
            answers = reference(inputs if lead else {name: array[0] for name, array in inputs.items()})
        except VerificationError as error:
            problem = str(error)
            continue
        whole = {name: answer if lead else np.asarray(answer)[np.newaxis] for name, answer in answers.items()}
        useless = why_useless(whole, pool, [row])
        if useless is None:
            kept.append(row)
        problem = useless or problem
    if not kept:
        raise VerificationError(f"no answer that a plan could be compared with: {problem}")
    return pool.only(kept)
