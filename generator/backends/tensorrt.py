"""TensorRT plans: prepared here, and built in a process or in the container that will serve them, here or elsewhere.

A plan belongs to one TensorRT version and one GPU architecture. ``plan_spec`` says what decides it, ``machine`` what
is here, ``ways`` how it is built, ``making`` is the story of one plan.
"""

import shlex

from modelrepo.generator.specs.artifacts import Deferred, Order
from modelrepo.generator.specs.options import Instances
from modelrepo.generator.system.digests import sha256_of
from modelrepo.generator.tensorrt import plan_spec, profiles, ways
from modelrepo.generator.tensorrt.machine import gpu_present
from modelrepo.generator.tensorrt.plan_spec import PlanSpec
from modelrepo.generator.tensorrt.settings import OPTIONS, PRECISIONS, settings

__all__ = ["INSTANCES", "OPTIONS", "PRECISIONS", "TRITON_NAME", "build", "gpu_present", "preferred_batch_sizes",
           "settings", "spec_of"]  # fmt: skip
TRITON_NAME = "tensorrt"
# TensorRT runs on GPUs only.
INSTANCES = Instances("KIND_GPU", 1)
# Packages whose versions decide the graph that a plan is built from.
TOOLS = ("modelrepo", "onnx", "onnxruntime")


def preferred_batch_sizes(max_batch_size: int) -> tuple[int, ...]:
    """Return the size the plan's profile is tuned for: half the largest batch."""
    return (profiles.tuned_batch(max_batch_size),) if max_batch_size else ()


def spec_of(order: Order) -> PlanSpec:
    """Return what decides the plan of an order; OptionError where its profiles do not fit the model."""
    folder = order.export.path.parent
    derived = profiles.derive(
        order.export.signature, order.max_batch_size, order.preferred_batch_sizes, order.options.profiles
    )
    return PlanSpec(
        release=order.release.container,
        image=order.release.image,
        tensorrt=order.release.tensorrt,
        precision=order.precision,
        profiles=derived,
        version_compatible=order.options.version_compatible,
        workspace_mib=plan_spec.WORKSPACE_MIB,
        optimization_level=plan_spec.OPTIMIZATION_LEVEL,
        sparse=order.options.prune is not None and order.options.prune.structured,
        onnx={file.relative_to(folder).as_posix(): sha256_of(file) for file in order.export.files},
        tools=_versions(),
    )


def build(order: Order) -> Deferred:
    """Return what decides the plan, and the command that builds it elsewhere; ``generator.plans`` builds it here.

    Raises OptionError for profiles that do not fit the model, and ConversionError where a way is wanted that is not
    possible here.
    """
    spec = spec_of(order)
    way = ways.find(spec, order.options.plan_builder, order.progress)
    command = shlex.join(plan_spec.container_command(spec, order.folder))
    return Deferred(way.deferral, command, plan_spec.inputs_of(spec), here=way.kind != "deferred")


def _versions() -> dict[str, str]:
    from importlib import metadata

    return {name: metadata.version(name) for name in TOOLS}
