"""torchvision's classification models: `--model resnet50`, with its own weights, random ones or a file of yours."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from generator.digests import sha256_of
from generator.download import fetch
from generator.errors import OptionError, SourceError, nearest
from generator.extras import need
from generator.progress import Progress
from generator.quiet import quiet
from generator.sources import pytorch, state_dict
from generator.sources.model import SourceModel
from generator.specs import InputShape, Options, TensorSpec, Weights

FORM = "torchvision:NAME, or NAME"
SUMMARY = "torchvision's models"
FRAMEWORKS = ("torch",)
PACKAGES = ("torchvision",)
OPTIONS = ("weights", "input_shape", "opset", "exporter", "trust_source")
INPUT = "input"
CLASSES = 1000
# Networks whose parameters depend on the image's size, and how their builder is told.
SIZED: dict[str, Callable[[int], dict[str, Any]]] = {
    "vit_": lambda size: {"image_size": size},
    "maxvit_": lambda size: {"input_size": (size, size)},
}
# torch refuses code in the pickles it loads while this variable is set, also where its caller would allow it.
WEIGHTS_ONLY = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"


def names_file(name: str) -> bool:
    """Return False: models are named."""
    return False


def default_name(name: str) -> str:
    """Return the model's own name."""
    return name


def known() -> tuple[str, ...]:
    """Return the names of torchvision's image classifiers."""
    models = need("torchvision.models", extra="torch")
    return tuple(models.list_models(module=models))


def check(name: str, options: Options) -> None:
    """Raise SourceError unless ``name`` is one of torchvision's image classifiers."""
    models = need("torchvision.models", extra="torch")
    classifiers = models.list_models(module=models)
    if name in classifiers:
        return
    if name in models.list_models():
        raise SourceError(
            f"torchvision model {name!r} is no image classifier",
            "Only torchvision's classification models can be generated in this release",
        )
    raise SourceError(f"unknown torchvision model {name!r}", nearest(name, classifiers))


def files(name: str) -> tuple[Path, ...]:
    """Return none: the architecture is code, and weights are an option."""
    return ()


def load(name: str, options: Options, progress: Progress) -> SourceModel:
    """Return the model in evaluation mode.

    Its input is float32 (batch, 3, height, width), an image normalised with the mean and deviation in ``preprocess``;
    its output float32 (batch, classes), before softmax. Raises SourceError for an unknown name or unusable weights.
    """
    check(name, options)
    models = need("torchvision.models", extra="torch")
    published = models.get_model_weights(name).DEFAULT
    transforms = published.transforms()
    size = _sample_shape(options.input_shape, transforms.crop_size[0])
    architecture = next((told(size[1]) for prefix, told in SIZED.items() if name.startswith(prefix)), {})
    with quiet():
        module, weights = _load_module(Builder(name, architecture, models), published, options, progress)
    module.eval()
    return pytorch.source_model(
        f"torchvision:{name}",
        module,
        (TensorSpec(INPUT, "float32", ("batch", *size)),),
        weights,
        output_names=(pytorch.OUTPUT,),
        labels=tuple(published.meta["categories"]),
        preprocess={
            "kind": "image",
            # Of another size the crop keeps the part of the picture that it has of the weights' own.
            "resize": round(transforms.resize_size[0] * min(size[1:]) / transforms.crop_size[0]),
            "crop": [size[1], size[2]],
            "interpolation": transforms.interpolation.value,
            "scale": [0.0, 1.0],
            "mean": list(transforms.mean),
            "std": list(transforms.std),
            "layout": "NCHW",
        },
    )


def _sample_shape(asked: tuple[InputShape, ...], crop: int) -> tuple[int, int, int]:
    shape = asked[0].shape if asked else (3, crop, crop)
    if len(shape) == 4 and shape[0] == 1:
        shape = shape[1:]
    if len(shape) != 3 or shape[0] != 3:
        raise OptionError(
            f"input shape {'x'.join(map(str, shape))} does not fit an image classifier",
            "Give channels, height and width of one image, such as 3x224x224",
        )
    return (shape[0], shape[1], shape[2])


