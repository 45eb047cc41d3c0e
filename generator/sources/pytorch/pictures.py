"""Shared parts of the sources of image models: the asked shape, sizes to try, and the preparation by a client."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from modelrepo.generator.errors import OptionError
from modelrepo.generator.sources.dynamic import with_dynamic
from modelrepo.generator.specs.tensors import InputShape, TensorSpec

COLOURS = 3
# Networks halve an image up to five times, so sizes that differ by multiples of this fit equally well.
STEP = 32


def asked_shape(
    asked: Sequence[InputShape], inputs: Sequence[str], axes: Sequence[str], kind: str, *, any_channels: bool = False
) -> tuple[int, ...]:
    """Return the shape of one sample that a user gives for all of these inputs; empty if none is given.

    ``axes`` are its dimensions, the first its channels, three unless ``any_channels``; a leading batch of 1 is left
    out. ``kind`` is the name of the model in messages. Raises OptionError for another input, type, number of dimensions
    or of channels, and for shapes that differ.
    """
    for each in asked:
        if each.name not in ("", *inputs):
            raise OptionError(f"--input-shape names the input {each.name!r}", f"The model takes {' and '.join(inputs)}")
        if each.dtype not in ("", "float32"):
            raise OptionError(f"--input-shape gives {each.dtype}, and {kind} takes float32")
    shapes = {
        each.shape[1:] if len(each.shape) == len(axes) + 1 and each.shape[0] == 1 else each.shape for each in asked
    }
    if len(shapes) > 1:
        raise OptionError(f"{' and '.join(inputs)} have one shape, and --input-shape gives several")
    for shape in shapes:
        if len(shape) != len(axes) or not (any_channels or shape[0] == COLOURS):
            example = "x".join(("3", *(["16"] if len(axes) > COLOURS else []), "224", "224"))
            raise OptionError(
                f"input shape {'x'.join(map(str, shape))} does not fit {kind}",
                f"Give {', '.join(axes[:-1])} and {axes[-1]} of one, such as {example}",
            )
    return next(iter(shapes), ())


def opened(inputs: tuple[TensorSpec, ...], dynamic: Mapping[str, Mapping[int, str]]) -> tuple[TensorSpec, ...]:
    """Return inputs with the dimensions that the user makes dynamic, and with sizes of these that networks take."""
    sized = {spec.name: spec.shape for spec in inputs}
    return tuple(
        replace(
            spec,
            sizes={
                **spec.sizes,
                **{
                    dim: (size, size + STEP, size + 2 * STEP)
                    for dim, size in zip(spec.shape, sized[spec.name], strict=True)
                    if isinstance(dim, str) and isinstance(size, int)
                },
            },
        )
        for spec in with_dynamic(inputs, dynamic)
    )


def preprocess(
    size: Sequence[int],
    *,
    resize: int,
    interpolation: str,
    mean: Sequence[float],
    std: Sequence[float],
    layout: str = "NCHW",
) -> dict[str, Any]:
    """Return the preparation by ``clients.load_image``: resize, crop to height and width, scale, normalise."""
    return {
        "kind": "image",
        "resize": resize,
        "crop": list(size),
        "interpolation": interpolation,
        "scale": [0.0, 1.0],
        "mean": list(mean),
        "std": list(std),
        "layout": layout,
    }
