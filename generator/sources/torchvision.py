"""torchvision's classification models: `--model resnet50`, with its own weights, random ones or a file of yours."""

import os
import pickle
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
from generator.sources.model import SourceModel
from generator.specs import Arrays, Options, TensorSpec, Weights

PACKAGES = ("torch", "torchvision")
NAMES_FILES = False
INPUT, OUTPUT = "input", "output"
CLASSES = 1000
# Networks whose parameters depend on the image's size, and how their builder is told.
SIZED: dict[str, Callable[[int], dict[str, Any]]] = {
    "vit_": lambda size: {"image_size": size},
    "maxvit_": lambda size: {"input_size": (size, size)},
}
# torch refuses code in the pickles it loads while this variable is set, also where its caller would allow it.
WEIGHTS_ONLY = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
# Keys under which training scripts put the state dict of a checkpoint.
CHECKPOINT_KEYS = ("state_dict", "model_state_dict", "model")


def check(name: str) -> None:
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
    check(name)
    models = need("torchvision.models", extra="torch")
    published = models.get_model_weights(name).DEFAULT
    transforms = published.transforms()
    size = _sample_shape(options.input_shape, transforms.crop_size[0])
    architecture = next((told(size[1]) for prefix, told in SIZED.items() if name.startswith(prefix)), {})
    with quiet():
        module, weights = _load_module(Builder(name, architecture, models), published, options, progress)
    module.eval()
    return SourceModel(
        reference=f"torchvision:{name}",
        framework="torch",
        native=module,
        inputs=(TensorSpec(INPUT, "float32", ("batch", *size)),),
        output_names=(OUTPUT,),
        run=_runner(module),
        weights=weights,
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


def _sample_shape(asked: tuple[int, ...] | None, crop: int) -> tuple[int, int, int]:
    shape = asked or (3, crop, crop)
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
        return _random(builder, options.seed), Weights("random", f"seed {options.seed}", untrained=True)
    if options.weights != "pretrained":
        path = Path(options.weights)
        module = _fitted(builder, read_state(path, options.trust_source), path)
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
        return _random(builder, options.seed), weights
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
        # As in read_state: torch raises many kinds for a broken file.
        raise SourceError(
            f"{file} is not a readable weights file: {type(error).__name__}", "Remove it to download it again"
        ) from error
    finally:
        del os.environ[WEIGHTS_ONLY]
        if before is not None:
            os.environ[WEIGHTS_ONLY] = before


def _random(builder: Builder, seed: int) -> Any:
    """Return a network with seeded random weights; a layer that starts at zero (ViT's head) would answer only zeros."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = builder.build()
        for parameter in module.parameters():
            if parameter.ndim > 1 and not parameter.any():
                torch.nn.init.trunc_normal_(parameter, std=0.02)
    return module


def read_state(path: Path, trust: bool) -> dict[str, Any]:
    """Return the named tensors of a .safetensors, .pth or .pt file.

    A pickle that holds more than tensors is refused unless ``trust``. Raises SourceError with the reason.
    """
    import torch

    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        loaded = torch.load(path, map_location="cpu", weights_only=not trust)
    except Exception as error:
        # torch and safetensors raise UnpicklingError, RuntimeError, EOFError, KeyError, … for what they can't read.
        raise _unreadable(path, error) from error
    return _state_of(loaded, path)


def _unreadable(path: Path, error: Exception) -> SourceError:
    if isinstance(error, pickle.UnpicklingError) and re.search("unsupported (global|class)", str(error), re.IGNORECASE):
        return SourceError(
            f"{path} holds code, not only tensors",
            "Save a state dict instead, or allow it to run with --trust-source if you trust the file",
        )
    if "TorchScript" in str(error):
        return SourceError(
            f"{path} is a TorchScript archive", "Save a state dict: torch.save(model.state_dict(), path)"
        )
    return SourceError(f"{path} is not a readable weights file: {type(error).__name__}")


def _state_of(loaded: Any, path: Path) -> dict[str, Any]:
    import torch

    if isinstance(loaded, torch.nn.Module):
        loaded = loaded.state_dict()
    for key in CHECKPOINT_KEYS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    if not isinstance(loaded, Mapping) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in loaded.items()
    ):
        raise SourceError(f"{path} does not hold a state dict", "Save one with torch.save(model.state_dict(), path)")
    return {key.removeprefix("module."): value for key, value in loaded.items()}


def _fitted(builder: Builder, state: dict[str, Any], origin: Path) -> Any:
    """Build the model that ``state`` fits, also where it was trained on another number of classes."""
    module = builder.build()
    own = module.state_dict()
    differing = {key for key in state.keys() & own.keys() if state[key].shape != own[key].shape}
    classes = {state[key].shape[0] for key in differing if own[key].shape[:1] == (CLASSES,) and state[key].ndim}
    if differing and len(classes) == 1 and min(classes) > 0:
        module = builder.build(classes.pop())
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise SourceError(f"{origin} does not fit {builder.name}: {_mismatch(module.state_dict(), state)}") from error
    return module


def _mismatch(own: Mapping[str, Any], state: Mapping[str, Any]) -> str:
    for what, keys in (("lacks", own.keys() - state.keys()), ("has unknown", state.keys() - own.keys())):
        if keys:
            return f"it {what} {len(keys)} tensors, {min(keys)} among them"
    key = min(key for key in own if own[key].shape != state[key].shape)
    return f"its {key} has shape {tuple(state[key].shape)} instead of {tuple(own[key].shape)}"


def _runner(module: Any) -> Callable[[Arrays], dict[str, Any]]:
    def run(arrays: Arrays) -> dict[str, Any]:
        import torch

        with torch.inference_mode():
            return {OUTPUT: module(torch.from_numpy(arrays[INPUT])).numpy()}

    return run
