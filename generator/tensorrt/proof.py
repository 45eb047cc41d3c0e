"""Comparison of a plan with ONNX Runtime, at every profile's smallest, tuned and largest shapes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from modelrepo.generator.graphs import runtime
from modelrepo.generator.specs.findings import Verification
from modelrepo.generator.specs.options import Tolerance
from modelrepo.generator.specs.plans import PlanProof
from modelrepo.generator.specs.tensors import Arrays, Signature
from modelrepo.generator.tensorrt.builder import PlanInputs
from modelrepo.generator.tensorrt.plan_spec import PlanSpec
from modelrepo.generator.verification import verify
from modelrepo.generator.verification.comparison import BF16, FP16, TF32, Precision
from modelrepo.generator.verification.inputs import RANDOM, Pool, make_pool
from modelrepo.generator.verification.remembered import LIMIT_BYTES, Remembered

# Runs a plan on all of these, and returns its answers in order: builder.run_plan or container.run_plan.
Ask = Callable[[Sequence[PlanInputs]], list[Arrays]]
# Plan and reference run the same quantized graph, so both have the cost of quantization. The rest is rounding between
# the quantized layers, which now and then changes a value by a step of 1/127. A first guess: no plan was ever measured.
QUANTIZED_PLAN = Precision(Tolerance(relative=5e-2), rounding=2e-2)
# How far a plan's answers may be from ONNX Runtime's on the same ONNX model. Layers that stayed FP32 are TF32 in every
# plan.
PLAN_PRECISIONS = {"fp32": TF32, "fp16": FP16, "bf16": BF16, "int8": QUANTIZED_PLAN, "fp8": QUANTIZED_PLAN}


def plan_precision(precision: str) -> Precision:
    """Return how far a plan of this precision may be from the ONNX model that it was built from."""
    return PLAN_PRECISIONS[precision]


@dataclass(frozen=True)
class Reference:
    """The model that a plan is compared with."""

    model: Path  # an ONNX model that computes the same on a CPU
    signature: Signature
    tolerance: Tolerance | None = None  # the user's; None: that of the plan's precision
    seed: int = 0  # of the inputs

    def limit(self, precision: str) -> Tolerance:
        """Return the tolerance for a plan of this precision."""
        return self.tolerance or plan_precision(precision).tolerance


@dataclass(frozen=True)
class _Case:
    """The inputs for one profile."""

    profile: int
    batch: int
    pool: Pool  # samples; a model without batches has whole input sets instead


def verify_plan(ask: Ask, spec: PlanSpec, reference: Reference) -> PlanProof:
    """Compare a plan with ONNX Runtime on the model of ``reference``.

    All inputs are run at once, since a plan takes seconds to load. Raises VerificationError if an answer is missing,
    NaN or too far off, or if ONNX Runtime gives no answers to compare with.
    """
    kept = Remembered(runtime.open_model(reference.model), LIMIT_BYTES)
    cases = [*_cases(spec, reference, kept.ask)]
    asked: list[PlanInputs] = []
    for case in cases:
        _compare(case, spec, reference, kept.ask, _recording(kept.recall, case.profile, asked))
    answers = iter(ask(asked))
    found = [_compare(case, spec, reference, kept.recall, lambda inputs: next(answers)) for case in cases]
    worst = max(each.max_rel_diff or 0.0 for each in found)
    return PlanProof(sum(each.cases for each in found), worst, reference.limit(spec.precision))


def _recording(reference: verify.Run, profile: int, asked: list[PlanInputs]) -> verify.Run:
    """Return the reference, which records its inputs: verification uses the same ones in the same order again."""

    def run(inputs: Arrays) -> Arrays:
        asked.append(PlanInputs(profile, inputs))
        return reference(inputs)

    return run


def _compare(case: _Case, spec: PlanSpec, reference: Reference, run: verify.Run, candidate: verify.Run) -> Verification:
    return verify.verify(
        run,
        candidate,
        reference.signature,
        max_batch_size=case.batch,
        seed=0,
        tolerance=reference.tolerance,
        precision=plan_precision(spec.precision),
        sizes=(case.batch,),
        pools=(case.pool,),
        recorded=True,
    )


def _cases(spec: PlanSpec, reference: Reference, run: verify.Run) -> Iterator[_Case]:
    """Yield a case for each of the three bounds of every profile, without duplicates; one case for fixed shapes.

    The largest shapes have inputs of every family, the others only random ones.
    """
    signature = reference.signature
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
            pool = verify.usable(make_pool(rows, batch, reference.seed), run, signature)
            few = len(pool.families) if bound == 2 else min(len(pool.families), max(batch, len(RANDOM)))
            yield _Case(number, batch, pool.only(range(few)))
    if not spec.profiles:
        rows = [replace(each, shape=("row", *each.shape)) for each in signature.inputs]
        yield _Case(0, 1, verify.usable(make_pool(rows, 1, reference.seed), run, signature))