@dataclass(frozen=True)
class Builder:
    """Builds one architecture without loading weights."""

    name: str
    architecture: Mapping[str, Any]
    models: Any

    def build(self, classes: int = CLASSES) -> Any:
        """Return the untrained network, randomly initialised, for a number of classes."""
        return self.models.get_model(self.name, weights=None, num_classes=classes, **self.architecture)


def _load_module(builder: Builder, published: Any, options: Options, progress: Progress) -> tuple[Any, Weights]:
    if options.weights == "random":
        return pytorch.seeded(builder.build, options.seed), Weights("random", f"seed {options.seed}", untrained=True)
    if options.weights != "pretrained":
        path = Path(options.weights)
        module = _fitted(builder, state_dict.read_state(path, options.trust_source), path)
        return module, Weights("file", path.name, untrained=False, sha256=sha256_of(path))
    file = _cached(published.url)
    try:
        digest = _downloaded(published.url, file, progress)
    except SourceError as error:
        if not options.allow_untrained or file.exists():
            hint = error.hint or f"Use --weights random for an untrained model, or put the file at {file}"
            raise SourceError(error.message, hint) from error
        progress.warn(
            f"{error.message}; {builder.name} gets RANDOM weights (seed {options.seed}) because modelrepo.toml says "
            f"allow_untrained = true: its answers mean nothing. Put the weights at {file} and run again"
        )
        weights = Weights("random", f"seed {options.seed}", untrained=True, expected_at=str(file))
        return pytorch.seeded(builder.build, options.seed), weights
    return _pretrained(builder, published, file), Weights("pretrained", str(published), untrained=False, sha256=digest)


def _downloaded(url: str, file: Path, progress: Progress) -> str:
    """Have the file in torch's cache, and return its SHA-256, which starts as its name says."""
    named = re.search(r"-([0-9a-f]{8,})\.", file.name)
    prefix = named.group(1) if named else ""
    if not file.exists():
        fetch(url, file, prefix, progress)
    digest = sha256_of(file)
    if not digest.startswith(prefix):
        raise SourceError(
            f"{file} is not what its name says: its SHA-256 is {digest}", "Remove it to download it again"
        )
    return digest


def _cached(url: str) -> Path:
    from torch.hub import get_dir

    return Path(get_dir()) / "checkpoints" / url.rpartition("/")[2]


def _pretrained(builder: Builder, published: Any, file: Path) -> Any:
    """Let torchvision load its own weights from its cache: it knows the architecture that each set was trained in."""
    before = os.environ.get(WEIGHTS_ONLY)
    os.environ[WEIGHTS_ONLY] = "1"
    try:
        return builder.models.get_model(builder.name, weights=published, progress=False)
    except Exception as error:
        # As in state_dict.read_state: torch raises many kinds for a broken file.
        raise SourceError(
            f"{file} is not a readable weights file: {type(error).__name__}", "Remove it to download it again"
        ) from error
    finally:
        del os.environ[WEIGHTS_ONLY]
        if before is not None:
            os.environ[WEIGHTS_ONLY] = before


def _fitted(builder: Builder, state: dict[str, Any], origin: Path) -> Any:
    """Build the model that ``state`` fits, also where it was trained on another number of classes."""
    module = builder.build()
    own = module.state_dict()
    differing = {key for key in state.keys() & own.keys() if state[key].shape != own[key].shape}
    classes = {state[key].shape[0] for key in differing if own[key].shape[:1] == (CLASSES,) and state[key].ndim}
    if differing and len(classes) == 1 and min(classes) > 0:
        module = builder.build(classes.pop())
    state_dict.fit(module, state, origin, builder.name)
    return module
