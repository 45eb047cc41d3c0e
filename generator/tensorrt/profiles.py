"""Optimization profiles: which shapes a plan is built for, decided and checked before any builder runs.

TensorRT takes profiles in silence: a name that no input has is accepted, and what it refuses it answers with -1 alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from modelrepo.generator.errors import OptionError, nearest
from modelrepo.generator.specs.artifacts import Serving
from modelrepo.generator.specs.options import Ranges
from modelrepo.generator.specs.tensors import Dim, Signature, TensorSpec

Shape = tuple[int, ...]
BOUNDS = ("min", "opt", "max")
# TensorRT counts a tensor's elements in a signed 64-bit integer, its kernels index most of them in 32 bits.
MAX_VOLUME = 2**31 - 1
# What neither trtexec's lists nor polygraphy's patterns leave as it is.
UNSPEAKABLE = ",'*?["


@dataclass(frozen=True)
class Profile:
    """An optimization profile of TensorRT."""

    # The smallest, the tuned and the largest shape of each input that has symbolic dimensions.
    shapes: Mapping[str, tuple[Shape, Shape, Shape]]

    def written(self, bound: int) -> str:
        """Return one bound (0 min, 1 opt, 2 max) as trtexec and ONNX Runtime read it: ``a:1x3,b:1x8``."""
        return ",".join(f"{name}:{'x'.join(map(str, shapes[bound]))}" for name, shapes in self.shapes.items())


def tuned_batch(max_batch_size: int) -> int:
    """Return the batch that a profile is tuned for where the user names none: half the largest."""
    return max(1, max_batch_size // 2)


def derive(
    signature: Signature,
    max_batch_size: int,
    preferred_batch_sizes: Sequence[int],
    ranges: Sequence[Ranges] = (),
) -> tuple[Profile, ...]:
    """Return one profile for each of ``ranges``, or a single one without any; none for a model of fixed shapes.

    A range gives the smallest, tuned and largest size of each symbolic dimension that it names. The batch dimension
    needs none: it goes from 1 to ``max_batch_size``, tuned for the largest of ``preferred_batch_sizes``, and is 1 where
    Triton does not batch. Raises OptionError where another dimension has no range, or a range names no dimension of
    the model.
    """
    symbols = _symbols(signature)
    if not symbols:
        if ranges:
            raise OptionError(f"--profiles names {next(iter(ranges[0]))!r}, and every shape of the model is fixed")
        return ()
    written = [dict(each) for each in ranges] or [{}]
    for each in written:
        for name in each:
            if name not in symbols:
                raise OptionError(f"--profiles names {name!r}, no dimension of the model", nearest(name, symbols))
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
    """Return the symbolic dimensions of the inputs in order, each once."""
    return list(dict.fromkeys(dim for spec in signature.inputs for dim in spec.shape if isinstance(dim, str)))


def _dynamic(signature: Signature) -> Iterator[TensorSpec]:
    return (spec for spec in signature.inputs if any(isinstance(dim, str) for dim in spec.shape))


def _bounds(spec: TensorSpec, ranges: Ranges) -> tuple[Shape, Shape, Shape]:
    smallest, tuned, largest = (spec.sized({name: each[bound] for name, each in ranges.items()}) for bound in range(3))
    return smallest, tuned, largest


def validate(profiles: Sequence[Profile], signature: Signature, max_batch_size: int) -> None:
    """Raise OptionError for what a builder would refuse without a reason, or take and never serve.

    Every input with symbolic dimensions must have shapes that fit it and rise from min over opt to max, dimensions of
    one name the same size, and some profile must reach ``max_batch_size``, or Triton refuses the model.
    """
    dynamic = {spec.name: spec for spec in _dynamic(signature)}
    if dynamic and not profiles:
        raise OptionError(f"{next(iter(dynamic.values()))} has no profile", "Give one with --profiles")
    for number, profile in enumerate(profiles):
        where = f"profile {number}" if len(profiles) > 1 else "the profile"
        for name in profile.shapes:
            if name not in dynamic:
                raise OptionError(f"{where} is for {name!r}, no input with symbolic dimensions", _inputs(dynamic))
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
    unspeakable = [letter for letter in UNSPEAKABLE if letter in spec.name]
    if unspeakable:
        raise OptionError(f"TensorRT's tools can't be told the shape of {spec}: its name holds {unspeakable[0]!r}")
    for bound, shape in zip(BOUNDS, shapes, strict=True):
        if len(shape) != len(spec.shape) or any(
            not isinstance(dim, str) and dim != size for dim, size in zip(spec.shape, shape, strict=True)
        ):
            raise OptionError(f"{where}: {bound} {list(shape)} does not fit {spec}")
        if min(shape, default=1) < 1:
            raise OptionError(f"{where}: {bound} {list(shape)} of {spec} holds a size below 1")
        if prod(shape) > MAX_VOLUME:
            raise OptionError(
                f"{where}: {bound} {list(shape)} of {spec} has {prod(shape)} elements, TensorRT takes {MAX_VOLUME}"
            )
    for dim, *sizes in zip(spec.shape, *shapes, strict=True):
        if sizes != sorted(sizes):
            raise OptionError(
                f"{where}: {dim} of {spec} does not rise from min over opt to max: {':'.join(map(str, sizes))}",
                f'Write the smallest, tuned and largest: --profiles "{dim}=1:8:16"',
            )


def _check_symbols(where: str, profile: Profile, dynamic: Mapping[str, TensorSpec]) -> None:
    seen: dict[Dim, list[int]] = {}
    for spec in dynamic.values():
        for dim, *sizes in zip(spec.shape, *profile.shapes[spec.name], strict=True):
            if isinstance(dim, str) and seen.setdefault(dim, sizes) != sizes:
                raise OptionError(f"{where} gives dimension {dim!r} two ranges: {seen[dim]} and {sizes}")


def _check_batch(profiles: Sequence[Profile], signature: Signature, max_batch_size: int) -> None:
    """Triton compares max_batch_size with the largest first dimension of the profiles that an instance uses.

    It sends batches of 1 as well, whatever the smallest is: where no request waits, and to warm a model up.
    """
    smallest = min(shapes[0][0] for profile in profiles for shapes in profile.shapes.values())
    if smallest > 1:
        raise OptionError(
            f"the smallest batch of the profiles is {smallest}, and Triton sends single requests, too",
            f"Let one of the --profiles start with {signature.batch_dim}=1",
        )
    largest = max(shapes[2][0] for profile in profiles for shapes in profile.shapes.values())
    if largest < max_batch_size:
        raise OptionError(
            f"the largest batch of the profiles is {largest}, and Triton is to form batches of {max_batch_size}",
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
