"""Optimization profiles: the shapes that a plan is built for, decided and checked before any builder runs.

TensorRT itself hardly checks them: it accepts names that no input has, and refuses a profile with -1 and no reason.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from modelrepo.generator.errors import OptionError, nearest
from modelrepo.generator.specs import dimensions
from modelrepo.generator.specs.artifacts import Serving
from modelrepo.generator.specs.options import Ranges
from modelrepo.generator.specs.tensors import Dim, Signature, TensorSpec

Shape = tuple[int, ...]
BOUNDS = ("min", "opt", "max")
# TensorRT counts a tensor's elements in signed 64-bit integers, but most of its kernels index them in 32 bits.
MAX_VOLUME = 2**31 - 1
# Characters with a meaning in trtexec's lists or polygraphy's patterns.
SPECIAL = ",'*?["


@dataclass(frozen=True)
class Profile:
    """An optimization profile of TensorRT."""

    # The smallest, the tuned and the largest shape of each input that has symbolic dimensions.
    shapes: Mapping[str, tuple[Shape, Shape, Shape]]

    def written(self, bound: int) -> str:
        """Return one bound (0 min, 1 opt, 2 max) as trtexec and ONNX Runtime read it: ``a:1x3,b:1x8``."""
        return ",".join(f"{name}:{'x'.join(map(str, shapes[bound]))}" for name, shapes in self.shapes.items())


def tuned_batch(max_batch_size: int) -> int:
    """Return the batch that a profile is tuned for by default: half the largest."""
    return max(1, max_batch_size // 2)


def derive(
    signature: Signature,
    max_batch_size: int,
    preferred_batch_sizes: Sequence[int],
    ranges: Sequence[Ranges] = (),
) -> tuple[Profile, ...]:
    """Return one profile for each of ``ranges``, or a default one; none for a model of fixed shapes.

    A range has the smallest, tuned and largest size of each symbolic dimension that it names. The batch dimension
    needs none: it goes from 1 to ``max_batch_size``, tuned for the largest of ``preferred_batch_sizes``, and is 1 if
    Triton does not batch. Raises OptionError if any other dimension has no range, or a range names a dimension that the
    model doesn't have.
    """
    symbols = _symbols(signature)
    if not symbols:
        if ranges:
            raise OptionError(f"--profiles names {next(iter(ranges[0]))!r}, but every shape of the model is fixed")
        return ()
    written = [dict(each) for each in ranges] or [{}]
    for each in written:
        for name in each:
            if name not in symbols:
                raise OptionError(f"--profiles names {name!r}, not a dimension of the model", nearest(name, symbols))
        if signature.batch_dim is not None:
            preferred = max(preferred_batch_sizes, default=tuned_batch(max_batch_size))
            each.setdefault(str(signature.batch_dim), (1, preferred, max_batch_size) if max_batch_size else (1, 1, 1))
        missing = [name for name in symbols if name not in each]
        if missing:
            where = next(spec for spec in signature.inputs if missing[0] in spec.shape)
            flag = ",".join([*(f"{name}=1:8:16" for name in missing)])
            raise OptionError(
                f"a TensorRT plan needs the sizes of dimension {missing[0]!r} of {where}",
                f'Give the smallest, tuned and largest: --profiles "{flag}"',
            )
    profiles = tuple(Profile({spec.name: _bounds(spec, each) for spec in _dynamic(signature)}) for each in written)
    validate(profiles, signature, max_batch_size)
    return profiles


def _symbols(signature: Signature) -> list[str]:
    """Return the symbolic dimensions of the inputs that have sizes of their own, in order, without duplicates."""
    return dimensions.own(dim for spec in signature.inputs for dim in spec.shape if isinstance(dim, str))


def _dynamic(signature: Signature) -> Iterator[TensorSpec]:
    return (spec for spec in signature.inputs if any(isinstance(dim, str) for dim in spec.shape))


def _bounds(spec: TensorSpec, ranges: Ranges) -> tuple[Shape, Shape, Shape]:
    smallest, tuned, largest = (spec.sized({name: each[bound] for name, each in ranges.items()}) for bound in range(3))
    return smallest, tuned, largest


def validate(profiles: Sequence[Profile], signature: Signature, max_batch_size: int) -> None:
    """Raise OptionError for profiles that a builder would refuse without a reason, or that Triton could not serve.

    Every input with symbolic dimensions needs shapes that fit it, and that increase from min to opt to max. Dimensions
    of one name must have the same sizes. Some profile must reach ``max_batch_size``, or Triton refuses the model.
    """
    dynamic = {spec.name: spec for spec in _dynamic(signature)}
    if dynamic and not profiles:
        raise OptionError(f"{next(iter(dynamic.values()))} has no profile", "Give one with --profiles")
    for number, profile in enumerate(profiles):
        where = f"profile {number}" if len(profiles) > 1 else "the profile"
        for name in profile.shapes:
            if name not in dynamic:
                raise OptionError(f"{where} names {name!r}, not an input with symbolic dimensions", _inputs(dynamic))
        for spec in dynamic.values():
            if spec.name not in profile.shapes:
                raise OptionError(f"{where} has no shapes of input {spec}", _inputs(dynamic))
            _check_input(where, spec, profile.shapes[spec.name])
        _check_symbols(where, profile, dynamic)
    if max_batch_size and dynamic:
        _check_batch(profiles, signature, max_batch_size)


def _inputs(dynamic: Mapping[str, TensorSpec]) -> str:
    return f"Its inputs with symbolic dimensions: {', '.join(map(str, dynamic.values())) or 'none'}"


def _check_input(where: str, spec: TensorSpec, shapes: tuple[Shape, Shape, Shape]) -> None:
    special = [letter for letter in SPECIAL if letter in spec.name]
    if special:
        raise OptionError(f"TensorRT's tools can't read the shape of {spec}: its name contains {special[0]!r}")
    for bound, shape in zip(BOUNDS, shapes, strict=True):
        if len(shape) != len(spec.shape) or any(
            not isinstance(dim, str) and dim != size for dim, size in zip(spec.shape, shape, strict=True)
        ):
            raise OptionError(f"{where}: {bound} {list(shape)} does not fit {spec}")
        if min(shape, default=1) < 1:
            raise OptionError(f"{where}: {bound} {list(shape)} of {spec} contains a size below 1")
        if prod(shape) > MAX_VOLUME:
            raise OptionError(
                f"{where}: {bound} {list(shape)} of {spec} has {prod(shape)} elements, but TensorRT allows {MAX_VOLUME}"
            )
    for dim, *sizes in zip(spec.shape, *shapes, strict=True):
        if sizes != sorted(sizes):
            raise OptionError(
                f"{where}: {dim} of {spec} doesn't increase from min to opt to max: {':'.join(map(str, sizes))}",
                f'Write the smallest, tuned and largest: --profiles "{dim}=1:8:16"',
            )


def _check_symbols(where: str, profile: Profile, dynamic: Mapping[str, TensorSpec]) -> None:
    seen: dict[Dim, list[int]] = {}
    for spec in dynamic.values():
        for dim, *sizes in zip(spec.shape, *profile.shapes[spec.name], strict=True):
            if isinstance(dim, str) and seen.setdefault(dim, sizes) != sizes:
                raise OptionError(f"{where} gives dimension {dim!r} two ranges: {seen[dim]} and {sizes}")


def _check_batch(profiles: Sequence[Profile], signature: Signature, max_batch_size: int) -> None:
    """Raise OptionError unless the profiles include batches of 1 and of ``max_batch_size``.

    Triton compares max_batch_size with the largest first dimension of the profiles that an instance uses. It sends
    batches of 1 whatever the smallest is: if no other request waits, and to warm the model up.
    """
    smallest = min(shapes[0][0] for profile in profiles for shapes in profile.shapes.values())
    if smallest > 1:
        raise OptionError(
            f"the smallest batch of the profiles is {smallest}, but Triton also sends single requests",
            f"Let one of the --profiles start with {signature.batch_dim}=1",
        )
    largest = max(shapes[2][0] for profile in profiles for shapes in profile.shapes.values())
    if largest < max_batch_size:
        raise OptionError(
            f"the largest batch of the profiles is {largest}, but Triton may form batches of {max_batch_size}",
            f"Lower --max-batch-size to {largest}, or raise the largest {signature.batch_dim} in --profiles",
        )


def preferred_batch_sizes(max_batch_size: int) -> tuple[int, ...]:
    """Return the batch size that the default profile is tuned for: half the largest batch."""
    return (tuned_batch(max_batch_size),) if max_batch_size else ()


def wanted(serving: Serving) -> tuple[Profile, ...]:
    """Return the profiles that the options give a model; OptionError if they do not fit it."""
    options, batch = serving.options, serving.max_batch_size
    preferred = options.preferred_batch_sizes or preferred_batch_sizes(batch)
    return derive(serving.signature, batch, preferred, options.profiles)


def smallest(signature: Signature, derived: Sequence[Profile]) -> dict[str, int]:
    """Return the smallest size of each symbolic dimension of the inputs in the first profile: what a plan answers."""
    return {
        dim: size
        for spec in signature.inputs
        for profile in derived[:1]
        for dim, size in zip(spec.shape, profile.shapes.get(spec.name, ((),))[0], strict=False)
        if isinstance(dim, str)
    }
