"""How far pictures that a graph prepares are from those of the frameworks' own transforms.

    python benchmarks/preparation_distance.py

Asked are the transforms of all of torchvision's classification weights, of 20 of timm's data configurations, and of
transformers' image processors with their defaults, each once however many weights share it. Asked with are the
photographs of scikit-learn and scikit-image, as they are and in other sizes. It prints a table in Markdown.
"""

import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from modelrepo.generator.errors import ModelRepoError
from modelrepo.generator.preparation.picture_graph import graph
from modelrepo.generator.preparation.pictures import SAME, prepared_by
from modelrepo.generator.sources.hf import images, picturing
from modelrepo.generator.sources.timm import _preparation as of_timm
from modelrepo.generator.sources.torchvision.tasks import CLASSIFIER
from modelrepo.generator.specs.preparation import Compute, Preparation, Resize
from modelrepo.generator.specs.tensors import Array, TensorSpec

SIZES = ((375, 500), (500, 375), (64, 64), (333, 97))
CONFIGS = 20
PROCESSORS = (
    *("ViT", "CLIP", "DeiT", "Beit", "MobileNetV1", "MobileNetV2", "EfficientNet", "ConvNext", "Bit", "Siglip", "Pvt"),
    *("ChineseCLIP", "Blip"),
)


def photographs() -> list[Array]:
    """Return real photographs, as they are and in other sizes: uint8 (height, width, 3)."""
    import skimage.data
    from sklearn.datasets import load_sample_images

    data: Any = skimage.data
    whole = [*load_sample_images().images, data.astronaut(), data.coffee(), data.chelsea()]
    return [
        *whole,
        *(
            np.asarray(Image.fromarray(each).resize((width, height), Image.Resampling.BICUBIC))
            for each in whole
            for height, width in SIZES
        ),
    ]


def asked() -> Iterator[tuple[str, Preparation, tuple[int, ...]]]:
    """Yield each transform with what has it, and the shape that it prepares a picture in."""
    import timm
    import torchvision.models as models
    import transformers

    found: dict[str, tuple[Preparation, tuple[int, ...]]] = {}
    for name in models.list_models(module=models):
        for weights in models.get_model_weights(name):
            transforms = weights.transforms()
            shape: tuple[int, ...] = (3, transforms.crop_size[0], transforms.crop_size[0])
            made = CLASSIFIER.preparation(transforms, shape, "input")
            if made:
                found.setdefault(f"torchvision {made.steps}", (made, shape))
    for name in timm.list_models(pretrained=True):
        config = timm.data.resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(name).to_dict())
        shape = config["input_size"]
        timm_s = of_timm(config, shape)
        if timm_s and sum(key.startswith("timm") for key in found) < CONFIGS:
            found.setdefault(f"timm {timm_s.steps}", (timm_s, shape))
    for key, (preparation, shape) in found.items():
        yield key.partition(" ")[0], preparation, shape
    for name in PROCESSORS:
        with tempfile.TemporaryDirectory() as folder:
            getattr(transformers, f"{name}ImageProcessor")().save_pretrained(folder)
            height, width = images.size_of(images.processor(Path(folder))) or (0, 0)
            made = picturing.preparation(Path(folder), ("batch", 3, height, width))
            yield f"transformers {name}", made, (3, height, width)


def told(step: Any) -> str:
    """Return a step that changes the size of a picture, in words; empty for another."""
    size = "" if isinstance(step, Compute) else "x".join(map(str, step.size))
    return f"{step.rule} {size} {step.filter}" if isinstance(step, Resize) else size and f"crop {size}"


def main() -> None:
    """Print a row for each transform."""
    warnings.filterwarnings("ignore")
    pictures = photographs()
    print("| transform | steps | of 255, at most | values that differ |\n|---|---|---|---|")
    for name, preparation, shape in asked():
        described = "; ".join(filter(None, map(told, preparation.steps)))
        if preparation.reason:
            print(f"| {name} | {described} | refused: {preparation.reason} | |", flush=True)
            continue
        taken = TensorSpec("image", "uint8", ("batch", "height", "width", 3))
        run = prepared_by(graph(preparation.steps, taken, TensorSpec("input", "float32", ("batch", *shape))), "image")
        worst, shares = 0.0, []
        for picture in pictures:
            try:
                apart = np.abs(run(picture[np.newaxis])[0] - preparation.own(picture)) / preparation.step
            except (ModelRepoError, ValueError):
                continue
            worst = max(worst, float(apart.max()))
            shares.append(float((apart > SAME).mean()))
        print(f"| {name} | {described} | {worst:.0f} | {np.mean(shares):.3%} |", flush=True)


if __name__ == "__main__":
    main()
