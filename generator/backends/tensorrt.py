"""TensorRT plans: prepared here, then built in a process or in the serving container, here or elsewhere.

A plan belongs to one TensorRT version and one GPU architecture. ``plan_spec`` says what decides it, ``machine`` what
is here, ``ways`` how it is built, ``making`` is the story of one plan.
"""

import shlex

from modelrepo.generator.backends.backend import Backend
from modelrepo.generator.specs.artifacts import Deferred, Order, Serving, Settings
from modelrepo.generator.specs.options import Instances
from modelrepo.generator.system.digests import sha256_of
from modelrepo.generator.system.extras import version_of
from modelrepo.generator.tensorrt import plan_spec, profiles, ways
from modelrepo.generator.tensorrt.plan_spec import PRECISIONS, PlanSpec

# The packages that decide the graph that a plan is built from.
TOOLS = ("modelrepo", "onnx", "onnxruntime")


def settings(serving: Serving) -> Settings:
    """Return the settings of a plan with the profiles that these options give it.

    An instance uses one profile unless its configuration lists all.
    """
    derived = profiles.wanted(serving)
    return Settings(
        profiles=tuple(map(str, range(len(derived)))) if len(derived) > 1 else (),
        cuda_graphs=serving.options.cuda_graphs,
        sizes=profiles.smallest(serving.signature, derived),
    )


def spec_of(order: Order) -> PlanSpec:
    """Return the specification of a plan; OptionError if its profiles do not fit the model."""
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
        tools={name: version for name in TOOLS if (version := version_of(name))},
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


BACKEND = Backend(
    triton_name="tensorrt",
    precisions=PRECISIONS,
    settings=settings,
    build=build,
    instances=Instances("KIND_GPU", 1),  # TensorRT runs on GPUs only
    options=("profiles", "plan_builder", "version_compatible", "cuda_graphs"),
    preferred_batch_sizes=profiles.preferred_batch_sizes,
    read_by_tensorrt=True,
)
