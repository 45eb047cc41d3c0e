"""Making one plan: from the cache or a builder; its header is checked, its answers are compared."""

import shutil
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from modelrepo.generator.errors import ConversionError
from modelrepo.generator.progress import Progress
from modelrepo.generator.specs.plans import BuiltPlan, PlanProof
from modelrepo.generator.system.digests import sha256_of
from modelrepo.generator.tensorrt import builder, container, header, plan_cache
from modelrepo.generator.tensorrt.container import Image
from modelrepo.generator.tensorrt.machine import Gpu, Machine
from modelrepo.generator.tensorrt.plan_spec import ONNX, PLAN, TIMING_CACHE, PlanSpec, cache_key, inputs_of
from modelrepo.generator.tensorrt.proof import Reference, verify_plan
from modelrepo.generator.tensorrt.ways import Way

Known = tuple[Path, BuiltPlan]


def make_plan(
    spec: PlanSpec,
    folder: Path,
    way: Way,
    machine: Machine,
    gpu: Gpu,
    reference: Reference,
    progress: Progress,
    *,
    known: Known | None = None,
    fresh: bool = False,
) -> BuiltPlan:
    """Build ``folder``/model.onnx into ``folder``/model.plan for one GPU, and prove it; return its record.

    A plan that was built before (``known``, or in the cache) is used again, and proven again if the limit differs.
    With ``fresh`` it is always built. Raises ConversionError if the plan can't be built, or would not load in the
    serving image; VerificationError if its answers are wrong. After an error there is no plan.
    """
    plan = folder / PLAN
    if way.kind == "container":
        progress.note(f"querying {spec.image} for its TensorRT")
    image = container.ask_image(spec.image) if way.kind == "container" else None
    by = f"{image.tensorrt} in {image.digest}" if image else str(machine.tensorrt)
    key = cache_key(spec, gpu, by)
    stood = None if fresh else plan_cache.find(key) or _loadable(known, spec, image)
    try:
        if stood:
            shutil.copyfile(stood[0], plan)
            built = stood[1]
        else:
            _build(spec, folder, way, gpu, by, progress)
            built = _record(spec, plan, way, gpu, image)
        if built.is_proven(reference.limit(spec.precision)):
            return built
        built = replace(built, proof=prove(spec, plan, way, gpu, reference))
    except BaseException:
        plan.unlink(missing_ok=True)
        raise
    try:
        plan_cache.keep(key, plan, built)
    except (OSError, RuntimeError) as error:
        progress.warn(f"can't keep the plan in the cache: {error}")
    return built


def prove(spec: PlanSpec, plan: Path, way: Way, gpu: Gpu, reference: Reference) -> PlanProof:
    """Run a plan on a GPU, and compare its answers; VerificationError if it can't run, or its answers are wrong."""
    ask = (
        partial(container.run_plan, spec, plan, reference.signature, device=gpu.index)
        if way.kind == "container"
        else partial(builder.run_plan, plan, device=gpu.index)
    )
    return verify_plan(ask, spec, reference)


def _loadable(known: Known | None, spec: PlanSpec, image: Image | None) -> Known | None:
    """Return a known plan if the serving image would load it, or None: it may be from a different TensorRT."""
    if known is None:
        return None
    try:
        header.check(header.read(known[0]), spec, image.tensorrt if image else None)
    except ConversionError:
        return None
    return known


def _record(spec: PlanSpec, plan: Path, way: Way, gpu: Gpu, image: Image | None) -> BuiltPlan:
    """Return the record of a plan that was just built; ConversionError if the serving image would not load it."""
    found = header.read(plan)
    header.check(found, spec, image.tensorrt if image else None)
    return BuiltPlan(
        sha256=sha256_of(plan),
        inputs=inputs_of(spec),
        gpu=gpu.name,
        compute_capability=gpu.compute_capability,
        tensorrt=found.version,
        way=way.kind,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _build(spec: PlanSpec, folder: Path, way: Way, gpu: Gpu, by: str, progress: Progress) -> None:
    """Build with the timing cache of earlier builds for this type of GPU, and keep the new timings."""
    timings = folder / TIMING_CACHE
    with suppress(OSError, RuntimeError):  # a builder also works without one
        shutil.copyfile(plan_cache.timing_cache(by, gpu), timings)
    if way.kind == "container":
        container.build_in_container(spec, folder, progress, gpu.index)
    else:
        builder.build_plan(spec, folder / ONNX, folder / PLAN, timings, progress, device=gpu.index)
    with suppress(OSError, RuntimeError):  # the plan does not need it
        plan_cache.keep_timing(timings, by, gpu)
