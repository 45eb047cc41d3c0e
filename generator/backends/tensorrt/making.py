"""One plan from beginning to end: from the cache or a builder, its header read, its answers compared."""

import shutil
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from generator.backends.tensorrt import builder, container, header, plan_cache
from generator.backends.tensorrt.machine import Gpu, Machine
from generator.backends.tensorrt.plan_spec import ONNX, PLAN, TIMING_CACHE, PlanSpec, cache_key, inputs_of
from generator.backends.tensorrt.proof import TF32, verify_plan
from generator.backends.tensorrt.ways import Way
from generator.comparison import Precision
from generator.digests import sha256_of
from generator.manifest import BuiltPlan, PlanProof
from generator.progress import Progress
from generator.specs import Signature, Tolerance, Verification


def make_plan(
    spec: PlanSpec,
    folder: Path,
    way: Way,
    machine: Machine,
    gpu: Gpu,
    signature: Signature,
    progress: Progress,
    *,
    reference: Path | None = None,
    precision: Precision = TF32,
    tolerance: Tolerance | None = None,
    seed: int = 0,
) -> BuiltPlan:
    """Build ``folder``/model.onnx into ``folder``/model.plan for one GPU, and prove it; return what is known of it.

    ``reference`` is an ONNX model that computes the same on a CPU, where model.onnx itself does not run there. A plan
    that was built and proven before comes from the cache. Raises ConversionError where it can't be built, or would not
    load where it is to serve, and VerificationError where it answers wrongly; no plan is left then.
    """
    plan = folder / PLAN
    if way.kind == "container":
        progress.note(f"asking {spec.image} for its TensorRT")
    image = container.ask_image(spec.image) if way.kind == "container" else None
    by = f"{image.tensorrt} in {image.digest}" if image else str(machine.tensorrt)
    key = cache_key(spec, gpu, by)
    cached = plan_cache.find(key)
    if cached:
        shutil.copyfile(cached[0], plan)
        return BuiltPlan.of(cached[1])
    try:
        _build(spec, folder, way, gpu, by, progress)
        found = header.read(plan)
        header.check(found, spec, image.tensorrt if image else None)
        ask = (
            partial(container.run_plan, spec, plan, signature, device=gpu.index)
            if image
            else partial(builder.run_plan, plan, device=gpu.index)
        )
        verified = verify_plan(ask, reference or folder / ONNX, spec, signature, precision, tolerance, seed)
    except BaseException:
        plan.unlink(missing_ok=True)
        raise
    built = _record(spec, plan, way, gpu, found.version, verified)
    try:
        plan_cache.keep(key, plan, asdict(built))
    except (OSError, RuntimeError) as error:
        progress.warn(f"the plan is not kept for the next time: {error}")
    return built


def _record(spec: PlanSpec, plan: Path, way: Way, gpu: Gpu, version: str, verified: Verification) -> BuiltPlan:
    return BuiltPlan(
        sha256=sha256_of(plan),
        inputs=inputs_of(spec),
        gpu=gpu.name,
        compute_capability=gpu.compute_capability,
        tensorrt=version,
        way=way.kind,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        proof=PlanProof(verified.cases, verified.max_rel_diff or 0.0, verified.tolerance),
    )


def _build(spec: PlanSpec, folder: Path, way: Way, gpu: Gpu, by: str, progress: Progress) -> None:
    """Build with what earlier builds have learnt of this type of GPU, and keep what this one has."""
    learnt = folder / TIMING_CACHE
    with suppress(OSError, RuntimeError):  # a builder begins without one
        shutil.copyfile(plan_cache.timing_cache(by, gpu), learnt)
    if way.kind == "container":
        container.build_in_container(spec, folder, progress, gpu.index)
    else:
        builder.build_plan(spec, folder / ONNX, folder / PLAN, learnt, progress, device=gpu.index)
    with suppress(OSError, RuntimeError):  # the plan does not need it
        shutil.copyfile(learnt, plan_cache.timing_cache(by, gpu))
