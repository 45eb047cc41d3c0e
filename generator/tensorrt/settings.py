"""What the configuration of a plan says: the precisions it may have, its profiles, and CUDA graphs."""

from collections.abc import Sequence

from modelrepo.generator.specs.artifacts import Settings
from modelrepo.generator.specs.options import Options
from modelrepo.generator.specs.tensors import Signature
from modelrepo.generator.tensorrt import profiles
from modelrepo.generator.tensorrt.profiles import Profile

PRECISIONS = ("fp32", "fp16", "bf16", "int8", "fp8")
OPTIONS = ("profiles", "plan_builder", "version_compatible", "cuda_graphs")


def settings(name: str, options: Options, signature: Signature, precision: str, batch: int) -> Settings:
    """Return the settings of a plan with the profiles that these options give it.

    An instance uses one profile unless it is told of all.
    """
    preferred = options.preferred_batch_sizes or ((profiles.tuned_batch(batch),) if batch else ())
    derived = profiles.derive(signature, batch, preferred, options.profiles)
    return Settings(
        profiles=tuple(map(str, range(len(derived)))) if len(derived) > 1 else (),
        cuda_graphs=options.cuda_graphs,
        sizes=smallest(signature, derived),
    )


def smallest(signature: Signature, derived: Sequence[Profile]) -> dict[str, int]:
    """Return the smallest size of each symbolic dimension of the inputs in the first profile: what a plan answers."""
    return {
        dim: size
        for spec in signature.inputs
        for profile in derived[:1]
        for dim, size in zip(spec.shape, profile.shapes.get(spec.name, ((),))[0], strict=False)
        if isinstance(dim, str)
    }
