"""The preparation of an image for a model: its processor's configuration, as far as our clients can follow it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelrepo.generator.errors import SourceError
from modelrepo.generator.sources.hf import folder as folders
from modelrepo.generator.specs.preparation import UNPREPARED

# PIL.Image.Resampling's numbers, by the names that our clients use.
FILTERS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}
CLIENTS_SCALE = 1 / 255
# ConvNextImageProcessor: smaller images than this are cut out of images larger by 256/224.
CONVNEXT_SQUASHED, CONVNEXT_CROP = 384, 224 / 256


def processor(folder: Path) -> dict[str, Any]:
    """Return the configuration of a folder's image processor, empty if it has none; SourceError for a broken one."""
    own = folders.document(folder / "preprocessor_config.json")
    nested = folders.document(folder / "processor_config.json").get("image_processor")
    found = own or (nested if isinstance(nested, dict) else {})
    if not ("image_mean" in found or "do_resize" in found):
        return {}
    try:
        size_of(found)
        preprocess(found)
    except (TypeError, ValueError, KeyError, ZeroDivisionError) as error:
        where = folder / ("preprocessor_config.json" if own else "processor_config.json")
        raise SourceError(f"{where} does not say how an image is prepared: {type(error).__name__}: {error}") from error
    return found


def size_of(described: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return the height and width that a processor gives every image; None if it does not say."""
    crop = described.get("crop_size") if described.get("do_center_crop") else None
    size = crop or described.get("size")
    if isinstance(size, int):
        return size, size
    if not isinstance(size, Mapping):
        return None
    if {"height", "width"} <= size.keys():
        return int(size["height"]), int(size["width"])
    shortest = size.get("shortest_edge")
    return (int(shortest), int(shortest)) if shortest else None


def preprocess(described: Mapping[str, Any]) -> tuple[dict[str, Any] | None, str]:
    """Return how a client prepares an image, or None and the reason why clients can't.

    With an odd number of pixels around the centre, our clients cut off one more on the other side.
    """
    size, cropped = described.get("size"), size_of(described)
    resize = size.get("shortest_edge") if isinstance(size, Mapping) else None
    if str(described.get("image_processor_type", "")).startswith("ConvNext") and resize:
        share = described.get("crop_pct") or CONVNEXT_CROP
        resize, cropped = (int(resize / share), (resize, resize)) if resize < CONVNEXT_SQUASHED else (None, cropped)
    elif not described.get("do_center_crop"):
        resize = None
    problem = _beyond(described, resize, cropped)
    if problem or cropped is None:
        return None, f"{UNPREPARED}{problem or 'its processor has no size'}"
    normalized = described.get("do_normalize", True)
    return {
        "kind": "image",
        "resize": resize,
        "crop": list(cropped),
        "interpolation": FILTERS[described.get("resample", 2)],
        "scale": [0.0, 1.0],
        "mean": list(described["image_mean"]) if normalized else [0.0, 0.0, 0.0],
        "std": list(described["image_std"]) if normalized else [1.0, 1.0, 1.0],
        "layout": "NCHW",
    }, ""


def _beyond(described: Mapping[str, Any], resize: int | None, cropped: tuple[int, int] | None) -> str:
    """Return the step of a processor that our clients can't do; empty if they can do all."""
    scale = described.get("rescale_factor", CLIENTS_SCALE) if described.get("do_rescale", True) else 1.0
    if described.get("do_flip_channel_order"):
        return "its processor wants BGR"
    if abs(scale - CLIENTS_SCALE) > 1e-9:
        return f"its processor scales pixels by {scale:g}"
    if described.get("do_normalize", True) and not {"image_mean", "image_std"} <= described.keys():
        return "its processor names no mean and deviation"
    if described.get("do_normalize", True) and not len(described["image_mean"]) == len(described["image_std"]) == 3:
        return "its processor does not prepare three channels"
    if described.get("resample", 2) not in FILTERS:
        return f"its processor resamples with an unknown filter ({described['resample']})"
    if cropped is None or resize is None or not described.get("do_resize", True):
        return "its processor does not resize the shorter side and cut out the centre"
    return ""
