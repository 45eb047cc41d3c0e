"""How an image is prepared for a model: what its processor's configuration says, as our clients can do it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelrepo.generator.errors import SourceError
from modelrepo.generator.sources.hf import folder as folders

# PIL.Image.Resampling's numbers, by the names that our clients know.
FILTERS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}
CLIENTS_SCALE = 1 / 255
# ConvNextImageProcessor: smaller images than this are cut out of ones that are larger by 256/224.
CONVNEXT_SQUASHED, CONVNEXT_CROP = 384, 224 / 256


def processor(folder: Path) -> dict[str, Any]:
    """Return the configuration of a folder's image processor, empty where it has none; SourceError for a broken one."""
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
    """Return height and width of what a processor makes of any image; None where it does not say."""
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
    """Return what a client does to an image, or None and why it can't be said in its terms.

    Of an odd number of pixels around the centre, ours cut out one more on the other side.
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
        return None, f"clients are not told how to prepare an image: {problem or 'its processor has no size'}"
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
    """Return what of a processor our clients can't do; empty where they can do it all."""
    scale = described.get("rescale_factor", CLIENTS_SCALE) if described.get("do_rescale", True) else 1.0
    if described.get("do_flip_channel_order"):
        return "its processor wants BGR"
    if abs(scale - CLIENTS_SCALE) > 1e-9:
        return f"its processor scales pixels by {scale:g}"
    if described.get("do_normalize", True) and not {"image_mean", "image_std"} <= described.keys():
        return "its processor names no mean and deviation"
    if described.get("do_normalize", True) and not len(described["image_mean"]) == len(described["image_std"]) == 3:
        return "its processor prepares other channels than three"
    if described.get("resample", 2) not in FILTERS:
        return f"its processor resamples in a way of its own ({described['resample']})"
    if cropped is None or resize is None or not described.get("do_resize", True):
        return "its processor does not resize the shorter side and cut out the centre"
    return ""
