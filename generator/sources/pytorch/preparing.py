"""How frameworks of PyTorch prepare pictures: their own transforms, and the steps that these consist of."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from modelrepo.generator.specs.preparation import Compute, Crop, Preparation, Resize
from modelrepo.generator.specs.tensors import Array

BYTE = 255.0
# The filters that a graph has, by the names that torchvision has for them.
FILTERS = ("bilinear", "bicubic")


def unfit(filter_name: str) -> str:
    """Return why a filter can't be one of a graph; empty if it can."""
    return "" if filter_name in FILTERS else f"it resizes with {filter_name!r}, and not with {' or '.join(FILTERS)}"


def normalised(mean: Sequence[float], std: Sequence[float]) -> tuple[Compute, ...]:
    """Return the steps from bytes to what ``torchvision.transforms.Normalize`` makes, in its own order."""
    return (Compute("Div", (BYTE,)), Compute("Sub", tuple(mean)), Compute("Div", tuple(std)))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch compute in one thread: on a busy machine, several mostly wait for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def of_transform(name: str, transform: Callable[[Any], Any], steps: tuple[Any, ...], reason: str = "") -> Preparation:
    """Return the preparation of the input ``name`` by a transform that takes a PIL image and returns a tensor."""

    def own(picture: Array) -> Array:
        from PIL import Image

        with _one_thread():
            prepared: Array = transform(Image.fromarray(picture)).numpy()
        return prepared

    return Preparation("image", name, own, steps, reason)


def centred(
    name: str, transform: Callable[[Any], Any], resize: Resize, size: Sequence[int], numbers: tuple[Compute, ...]
) -> Preparation:
    """Return the preparation by torchvision's own resize, crop of the centre, and normalisation."""
    height, width = size
    return of_transform(name, transform, (resize, Crop((height, width), to_even=True), *numbers), unfit(resize.filter))
