"""What `plans` asks of the TensorRT backend: how a plan is built here, building it, and running it again."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from generator.errors import RepositoryError, VerificationError
from generator.manifest import BuiltPlan, PendingPlan, PlanProof
from generator.plans import answers
from generator.plans.standing import wanted_tolerance
from generator.progress import Progress
from generator.specs import Signature

if TYPE_CHECKING:
    from generator.backends.tensorrt.machine import Gpu, Machine
    from generator.backends.tensorrt.plan_spec import PlanSpec
    from generator.backends.tensorrt.ways import Way
    from generator.comparison import Precision

ONNX, PLAN = "model.onnx", "model.plan"
AGAIN = "Prepare the plan again with generate"


def spec_of(entry: PendingPlan) -> "PlanSpec":
    """Return what decides a plan's content; RepositoryError for an entry that does not say it."""
    from generator.backends.tensorrt.plan_spec import PlanSpec

    try:
        return PlanSpec.of(entry.inputs)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RepositoryError(f"its entry in plans.lock is damaged: {error!r}", AGAIN) from error


def choose(spec: "PlanSpec", here: "Machine", wanted: Literal["auto", "process", "container"]) -> "Way":
    """Return how a plan is built or run on this machine, and why so; ConversionError where the wanted way is closed."""
    from generator.backends.tensorrt import ways

    return ways.choose(spec, here, wanted)


def make(entry: PendingPlan, folder: Path, way: "Way", here: "Machine", gpu: "Gpu", progress: Progress) -> BuiltPlan:
    """Build ``folder``/model.onnx into ``folder``/model.plan for one GPU, and prove it; nothing is left of a failure.

    Raises ConversionError where it can't be built, or would not load where it is to serve, and VerificationError where
    it answers otherwise than ONNX Runtime.
    """
    from generator.backends.tensorrt.making import make_plan

    spec = spec_of(entry)
    try:
        return make_plan(
            spec,
            folder,
            way,
            here,
            gpu,
            _signature(entry, folder),
            progress,
            reference=_reference(folder),
            precision=_precision(spec),
            tolerance=wanted_tolerance(entry),
            seed=_seed(entry),
        )
    except answers.Mismatch as error:
        raise VerificationError(str(error)) from None


def prove(entry: PendingPlan, folder: Path, way: "Way", gpu: "Gpu") -> PlanProof:
    """Run ``folder``/model.plan on a GPU, and compare it with ONNX Runtime on ``folder``/model.onnx.

    Raises VerificationError where it can't be run, or answers otherwise.
    """
    from generator.backends.tensorrt import builder, container
    from generator.backends.tensorrt.proof import verify_plan

    spec, signature, plan = spec_of(entry), _signature(entry, folder), folder / PLAN
    ask = (
        partial(container.run_plan, spec, plan, signature, device=gpu.index)
        if way.kind == "container"
        else partial(builder.run_plan, plan, device=gpu.index)
    )
    model = _reference(folder) or folder / ONNX
    try:
        found = verify_plan(ask, model, spec, signature, _precision(spec), wanted_tolerance(entry), _seed(entry))
    except answers.Mismatch as error:
        raise VerificationError(str(error)) from None
    return PlanProof(found.cases, found.max_rel_diff or 0.0, found.tolerance)


def _signature(entry: PendingPlan, folder: Path) -> Signature:
    """Return what the prepared model takes and gives, with the values that its inputs may have."""
    import onnx

    from generator.export import onnx_file

    signature = onnx_file.read_signature(onnx.load(folder / ONNX, load_external_data=False).graph)
    known = {spec.name: spec for spec in entry.provenance.source.inputs}
    return Signature(tuple(known.get(spec.name, spec) for spec in signature.inputs), signature.outputs)


def _reference(folder: Path) -> Path | None:
    from generator.plans.reference import stand_in_model

    return stand_in_model(folder)


def _precision(spec: "PlanSpec") -> "Precision":
    from generator.plans.reference import plan_precision

    return plan_precision(spec.precision)


def _seed(entry: PendingPlan) -> int:
    return int(entry.provenance.options.get("seed", 0))
