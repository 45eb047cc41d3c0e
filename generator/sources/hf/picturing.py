"""How transformers prepares a picture: the folder's own image processor, and the steps that it consists of."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelrepo.generator.sources.hf.images import CONVNEXT_CROP, CONVNEXT_SQUASHED, FILTERS
from modelrepo.generator.sources.pytorch import cause, preparing
from modelrepo.generator.sources.pytorch.pictures import COLOURS
from modelrepo.generator.specs.preparation import Compute, Crop, Preparation, Resize
from modelrepo.generator.specs.tensors import Array, Dim
from modelrepo.generator.system.quiet import quiet

PIXEL_VALUES = "pixel_values"
# The methods that decide what becomes of a picture; a processor with those of its backend has that one's steps.
DECIDING = ("preprocess", "_preprocess", "resize", "center_crop", "rescale", "normalize", "rescale_and_normalize")
# Those with methods of their own that do the same to a picture, and those whose steps are known here.
ALIKE = ("BeitImageProcessor", "MobileNetV2ImageProcessor", "SegformerImageProcessor")
CONVNEXT, EFFICIENTNET = "ConvNext", "EfficientNet"


class Unknown(Exception):
    """A processor does something that no graph is written for."""


def preparation(folder: Path, shape: tuple[Dim, ...]) -> Preparation:
    """Return the preparation of ``pixel_values`` of a shape by the image processor of a folder.

    It has a reason if no graph can do the same.
    """
    try:
        processor = _loaded(folder)
        steps = tuple(_steps(processor, processor.to_dict(), shape))
    except Unknown as error:
        return Preparation("image", PIXEL_VALUES, _nothing, reason=str(error))

    def own(picture: Array) -> Array:
        from PIL import Image

        with quiet():
            prepared = processor(images=Image.fromarray(picture), return_tensors="pt")[PIXEL_VALUES]
        answer: Array = prepared[0].numpy()
        return answer

    return Preparation("image", PIXEL_VALUES, own, steps)


def _nothing(picture: Array) -> Array:
    return picture


def _loaded(folder: Path) -> Any:
    from transformers import AutoImageProcessor

    try:
        with quiet():
            return AutoImageProcessor.from_pretrained(str(folder), local_files_only=True)
    except Exception as error:  # transformers raises OSError, ValueError, ImportError and errors of the code it runs
        raise Unknown(f"transformers can't load its image processor: {cause(error)}") from error


def _steps(processor: Any, settings: Mapping[str, Any], shape: tuple[Dim, ...]) -> list[Any]:
    """Return the steps of a processor; Unknown if it has others."""
    name = type(processor).__name__.removesuffix("Fast").removesuffix("Pil")
    special = name.startswith((CONVNEXT, EFFICIENTNET)) or name in ALIKE
    if not special and not _is_plain(processor):
        raise Unknown(f"{name} has steps of its own")
    if settings.get("do_pad") or settings.get("do_flip_channel_order"):
        raise Unknown(f"{name} changes the order of colours, or adds borders")
    turns = getattr(processor, "backend", "pil") == "pil"
    steps = [*(_resized(name, settings, turns) if settings.get("do_resize") else [])]
    if settings.get("do_center_crop"):
        size = settings.get("crop_size") or {}
        if not {"height", "width"} <= size.keys():
            raise Unknown(f"{name} does not say to which size it crops")
        steps.append(Crop((int(size["height"]), int(size["width"])), to_even=False))
    made = steps[-1] if steps else None
    if made is None or (isinstance(made, Resize) and made.rule != "exact") or made.size != tuple(shape[-2:]):
        size = " x ".join(map(str, shape[-2:]))
        raise Unknown(f"{name} gives pictures another size than the {size} that the model takes")
    return [*steps, *_numbers(name, settings)]


def _is_plain(processor: Any) -> bool:
    """Whether a processor has the steps of its backend, and none of its own."""
    base = next((each for each in type(processor).__mro__ if each.__name__.endswith("Backend")), None)
    return base is not None and all(
        getattr(type(processor), method, None) is getattr(base, method, None) for method in DECIDING
    )


def _resized(name: str, settings: Mapping[str, Any], turns: bool) -> list[Any]:
    size = {key: value for key, value in (settings.get("size") or {}).items() if value}
    filter_name: Any = FILTERS.get(settings.get("resample", 2), "an unknown filter")
    reason = preparing.unfit(filter_name)
    if reason:
        raise Unknown(reason)
    shortest = size.get("shortest_edge")
    if shortest and "longest_edge" not in size:
        if not name.startswith(CONVNEXT):
            return [Resize("shorter", (shortest, shortest), filter_name, turns)]
        if shortest >= CONVNEXT_SQUASHED:
            return [Resize("exact", (shortest, shortest), filter_name, turns)]
        larger = int(shortest / (settings.get("crop_pct") or CONVNEXT_CROP))
        return [
            Resize("shorter", (larger, larger), filter_name, turns),
            Crop((shortest, shortest), to_even=False),
        ]
    if {"height", "width"} <= size.keys():
        return [Resize("exact", (int(size["height"]), int(size["width"])), filter_name, turns)]
    raise Unknown(f"{name} resizes by a rule that no graph is written for: {', '.join(size) or 'no size'}")


def _numbers(name: str, settings: Mapping[str, Any]) -> list[Compute]:
    """Return the steps from bytes to numbers; where a processor rescales and normalises, it does both at once."""
    rescales, normalises = settings.get("do_rescale"), settings.get("do_normalize")
    factor = float(settings.get("rescale_factor") or 1 / preparing.BYTE)
    mean, std = (tuple(settings.get(key) or ()) for key in ("image_mean", "image_std"))
    if normalises and not len(mean) == len(std) == COLOURS:
        raise Unknown(f"{name} does not prepare three colours")
    efficient = name.startswith(EFFICIENTNET)
    offset = efficient and settings.get("rescale_offset")
    steps = []
    if rescales and normalises and not offset:
        steps = [Compute("Sub", tuple(each / factor for each in mean)), Compute("Div", tuple(s / factor for s in std))]
    else:
        steps += [Compute("Mul", (factor,))] if rescales else []
        steps += [Compute("Sub", (1.0,))] if rescales and offset else []
        steps += [Compute("Sub", mean), Compute("Div", std)] if normalises else []
    if efficient and settings.get("include_top"):
        steps.append(Compute("Div", std))
    return steps
